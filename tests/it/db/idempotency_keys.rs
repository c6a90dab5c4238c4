//! What was answered is found again until it expires; of two answers under one key one is kept.

use cifra::base::crc::Crc64;
use cifra::base::{Code, Timestamp};
use cifra::db::Db;
use cifra::db::idempotency_keys::{self, Answered, Asked, KeyOf};

use super::{at, read, write};
use crate::harness::databases::both_engines;

fn key(tenant_name: &str, route: &str, key: &str) -> KeyOf {
    KeyOf { tenant: tenant_name.parse().unwrap(), route: route.to_owned(), key: key.to_owned() }
}

fn an_answer(of: KeyOf, created: i64) -> Answered {
    Answered {
        of,
        asked: Asked { target_hash: -7, body_size: 5 << 40, body_crc64: Crc64::new(u64::MAX) },
        status: 201,
        location: Some("/api/uploads/x".to_owned()),
        body: "{\"a\":\"ä\"}".to_owned(),
        created_at: at(created),
        expires_at: at(created + 100),
    }
}

async fn keep(db: &Db, answered: &Answered) -> Result<(), Code> {
    let answered = answered.clone();
    let kept = db.write(cifra::db::Urgency::Normal, move |c| {
        let answered = answered.clone();
        Box::pin(async move { idempotency_keys::insert(c, &answered).await })
    });
    kept.await.map_err(|error| error.code())
}

async fn find(db: &Db, of: &KeyOf, now: Timestamp) -> Option<Answered> {
    let of = of.clone();
    read(db, move |c| Box::pin(async move { idempotency_keys::get(c, &of, now).await })).await
}

async fn forget(db: &Db, now: i64, limit: u32) -> u64 {
    write(db, move |c| Box::pin(async move { idempotency_keys::forget_expired(c, at(now), limit).await }))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_found_by_its_tenant_route_and_key_until_it_expires() {
    for test in both_engines().await {
        let of = key("one", "/a", "k");
        let answer = an_answer(of.clone(), 10);
        keep(&test.db, &answer).await.unwrap();
        assert_eq!(find(&test.db, &of, at(109)).await, Some(answer.clone()), "{}", test.engine);
        assert_eq!(find(&test.db, &of, at(110)).await, None, "{}", test.engine);
        for other in [key("two", "/a", "k"), key("one", "/b", "k"), key("one", "/a", "K")] {
            assert_eq!(find(&test.db, &other, at(10)).await, None, "{}", test.engine);
            keep(&test.db, &an_answer(other, 10)).await.unwrap();
        }
        assert_eq!(find(&test.db, &of, at(10)).await, Some(answer), "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_answered_once_and_anew_when_that_has_expired() {
    for test in both_engines().await {
        let of = key("one", "/a", "k");
        let (first, mut second) = (an_answer(of.clone(), 10), an_answer(of.clone(), 109));
        second.location = None;
        keep(&test.db, &first).await.unwrap();
        assert_eq!(keep(&test.db, &second).await, Err(Code::IdempotencyConflict), "{}", test.engine);
        assert_eq!(find(&test.db, &of, at(50)).await, Some(first), "{}", test.engine);
        let third = Answered { created_at: at(110), ..second };
        keep(&test.db, &third).await.unwrap();
        assert_eq!(find(&test.db, &of, at(150)).await, Some(third), "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_answers_are_forgotten_in_slices_the_oldest_first() {
    for test in both_engines().await {
        for number in 0..5 {
            keep(&test.db, &an_answer(key("one", "/a", &number.to_string()), number)).await.unwrap();
        }
        assert_eq!(forget(&test.db, 99, 10).await, 0, "{}", test.engine);
        assert_eq!(forget(&test.db, 103, 2).await, 2, "{}", test.engine);
        assert_eq!(find(&test.db, &key("one", "/a", "1"), at(0)).await, None, "{}", test.engine);
        assert!(find(&test.db, &key("one", "/a", "2"), at(0)).await.is_some(), "{}", test.engine);
        assert_eq!(forget(&test.db, 103, 10).await, 2, "{}", test.engine);
        assert!(find(&test.db, &key("one", "/a", "4"), at(0)).await.is_some(), "{}", test.engine);
    }
}
