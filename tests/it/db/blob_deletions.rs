//! Blobs that are to be removed, and bytes that are announced: of those who want them one gets them.

use cifra::base::{BlobKey, FileId, Timestamp};
use cifra::db::{Db, blob_deletions, stores};

use super::{at, read, tenant, write};
use crate::harness::databases::{TestDb, both_engines};

const STORE: &str = "default";

fn a_key() -> BlobKey {
    BlobKey::of_file(&tenant(), FileId::new(at(0)))
}

async fn with_a_store(test: &TestDb) {
    write(&test.db, |c| Box::pin(stores::remember(c, STORE, uuid::Uuid::from_u128(1), "memory", at(0))))
        .await;
}

async fn note(db: &Db, key: &BlobKey, after: i64) {
    let key = key.clone();
    write(db, move |c| {
        let key = key.clone();
        Box::pin(async move { blob_deletions::insert(c, STORE, &key, at(after), at(0)).await })
    })
    .await;
}

async fn due(db: &Db, now: i64) -> Vec<(BlobKey, Timestamp)> {
    read(db, move |c| Box::pin(blob_deletions::due(c, STORE, at(now), 10))).await
}

async fn claim(db: &Db, key: &BlobKey, from: i64, to: i64) -> bool {
    let key = key.clone();
    write(db, move |c| {
        let key = key.clone();
        Box::pin(async move { blob_deletions::claim(c, STORE, &key, at(from), at(to)).await })
    })
    .await
}

async fn withdraw(db: &Db, key: &BlobKey, known_by: i64) -> bool {
    let key = key.clone();
    write(db, move |c| {
        let key = key.clone();
        Box::pin(async move { blob_deletions::withdraw(c, STORE, &key, at(known_by)).await })
    })
    .await
}

#[tokio::test]
async fn a_blob_is_deleted_when_its_time_has_come_and_not_before() {
    for test in both_engines().await {
        with_a_store(&test).await;
        let keys = [a_key(), a_key()];
        note(&test.db, &keys[0], 20).await;
        note(&test.db, &keys[1], 10).await;
        assert_eq!(due(&test.db, 9).await, [], "{}", test.engine);
        let both = [(keys[1].clone(), at(10)), (keys[0].clone(), at(20))];
        assert_eq!(due(&test.db, 20).await, both, "{}", test.engine);
        note(&test.db, &keys[1], 30).await;
        assert_eq!(due(&test.db, 20).await, both[1..], "{}", test.engine);
        assert!(withdraw(&test.db, &keys[0], 20).await, "{}", test.engine);
        assert!(!withdraw(&test.db, &keys[0], 20).await);
        assert_eq!(due(&test.db, 20).await, []);
    }
}

#[tokio::test]
async fn bytes_are_published_or_removed_but_never_both() {
    for test in both_engines().await {
        with_a_store(&test).await;
        let key = a_key();
        // Published: nobody finds them to remove.
        note(&test.db, &key, 10).await;
        assert!(withdraw(&test.db, &key, 10).await, "{}", test.engine);
        assert!(!claim(&test.db, &key, 10, 70).await, "{}: removed what was published", test.engine);

        // Claimed to be removed: nobody publishes them any more, also not with the time of the claim before.
        note(&test.db, &key, 10).await;
        assert!(claim(&test.db, &key, 10, 70).await);
        assert!(!claim(&test.db, &key, 10, 71).await, "{}: two have it", test.engine);
        assert!(!withdraw(&test.db, &key, 10).await, "{}: published what is removed", test.engine);
        assert_eq!(due(&test.db, 69).await, []);
        // Who claimed it died: the next goes on.
        assert_eq!(due(&test.db, 70).await, [(key.clone(), at(70))], "{}", test.engine);
        assert!(claim(&test.db, &key, 70, 130).await);
        assert!(withdraw(&test.db, &key, 130).await);
    }
}

#[tokio::test]
async fn of_many_at_once_one_gets_a_row() {
    for test in both_engines().await {
        with_a_store(&test).await;
        let key = a_key();
        note(&test.db, &key, 10).await;
        let claims = futures_util::future::join_all((0..6).map(|node| claim(&test.db, &key, 10, 70 + node)));
        let (claims, published) = tokio::join!(claims, withdraw(&test.db, &key, 10));
        let winners = claims.into_iter().chain([published]).filter(|won| *won).count();
        assert_eq!(winners, 1, "{}", test.engine);
    }
}
