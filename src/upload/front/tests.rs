//! The front, with a real journal and a real store under it.

use std::time::Duration;

use super::*;
use crate::base::metadata::Metadata;
use crate::base::{BlobKey, SystemClock, TenantId, crc, stream};
use crate::blob::local::{LocalOptions, LocalStore};
use crate::blob::{PartStore, Span};
use crate::config::{ByteSize, Durability, MinFree};
use crate::db::uploads::{Protocol, UploadState};
use crate::db::usage::Limits;
use crate::db::{DatabaseUrl, Db, DbOptions, Synchronous, Urgency, stores};

const CHUNK: u64 = 64 << 10;

struct Home {
    fronts: Fronts,
    sessions: Sessions,
    store: Arc<LocalStore>,
    upload: Upload,
    _folder: tempfile::TempDir,
}

/// An upload of `total_size` bytes without any chunk.
async fn home(total_size: u64) -> Home {
    let folder = tempfile::tempdir().unwrap();
    let tasks = Tasks::default();
    let options = DbOptions {
        max_connections: 2,
        slow_query: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(4),
        lock_timeout: Duration::from_secs(4),
        durability: Synchronous::Normal,
    };
    let db = Db::connect(&DatabaseUrl::Sqlite(folder.path().join("db")), &options, &tasks).await.unwrap();
    db.migrate().await.unwrap();
    let options = LocalOptions {
        root: folder.path().join("blobs"),
        durability: Durability::None,
        min_free: MinFree::Bytes(ByteSize(0)),
    };
    let store = Arc::new(LocalStore::open(options).await.unwrap());
    let now = SystemClock::default().now();
    db.write(Urgency::Normal, move |c| {
        Box::pin(async move { stores::remember(c, "local", uuid::Uuid::nil(), "local", now).await })
    })
    .await
    .unwrap();
    let (id, tenant) = (UploadId::new(now), TenantId::default_tenant());
    let key = BlobKey::of_file(&tenant, id.file());
    let parts = store.begin(&key, Some(total_size)).await.unwrap();
    let upload = Upload {
        id,
        tenant,
        store: "local".to_owned(),
        key,
        parts,
        state: UploadState::Receiving,
        protocol: Protocol::Native,
        filename: "f".to_owned(),
        content_type: None,
        total_size,
        chunk_size: CHUNK,
        chunk_count: u32::try_from(total_size.div_ceil(CHUNK)).unwrap(),
        received_bytes: 0,
        received_chunks: 0,
        withdrawals: 0,
        checksum: None,
        metadata: Metadata::default(),
        created_at: now,
        updated_at: now,
        expires_at: now.plus(Duration::from_hours(1)),
        ended_at: None,
        error: None,
        finish_fence: 0,
        finish_checksum: None,
        sealing: false,
    };
    let sessions = Sessions::new(db, uuid::Uuid::nil());
    let _ = sessions.create(upload.clone(), None, None, Limits::NONE, None).await.unwrap();
    let fronts = Fronts::new(
        sessions.clone(),
        Stores::new("local", Arc::clone(&store) as _),
        Arc::new(SystemClock::default()),
        tasks,
    );
    Home { fronts, sessions, store, upload, _folder: folder }
}

impl Home {
    /// Stores and journals a chunk, past the front.
    async fn arrive(&self, index: u32, bytes: &[u8]) {
        let index = ChunkIndex::new(index);
        let span = Span { index, offset: u64::from(index.get()) * CHUNK, len: bytes.len() as u64 };
        let (key, parts) = (&self.upload.key, &self.upload.parts);
        self.store.write(key, parts, span, stream::once(bytes.to_vec())).await.unwrap();
        let now = SystemClock::default().now();
        let receipt = Receipt {
            index,
            size: span.len,
            crc64: crc::of(bytes),
            etag: None,
            synced: false,
            boot: Some(self.sessions.boot()),
            received_at: now,
        };
        self.sessions.record(self.upload.id, receipt, now, self.upload.expires_at).await.unwrap();
    }
}

