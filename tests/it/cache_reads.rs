//! Reading through the cache, in one process: what is answered from where, and how often the database is asked.

mod client;
mod interleaved;
mod keys;
mod shared;
pub(crate) mod stage;

use std::sync::Arc;
use std::time::Duration;

use cifra::base::{Code, EntityName, TenantId};
use cifra::cache::{CacheKey, Invalidation, Policy};
use cifra::config::ByteSize;

use self::stage::{STALE_MAX, Source, Stage, TTL, until};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_value_is_read_once_and_then_answered_from_memory_for_its_ttl() {
    let (stage, source) = (Stage::new(), Source::open());
    assert_eq!(stage.told("1", &source).await, (1, "DB"));
    source.set(2);
    assert_eq!(stage.told("1", &source).await, (1, "L1"));
    assert_eq!(stage.told("2", &source).await, (2, "DB"), "another record");
    stage.clock.advance(TTL);
    assert_eq!(stage.told("1", &source).await, (2, "DB"));
    assert_eq!(source.asked(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_callers_have_one_loader() {
    let (stage, source) = (Stage::new(), Source::closed());
    let callers: Vec<_> = (0..10_000).map(|_| stage.asks("1", &source)).collect();
    source.was_asked(1).await;
    source.answers(1);
    for caller in callers {
        assert_eq!(caller.await.unwrap().0, 1);
    }
    assert_eq!(source.asked(), 1);
}

#[tokio::test]
async fn callers_that_leave_cancel_nobody_and_the_last_one_cancels_the_loader() {
    let (stage, source) = (Stage::new(), Source::closed());
    let mut callers: Vec<_> = (0..10).map(|_| stage.asks("1", &source)).collect();
    source.was_asked(1).await;
    for leaves in callers.drain(3..) {
        leaves.abort();
        assert!(leaves.await.unwrap_err().is_cancelled());
    }
    source.answers(1);
    for stays in callers {
        assert_eq!(stays.await.unwrap().0, 1);
    }
    assert_eq!((source.asked(), source.dropped()), (1, 0));

    let callers: Vec<_> = (0..10).map(|_| stage.asks("2", &source)).collect();
    source.was_asked(2).await;
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    until(|| source.dropped() == 1).await;
    source.answers(1);
    assert_eq!(stage.told("2", &source).await, (1, "DB"), "who comes later begins anew");
}

#[tokio::test]
async fn what_was_read_before_an_invalidation_is_neither_kept_nor_shared_with_who_asks_after_it() {
    let (stage, source) = (Stage::new(), Source::closed());
    let before = stage.asks("1", &source);
    source.was_asked(1).await;
    source.set(2);
    stage.cache.invalidate(&[stage.change_of("1")]).await;
    let after = stage.asks("1", &source);
    source.was_asked(2).await;
    source.answers(2);
    assert_eq!(before.await.unwrap(), (1, "DB"));
    assert_eq!(after.await.unwrap(), (2, "DB"));
    assert_eq!(stage.told("1", &source).await, (2, "L1"));
}

#[tokio::test]
async fn an_invalidation_takes_what_it_names_and_nothing_else() {
    let (stage, source) = (Stage::new(), Source::open());
    let own = Some(stage.who.tenant().clone());
    let other: TenantId = "acme".parse().unwrap();
    let deal = stage.cache.entity(EntityName::of("Deal"), 1);
    let keys = [
        CacheKey::record(own.as_ref(), &stage.entity, "1"),
        CacheKey::record(own.as_ref(), &stage.entity, "2"),
        CacheKey::list(own.as_ref(), &stage.entity, [("stage", "won")]),
        CacheKey::lookup(own.as_ref(), &stage.entity, "email", "a@b.c"),
        CacheKey::record(own.as_ref(), &deal, "1"),
        CacheKey::record(Some(&other), &stage.entity, "1"),
        CacheKey::record(None, &stage.entity, "1"),
    ];
    let contact = stage.entity.name().clone();
    let cases = [
        (stage.change_of("1"), [0, 2, 3].as_slice()),
        (Invalidation::Entity { tenant: own.clone(), entity: contact.clone() }, &[0, 1, 2, 3]),
        (Invalidation::Everywhere(contact), &[0, 1, 2, 3, 5, 6]),
        (Invalidation::Tenant(own.clone()), &[0, 1, 2, 3, 4]),
        (Invalidation::Tenant(None), &[6]),
        (Invalidation::All, &[0, 1, 2, 3, 4, 5, 6]),
        (Invalidation::Switches, &[]),
    ];
    let read = async |key: &CacheKey| {
        let source = source.clone();
        let entity = if key.as_str().contains(":Deal:") { &deal } else { &stage.entity };
        let read = stage.cache.read(entity, key, &stage.who, move || async move { source.answer().await });
        read.await.unwrap().source.as_str()
    };
    for (change, taken) in cases {
        for key in &keys {
            read(key).await;
            assert_eq!(read(key).await, "L1");
        }
        stage.cache.apply(std::slice::from_ref(&change)).await.unwrap();
        for (place, key) in keys.iter().enumerate() {
            let expected = if taken.contains(&place) { "DB" } else { "L1" };
            assert_eq!(read(key).await, expected, "{key} after {change:?}");
        }
    }
}

#[tokio::test]
async fn who_finds_an_aged_value_being_read_again_takes_it_and_whoever_has_it_read_waits_a_moment() {
    let (stage, source) = (Stage::new(), Source::closed());
    source.answers(1);
    stage.told("1", &source).await;
    stage.clock.advance(TTL);
    source.set(2);
    let leader = stage.asks("1", &source);
    source.was_asked(2).await;
    assert_eq!(stage.told("1", &source).await, (1, "STALE"), "others do not wait");
    assert_eq!(leader.await.unwrap(), (1, "STALE"), "nor does it for longer than the soft time-out");
    source.answers(1);
    until(|| source.asked() == 2 && source.dropped() == 0).await;
    let mut last = stage.told("1", &source).await;
    while last.1 == "STALE" {
        tokio::task::yield_now().await;
        last = stage.told("1", &source).await;
    }
    assert_eq!((last, source.asked()), ((2, "L1"), 2), "the late loader's value is kept");
}

#[tokio::test]
async fn a_loader_that_fails_leaves_an_aged_value_within_its_bound_and_never_an_invalidated_one() {
    let (stage, source) = (Stage::new(), Source::open());
    stage.told("1", &source).await;
    source.fails(true);
    stage.clock.advance(TTL);
    assert_eq!(stage.told("1", &source).await, (1, "STALE"));
    assert_eq!(stage.told("1", &source).await, (1, "STALE"));
    assert_eq!(source.asked(), 2, "the database is left alone for a moment");
    stage.clock.advance(STALE_MAX / 2);
    assert_eq!(stage.told("1", &source).await, (1, "STALE"));
    stage.clock.advance(STALE_MAX / 2);
    assert_eq!(stage.read("1", &source).await.unwrap_err().code(), Code::Unavailable);

    source.fails(false);
    stage.told("2", &source).await;
    source.fails(true);
    stage.clock.advance(TTL);
    stage.cache.invalidate(&[stage.change_of("2")]).await;
    assert_eq!(stage.read("2", &source).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn nobody_waits_longer_than_the_hard_time_out_and_the_late_value_is_kept() {
    let stage = Stage::with(None, |config| config.hard_timeout = Duration::from_millis(100));
    let source = Source::closed();
    let error = stage.read("1", &source).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    source.answers(1);
    until(|| source.dropped() == 0).await;
    let mut last = stage.told("1", &source);
    assert_eq!(last.await.0, 1);
    last = stage.told("1", &source);
    assert_eq!((last.await, source.asked()), ((1, "L1"), 1));
}

#[tokio::test]
async fn a_value_is_read_again_beside_a_request_before_it_is_too_old() {
    let (stage, source) = (Stage::new(), Source::open());
    stage.told("1", &source).await;
    source.set(2);
    stage.clock.advance(TTL * 79 / 100);
    assert_eq!(stage.told("1", &source).await, (1, "L1"));
    assert_eq!(source.asked(), 1);
    stage.clock.advance(TTL / 100);
    assert_eq!(stage.told("1", &source).await, (1, "L1"), "nobody waits for that");
    source.was_asked(2).await;
    let mut last = stage.told("1", &source).await;
    while last.0 == 1 {
        tokio::task::yield_now().await;
        last = stage.told("1", &source).await;
    }
    assert_eq!((last, source.asked()), ((2, "L1"), 2));
}

#[tokio::test]
async fn without_word_of_changes_for_a_second_the_database_is_asked_and_with_it_everything_counts_again() {
    let (stage, source) = (Stage::new(), Source::open());
    stage.told("1", &source).await;
    stage.cache.fresh_as_of(Duration::ZERO);
    stage.clock.advance(SECOND);
    assert_eq!(stage.told("1", &source).await, (1, "L1"));
    stage.clock.advance(Duration::from_millis(1));
    source.fails(true);
    assert_eq!(stage.told("1", &source).await, (1, "STALE"), "it may have changed, and nobody can say");
    source.fails(false);
    stage.cache.fresh_as_of(SECOND);
    assert_eq!(stage.told("1", &source).await, (1, "L1"), "it has not");
    stage.clock.advance(SECOND * 2);
    assert_eq!(stage.told("1", &source).await, (1, "DB"));
    assert_eq!(stage.told("1", &source).await, (1, "L1"), "what was just read is believed for a second");
    stage.cache.database_away(true);
    stage.clock.advance(SECOND * 2);
    let asked = source.asked();
    assert_eq!(stage.told("1", &source).await, (1, "STALE"));
    assert_eq!(source.asked(), asked, "a database that is away is not asked for what is here");
}

#[tokio::test]
async fn that_there_is_none_is_kept_only_where_somebody_says_for_how_long() {
    let (mut stage, source) = (Stage::new(), Source::open());
    source.set(0);
    for asked in 1..3 {
        assert!(stage.read("1", &source).await.unwrap().value.is_none());
        assert_eq!(source.asked(), asked);
    }
    stage.entity = stage.entity.believed(Policy { ttl: TTL, negative_ttl: Some(SECOND) });
    assert_eq!(stage.read("1", &source).await.unwrap().source.as_str(), "DB");
    let known = stage.read("1", &source).await.unwrap();
    assert_eq!((known.value, known.source.as_str()), (None, "L1"));
    stage.clock.advance(SECOND);
    source.set(1);
    assert_eq!(stage.told("1", &source).await, (1, "DB"));
}

#[tokio::test]
async fn a_record_that_is_gone_is_not_answered_any_more() {
    let (stage, source) = (Stage::new(), Source::open());
    stage.told("1", &source).await;
    source.set(0);
    stage.clock.advance(TTL);
    assert!(stage.read("1", &source).await.unwrap().value.is_none());
    source.fails(true);
    assert!(stage.read("1", &source).await.is_err(), "not even when nobody can be asked");
}

#[tokio::test]
async fn what_looks_like_nothing_is_a_value() {
    let stage = Stage::new();
    macro_rules! kept {
        ($($id:literal $value:expr),*) => {$(
            let key = stage.key($id);
            for expected in ["DB", "L1"] {
                let read = stage.cache.read(&stage.entity, &key, &stage.who, || async { Ok(Some($value)) });
                let read = read.await.unwrap();
                assert_eq!((read.value, read.source.as_str()), (Some(Arc::new($value)), expected));
            }
        )*};
    }
    kept!("zero" 0_u64, "no" false, "empty" String::new(), "null" None::<u64>, "unit" (), "list" Vec::<u8>::new());
}

#[tokio::test]
async fn a_value_of_more_than_a_mebibyte_is_answered_and_not_kept() {
    let stage = Stage::new();
    // In JSON a text has two quotes more.
    for (len, second) in [((1 << 20) - 2, "L1"), ((1 << 20) - 1, "DB")] {
        let key = stage.key(&len.to_string());
        for expected in ["DB", second] {
            let load = move || async move { Ok(Some("x".repeat(len))) };
            let read = stage.cache.read(&stage.entity, &key, &stage.who, load).await.unwrap();
            assert_eq!((read.value.unwrap().len(), read.source.as_str()), (len, expected));
        }
    }
}

#[tokio::test]
async fn a_cache_that_is_off_neither_reads_nor_keeps() {
    let (stage, source) = (Stage::with(None, |config| config.enabled = false), Source::open());
    for version in 1..3 {
        source.set(version);
        assert_eq!(stage.told("1", &source).await, (version, "BYPASS"));
    }
    assert_eq!(stage.cache.report().await.l1.entries, Some(0));
}

#[tokio::test]
async fn two_kinds_of_values_under_one_key_are_never_answered_for_each_other() {
    let stage = Stage::new();
    let key = stage.key("1");
    let number = || async { Ok(Some(7_u64)) };
    stage.cache.read(&stage.entity, &key, &stage.who, number).await.unwrap();
    let text = || async { Ok(Some("seven".to_owned())) };
    let read = stage.cache.read(&stage.entity, &key, &stage.who, text).await.unwrap();
    assert_eq!((read.value.unwrap().as_str(), read.source.as_str()), ("seven", "DB"));
}

#[tokio::test]
async fn a_loader_that_panics_is_an_error_and_the_next_one_is_asked() {
    let (stage, source) = (Stage::new(), Source::open());
    let load = || async { panic!("as the test wants it") };
    let read = stage.cache.read::<u64, _, _>(&stage.entity, &stage.key("1"), &stage.who, load).await;
    assert_eq!(read.unwrap_err().code(), Code::Internal);
    assert_eq!(stage.told("1", &source).await, (1, "DB"));
}

#[tokio::test]
async fn memory_is_bounded_and_patterns_empty_it_by_name() {
    let (stage, source) =
        (Stage::with(None, |config| config.l1.max_bytes = ByteSize(64 << 10)), Source::open());
    for id in 0..1000 {
        stage.told(&id.to_string(), &source).await;
    }
    let size = stage.cache.report().await.l1;
    assert!((50..=130).contains(&size.entries.unwrap()) && size.bytes.unwrap() <= 64 << 10, "{size:?}");
    assert_eq!(stage.cache.forget_matching("cifra:acme:*").await, 0);
    assert_eq!(stage.cache.forget_matching("cifra:default:Contact:*").await, size.entries.unwrap());
    assert_eq!(stage.cache.report().await.l1.entries, Some(0));
    let reading = Source::closed();
    let reader = stage.asks("x", &reading);
    reading.was_asked(1).await;
    stage.cache.forget_matching("*").await;
    reading.answers(1);
    reader.await.unwrap();
    assert_eq!(stage.told("x", &source).await.1, "DB", "what was being read is not kept either");
}
