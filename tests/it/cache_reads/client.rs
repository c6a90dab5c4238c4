//! What else the cache does for whoever asks: single values, one-liners, writes through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cifra::base::principal::{Actor, Scopes};
use cifra::base::{Code, Error, KeyId, Principal, TenantId};
use cifra::cache::Whose;

use super::stage::{STALE_MAX, Source, Stage, TTL};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_value_that_is_set_is_there_until_it_is_deleted_or_too_old() {
    let stage = Stage::new();
    let (one, two) = (stage.key("1"), stage.key("2"));
    assert!(stage.cache.get::<u64>(&stage.entity, &one).await.is_none());
    for key in [&one, &two] {
        stage.cache.set(&stage.entity, key, 0_u64).await;
        let read = stage.cache.get::<u64>(&stage.entity, key).await.unwrap();
        assert_eq!((read.value, read.source.as_str()), (Some(Arc::new(0)), "L1"), "zero is a value");
    }
    stage.cache.delete(&one).await;
    assert!(!stage.cache.exists::<u64>(&stage.entity, &one).await);
    assert!(stage.cache.exists::<u64>(&stage.entity, &two).await);
    stage.clock.advance(TTL);
    assert!(!stage.cache.exists::<u64>(&stage.entity, &two).await);
}

#[tokio::test]
async fn what_is_good_for_nothing_any_more_is_cleaned_up_and_nothing_else() {
    let stage = Stage::new();
    for id in ["1", "2", "3"] {
        stage.cache.set(&stage.entity, &stage.key(id), 1_u64).await;
    }
    assert_eq!(stage.cache.clean_up().await, 0);
    stage.cache.invalidate(&[stage.change_of("1")]).await;
    assert_eq!(stage.cache.clean_up().await, 1);
    // What has only aged may have to do, until it is too old for that too.
    stage.clock.advance(TTL);
    assert_eq!(stage.cache.clean_up().await, 0);
    stage.clock.advance(STALE_MAX);
    assert_eq!(stage.cache.clean_up().await, 2);
    assert_eq!(stage.cache.report().await.l1.entries, Some(0));
}

#[tokio::test]
async fn what_matches_a_pattern_is_deleted_and_nothing_else() {
    let stage = Stage::new();
    for id in ["1", "12", "2"] {
        stage.cache.set(&stage.entity, &stage.key(id), 1_u64).await;
    }
    assert_eq!(stage.cache.delete_pattern("cifra:default:Contact:1*").await.unwrap(), 2);
    for (id, there) in [("1", false), ("12", false), ("2", true)] {
        assert_eq!(stage.cache.exists::<u64>(&stage.entity, &stage.key(id)).await, there, "{id}");
    }
}

#[tokio::test]
async fn any_loader_is_cached_in_one_line_for_all_for_a_tenant_or_for_one_caller() {
    let stage = Stage::new();
    let loads = Arc::new(AtomicU64::new(0));
    let menu = async |whose: Whose<'_>, name: &str| {
        let loads = Arc::clone(&loads);
        let load = move || async move { Ok(Some(loads.fetch_add(1, Ordering::SeqCst))) };
        *stage.cache.cached(SECOND, whose, name, load).await.unwrap().value.unwrap()
    };
    let [acme, other]: [TenantId; 2] = ["acme", "other"].map(|id| id.parse().unwrap());
    let caller = |id: &str| {
        let id: KeyId = id.parse().unwrap();
        Principal::of_tenant(acme.clone(), Scopes::ALL, Actor::Key { id, name: "a".into() })
    };
    let (ann, bob) =
        (caller("0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c"), caller("0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7d"));
    let all = [
        (Whose::Everybody, "menu"),
        (Whose::Everybody, "menu:1"),
        (Whose::Tenant(&acme), "menu"),
        (Whose::Tenant(&other), "menu"),
        (Whose::Caller(&ann), "menu"),
        (Whose::Caller(&bob), "menu"),
    ];
    for round in [0, 0, 6] {
        if round > 0 {
            stage.clock.advance(SECOND);
        }
        for (place, (whose, name)) in (0..).zip(all) {
            assert_eq!(menu(whose, name).await, round + place, "{whose:?} {name}");
        }
    }
}

#[tokio::test]
async fn what_is_written_through_is_there_at_once_unless_somebody_else_wrote_meanwhile() {
    let (stage, source) = (Stage::new(), Source::open());
    stage.told("1", &source).await;
    let (key, change) = (stage.key("1"), [stage.change_of("1")]);
    let list = cifra::cache::CacheKey::list(Some(stage.who.tenant()), &stage.entity, []);
    stage.cache.set(&stage.entity, &list, 1_u64).await;
    stage.cache.write_through(&stage.entity, &key, &change, async { Ok(7_u64) }).await.unwrap();
    assert_eq!(stage.told("1", &source).await, (7, "L1"));
    assert!(!stage.cache.exists::<u64>(&stage.entity, &list).await, "lists of it are not what they were");

    let written = stage.cache.write_through(&stage.entity, &key, &change, async {
        stage.cache.invalidate(&change).await;
        Ok(8_u64)
    });
    written.await.unwrap();
    source.set(9);
    assert_eq!(stage.told("1", &source).await, (9, "DB"), "only the database knows who was the last");

    let failed =
        async { Err::<u64, _>(Error::new(Code::Unavailable, "nobody knows whether that was committed")) };
    stage.cache.write_through(&stage.entity, &key, &change, failed).await.unwrap_err();
    source.set(10);
    assert_eq!(stage.told("1", &source).await, (10, "DB"));
}
