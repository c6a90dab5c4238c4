//! Files, deletions of blobs, stores, checkpoints.

use cifra::base::crc::Crc64;
use cifra::base::{BlobKey, FileId, UploadId};
use cifra::db::checkpoints::{self, Checkpoint};
use cifra::db::files::{self, File};
use cifra::db::usage::Limits;
use cifra::db::{Db, parts, stores};
use uuid::Uuid;

use super::{at, claimed, inserted, metadata, read, record_all, tenant, write};
use crate::harness::databases::both_engines;

pub(crate) fn a_file() -> File {
    let id = FileId::new(at(9));
    File {
        id,
        tenant: tenant(),
        store: "default".to_owned(),
        key: BlobKey::of_file(&tenant(), id),
        filename: "film.mp4".to_owned(),
        content_type: "video/mp4".to_owned(),
        size: 1000,
        sha256: Some([7; 32]),
        crc64: Crc64::new(u64::MAX),
        metadata: metadata(&[("a", "b")]),
        created_at: at(9),
        updated_at: at(9),
        version: 1,
        derived: 0,
    }
}

pub(super) async fn remember(db: &Db, name: &'static str, id: u128) -> Uuid {
    write(db, move |c| Box::pin(stores::remember(c, name, Uuid::from_u128(id), "local", at(0)))).await
}

pub(super) async fn insert(db: &Db, file: &File) {
    let file = file.clone();
    write(db, move |c| {
        let file = file.clone();
        Box::pin(async move { files::insert(c, &file, &Limits::NONE).await.map(drop) })
    })
    .await;
}

#[tokio::test]
async fn a_file_is_kept_found_and_deleted() {
    for test in both_engines().await {
        remember(&test.db, "default", 1).await;
        let whole = a_file();
        let without = File { sha256: None, size: 0, ..a_file() };
        for file in [&whole, &without] {
            insert(&test.db, file).await;
            let id = file.id;
            let found =
                read(&test.db, move |c| Box::pin(async move { files::get(c, &tenant(), id).await })).await;
            assert_eq!(found.as_ref(), Some(file), "{}", test.engine);
        }
        let id = whole.id;
        let foreign = "other".parse().unwrap();
        let seen = read(&test.db, |c| Box::pin(async move { files::get(c, &foreign, id).await })).await;
        assert_eq!(seen, None, "{}", test.engine);
        let delete =
            || write(&test.db, move |c| Box::pin(async move { files::delete(c, &tenant(), id).await }));
        assert_eq!(delete().await, Some(("default".to_owned(), whole.key.clone())), "{}", test.engine);
        assert_eq!(delete().await, None, "{}", test.engine);
    }
}

#[tokio::test]
async fn a_store_keeps_its_first_identity() {
    for test in both_engines().await {
        assert_eq!(remember(&test.db, "default", 1).await, Uuid::from_u128(1), "{}", test.engine);
        assert_eq!(remember(&test.db, "default", 2).await, Uuid::from_u128(1), "{}", test.engine);
        remember(&test.db, "archive", 3).await;
        let all = read(&test.db, |c| Box::pin(stores::all(c))).await;
        assert_eq!(all.iter().map(|store| store.name.as_str()).collect::<Vec<_>>(), ["archive", "default"]);
        let one = read(&test.db, |c| Box::pin(stores::get(c, "archive"))).await;
        assert_eq!(
            one.map(|store| (store.store_id, store.backend)),
            Some((Uuid::from_u128(3), "local".to_owned()))
        );
        assert_eq!(read(&test.db, |c| Box::pin(stores::get(c, "nowhere"))).await, None);

        let referenced = || read(&test.db, |c| Box::pin(stores::referenced(c)));
        assert_eq!(referenced().await, Vec::<String>::new(), "{}", test.engine);
        insert(&test.db, &a_file()).await;
        assert_eq!(referenced().await, ["default"], "{}", test.engine);
    }
}

async fn put(db: &Db, id: UploadId, offset: u64, withdrawals: u64) -> bool {
    write(db, move |c| {
        Box::pin(async move {
            let checkpoint = Checkpoint { offset, state: offset.to_le_bytes().to_vec() };
            checkpoints::put(c, id, &checkpoint, withdrawals).await
        })
    })
    .await
}

async fn latest(db: &Db, id: UploadId, at_most: u64) -> Option<u64> {
    let latest = read(db, move |c| Box::pin(checkpoints::latest(c, id, at_most))).await;
    latest.map(|checkpoint| {
        assert_eq!(checkpoint.state, checkpoint.offset.to_le_bytes());
        checkpoint.offset
    })
}

#[tokio::test]
async fn a_withdrawal_rewinds_the_checkpoints_that_have_seen_the_chunk() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        record_all(&test.db, id, &[0, 1, 2, 3, 4]).await;
        for offset in [200, 300, 400] {
            assert!(put(&test.db, id, offset, 0).await, "{}", test.engine);
        }
        assert!(put(&test.db, id, 400, 0).await, "{}: the same once more", test.engine);
        assert_eq!(latest(&test.db, id, u64::MAX).await, Some(400), "{}", test.engine);
        assert_eq!(latest(&test.db, id, 399).await, Some(300));
        assert_eq!(latest(&test.db, id, 199).await, None);

        // Chunk 3 is bytes 300..400: what stands at 300 has not seen it.
        let withdrawn = write(&test.db, move |c| {
            Box::pin(parts::withdraw(c, id, cifra::base::ChunkIndex::new(3), None, at(5)))
        })
        .await;
        assert_eq!(withdrawn, parts::Withdrawn::Done { withdrawals: 1 });
        assert_eq!(latest(&test.db, id, u64::MAX).await, Some(300), "{}", test.engine);
        // A hash that was on its way since before the withdrawal comes too late.
        assert!(!put(&test.db, id, 500, 0).await, "{}", test.engine);
        assert!(put(&test.db, id, 400, 1).await, "{}", test.engine);

        let fence = claimed(&test.db, id, 10).await;
        assert!(put(&test.db, id, 500, 1).await, "{}: while it is finished", test.engine);
        write(&test.db, move |c| Box::pin(cifra::db::uploads::complete(c, id, fence, at(11)))).await;
        assert!(!put(&test.db, id, 600, 1).await, "{}: after its end", test.engine);
    }
}