fn a_chunk_of(byte: u8) -> Vec<u8> {
    vec![byte; usize::try_from(CHUNK).unwrap()]
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut state = Sha256State::default();
    state.update(bytes);
    state.finish()
}

/// A last chunk that is shorter than the others lies before the end by less than a chunk: whoever looks for
/// "the chunk at the front" there must not find it once more.
#[tokio::test(flavor = "multi_thread")]
async fn the_front_stays_at_the_end_of_a_file_whose_last_chunk_is_short() {
    let bytes: Vec<u8> = (0..=250).cycle().take(usize::try_from(CHUNK).unwrap() * 2 + 100).collect();
    let home = home(bytes.len() as u64).await;
    for (index, chunk) in (0..).zip(bytes.chunks(usize::try_from(CHUNK).unwrap())) {
        home.arrive(index, chunk).await;
    }
    assert!(home.fronts.step(&home.upload, Source::Staged(None)).await.unwrap(), "it moves to the end");
    assert!(!home.fronts.step(&home.upload, Source::Staged(None)).await.unwrap(), "it stays there");
    assert_eq!(home.fronts.finish(&home.upload, 0).await.unwrap(), sha256(&bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_stops_before_a_gap_and_goes_on_when_it_is_filled() {
    let bytes: Vec<u8> = (0..=250).cycle().take(usize::try_from(CHUNK).unwrap() * 3).collect();
    let chunks: Vec<&[u8]> = bytes.chunks(usize::try_from(CHUNK).unwrap()).collect();
    let home = home(bytes.len() as u64).await;
    home.arrive(0, chunks[0]).await;
    home.arrive(2, chunks[2]).await;
    assert!(home.fronts.step(&home.upload, Source::Staged(None)).await.unwrap());
    assert_eq!(home.fronts.load(&home.upload).await.unwrap().offset, CHUNK);
    let error = home.fronts.finish(&home.upload, 0).await.unwrap_err();
    assert_eq!(error.code(), Code::UploadIncomplete);
    home.arrive(1, chunks[1]).await;
    assert_eq!(home.fronts.finish(&home.upload, 0).await.unwrap(), sha256(&bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_hashed_before_a_withdrawal_does_not_count() {
    let home = home(CHUNK).await;
    home.arrive(0, &a_chunk_of(1)).await;
    assert!(home.fronts.step(&home.upload, Source::Staged(None)).await.unwrap());
    let index = ChunkIndex::new(0);
    let withdrawn =
        home.sessions.withdraw(home.upload.id, index, None, SystemClock::default().now()).await.unwrap();
    assert_eq!(withdrawn, Withdrawn::Done { withdrawals: 1 });
    home.fronts.rewind(home.upload.id, 1);
    home.arrive(0, &a_chunk_of(2)).await;
    let upload = Upload { withdrawals: 1, ..home.upload.clone() };
    assert_eq!(home.fronts.finish(&upload, 0).await.unwrap(), sha256(&a_chunk_of(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_claim_on_the_end_does_not_wait_for_a_damaged_chunk() {
    let home = home(CHUNK).await;
    home.arrive(0, &a_chunk_of(1)).await;
    let span = Span { index: ChunkIndex::new(0), offset: 0, len: CHUNK };
    let (key, parts) = (&home.upload.key, &home.upload.parts);
    home.store.write(key, parts, span, stream::once(a_chunk_of(2))).await.unwrap();
    let (tenant, id) = (&home.upload.tenant, home.upload.id);
    home.sessions.claim_finish(tenant, id, None, SystemClock::default().now()).await.unwrap();
    let finished = tokio::time::timeout(Duration::from_secs(5), home.fronts.finish(&home.upload, 99));
    assert_eq!(finished.await.expect("it goes on for ever").unwrap_err().code(), Code::Unavailable);
}
