//! The database floor: every function on both engines, through one set of tests.

mod access;
mod blob_deletions;
mod cache_figures;
mod catalog;
mod ends;
mod engines;
mod files;
mod files_change;
mod files_list;
mod idempotency_keys;
mod identity;
mod invalidations;
mod invalidations_swept;
mod jobs;
mod journal;
mod lists;
mod postgres;
mod sealed;
mod soak;
mod sqlite;
mod thumbnails;
mod triggers;
mod usage;
mod write_behind;
mod writer;

use std::collections::BTreeMap;

pub(crate) use self::files::a_file;
pub(crate) use self::invalidations::by_hand;

use cifra::base::crc::Crc64;
use cifra::base::metadata::Metadata;
use cifra::base::{BlobKey, ChunkIndex, PartsId, Result, TenantId, Timestamp, UploadId};
use cifra::db::parts::{Receipt, Recorded};
use cifra::db::uploads::{self, Protocol, Upload, UploadState};
use cifra::db::usage::Limits;
use cifra::db::{Conn, Db, Urgency, parts, stores};
use futures_util::future::BoxFuture;

/// Seconds after an arbitrary beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000)
}

pub(crate) fn tenant() -> TenantId {
    TenantId::default_tenant()
}

/// An upload of ten chunks of 100 bytes, begun at second `created`, expiring an hour later.
pub(crate) fn an_upload(created: i64) -> Upload {
    let id = UploadId::new(at(created));
    Upload {
        id,
        tenant: tenant(),
        store: "default".to_owned(),
        key: BlobKey::of_file(&tenant(), id.file()),
        parts: PartsId::new(format!("staging-{id}")),
        state: UploadState::Receiving,
        protocol: Protocol::Native,
        filename: "film.mp4".to_owned(),
        content_type: Some("video/mp4".to_owned()),
        total_size: 1000,
        chunk_size: 100,
        chunk_count: 10,
        received_bytes: 0,
        received_chunks: 0,
        withdrawals: 0,
        checksum: Some("crc64nvme:0123456789abcdef".parse().expect("a checksum")),
        metadata: metadata(&[("project", "x"), ("who", "me")]),
        created_at: at(created),
        updated_at: at(created),
        expires_at: at(created + 3600),
        ended_at: None,
        error: None,
        finish_fence: 0,
        finish_checksum: None,
        sealing: false,
    }
}

pub(crate) fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    let pairs: BTreeMap<_, _> =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Metadata::new(pairs).expect("metadata")
}

/// A receipt of 100 bytes.
pub(crate) fn a_receipt(index: u32) -> Receipt {
    Receipt {
        index: ChunkIndex::new(index),
        size: 100,
        crc64: Crc64::new(u64::MAX - u64::from(index)),
        etag: None,
        synced: false,
        boot: None,
        received_at: at(1),
    }
}

/// [`Db::write`], for tests.
pub(crate) async fn write<T: Send + 'static>(
    db: &Db,
    job: impl for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send + Sync + 'static,
) -> T {
    db.write(Urgency::Normal, job).await.expect("a write")
}

/// [`Db::read`], for tests.
pub(crate) async fn read<T>(db: &Db, f: impl for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T>>) -> T {
    db.read(f).await.expect("a read")
}

/// Adds an upload, and the store it names.
pub(crate) async fn insert(db: &Db, upload: &Upload) {
    let upload = upload.clone();
    write(db, move |c| {
        let upload = upload.clone();
        Box::pin(async move {
            stores::remember(c, &upload.store, uuid::Uuid::from_u128(1), "local", at(0)).await?;
            uploads::insert(c, &upload, &Limits::NONE).await.map(drop)
        })
    })
    .await;
}

/// A new upload that is in the database.
pub(crate) async fn inserted(db: &Db, created: i64) -> Upload {
    let upload = an_upload(created);
    insert(db, &upload).await;
    upload
}

pub(crate) async fn get(db: &Db, id: UploadId) -> Option<Upload> {
    read(db, |c| Box::pin(async move { uploads::get(c, &tenant(), id).await })).await
}

/// Journals a receipt as an upload service would.
pub(crate) async fn record(db: &Db, id: UploadId, receipt: Receipt) -> Result<Recorded> {
    db.write(Urgency::Receipt, move |c| {
        let receipt = receipt.clone();
        Box::pin(async move { parts::record(c, id, &receipt, at(1), at(7200)).await })
    })
    .await
}

/// Journals receipts of these chunks.
pub(crate) async fn record_all(db: &Db, id: UploadId, indexes: &[u32]) {
    for &index in indexes {
        let recorded = record(db, id, a_receipt(index)).await.expect("a write");
        assert!(matches!(recorded, Recorded::Counted(_)), "{recorded:?}");
    }
}

/// Claims the finishing of `id` at second `now`, for a minute.
pub(crate) async fn claim(db: &Db, id: UploadId, now: i64) -> uploads::FinishClaim {
    let node = uuid::Uuid::from_u128(7);
    write(db, move |c| {
        Box::pin(
            async move { uploads::claim_finish(c, &tenant(), id, node, None, at(now), at(now + 60)).await },
        )
    })
    .await
}

/// The fence of a claim that must succeed.
pub(crate) async fn claimed(db: &Db, id: UploadId, now: i64) -> i64 {
    match claim(db, id, now).await {
        uploads::FinishClaim::Claimed { fence, .. } => fence,
        other => panic!("not claimed: {other:?}"),
    }
}

/// A statement of a test's own, with one id.
pub(crate) async fn execute(db: &Db, text: &'static str, id: uuid::Uuid) -> Result<u64> {
    db.write(Urgency::Normal, move |c| {
        Box::pin(async move {
            Ok(match c {
                Conn::Sqlite(c) => sqlx::query(text).bind(id).execute(&mut **c).await?.rows_affected(),
                Conn::Postgres(c) => sqlx::query(text).bind(id).execute(&mut **c).await?.rows_affected(),
            })
        })
    })
    .await
}
