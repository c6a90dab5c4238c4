//! One life of the services, from their start to their death: on a runtime of its own, so that dropping it is the
//! crash. And what a loss of power does to the folder.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cifra::base::stream::StreamError;
use cifra::base::{ChunkIndex, Principal, SystemClock, TenantId, Timestamp, UploadId};
use cifra::blob::Stores;
use cifra::blob::local::{LocalOptions, LocalStore};
use cifra::config::{ByteSize, ChecksumPolicy, Config, Durability, MinFree};
use cifra::db::{DatabaseUrl, Db, DbOptions, Synchronous, Urgency, stores};
use cifra::files::{FileService, Quota};
use cifra::session::Sessions;
use cifra::telemetry::Tasks;
use cifra::upload::{ChunkIn, ChunkReceipt, OnRepeat, Rules, UploadService};
use futures_util::{StreamExt, stream};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::{BodyEnd, CHUNK, SIZE, Variant, content};
use crate::harness::uncached;

const DAY: Duration = Duration::from_hours(24);

/// One process, from its start to its death.
pub(super) struct Life {
    pub(super) runtime: Runtime,
    pub(super) uploads: Arc<UploadService>,
    pub(super) files: Arc<FileService>,
}

impl Life {
    pub(super) fn begin(folder: &Path, policy: ChecksumPolicy, boot: Uuid) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (uploads, files) = runtime.block_on(services(folder, policy, boot));
        Self { runtime, uploads, files }
    }

    pub(super) fn send(
        &self,
        id: UploadId,
        index: usize,
        variant: Variant,
        on_repeat: OnRepeat,
        body: BodyEnd,
    ) -> cifra::base::Result<ChunkReceipt> {
        let chunk = chunk_in(index, variant, on_repeat, body);
        self.runtime.block_on(self.uploads.write_chunk(&who(), id, chunk))
    }

    /// Begins some work and goes on after a while, whether or not it is done.
    pub(super) fn begin_and_leave(
        &self,
        work: impl Future<Output = cifra::base::Result<()>> + Send + 'static,
        after_micros: u64,
    ) {
        let work = self.runtime.spawn(work);
        // Not a condition that could be awaited: any moment is a good one to die.
        std::thread::sleep(Duration::from_micros(after_micros));
        drop(work);
    }
}

async fn services(
    folder: &Path,
    policy: ChecksumPolicy,
    boot: Uuid,
) -> (Arc<UploadService>, Arc<FileService>) {
    let (tasks, clock) = (Tasks::default(), Arc::new(SystemClock::default()));
    let options = DbOptions {
        max_connections: 2,
        slow_query: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(30),
        lock_timeout: Duration::from_secs(10),
        durability: Synchronous::Normal,
    };
    let db = Db::connect(&DatabaseUrl::Sqlite(folder.join("cifra.db")), &options, &tasks).await.unwrap();
    db.migrate().await.unwrap();
    db.write(Urgency::Normal, |c| {
        Box::pin(stores::remember(c, "local", Uuid::nil(), "local", Timestamp::from_micros(0)))
    })
    .await
    .unwrap();
    let store = LocalStore::open(LocalOptions {
        root: folder.join("store"),
        durability: Durability::Finalize,
        min_free: MinFree::Bytes(ByteSize(0)),
    });
    let store = Arc::new(store.await.unwrap());
    let blobs = Stores::new("local", store);
    let quota = Quota::new(db.clone(), &Config::builtin(folder).limits);
    let files = Arc::new(FileService::new(
        db.clone(),
        blobs.clone(),
        quota,
        clock.clone(),
        tasks.clone(),
        uncached(clock.clone(), &tasks),
    ));
    let sessions = Sessions::new(db, boot);
    sessions.break_finish_claims("local", cifra::base::Clock::now(clock.as_ref())).await.unwrap();
    let rules = Rules {
        durability: Durability::Finalize,
        max_file_bytes: 1 << 30,
        chunk_size_bytes: CHUNK as u64,
        idle_ttl: DAY,
        max_age: DAY,
        finalize_wait: DAY,
        checksum: policy,
        require_chunk_checksum: false,
        announced_for: DAY,
    };
    let uploads = UploadService::new(sessions, blobs, Arc::clone(&files), clock, tasks, rules);
    (Arc::new(uploads), files)
}

pub(super) fn who() -> Principal {
    Principal::open(TenantId::default_tenant())
}

pub(super) fn chunk_in(index: usize, variant: Variant, on_repeat: OnRepeat, end: BodyEnd) -> ChunkIn {
    let content = content(index, variant);
    let half = content.len() / 2;
    let mut frames = vec![Ok(content[..half].to_vec().into())];
    match end {
        BodyEnd::Whole => frames.push(Ok(content[half..].to_vec().into())),
        BodyEnd::Cut => frames.push(Err(StreamError::Cut("by the test".to_owned()))),
        BodyEnd::TooLong => frames.push(Ok([&content[half..], b"!"].concat().into())),
    }
    ChunkIn {
        index: ChunkIndex::new(u32::try_from(index).unwrap()),
        announced: None,
        declared: Vec::new(),
        on_repeat,
        body: stream::iter(frames).boxed(),
    }
}

/// The database's threads end a little later than the runtime: a statement that they are at is finished.
pub(super) fn wait_until_closed(folder: &Path) {
    let open = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        files.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|path| path.starts_with(folder))
    };
    let begun = std::time::Instant::now();
    while open() {
        assert!(begun.elapsed() < Duration::from_secs(20), "files stay open after a crash");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(super) fn zero(folder: &Path, index: usize) {
    let staged = std::fs::read_dir(folder.join("store/staging")).unwrap().next().unwrap().unwrap().path();
    let file = OpenOptions::new().write(true).open(staged).unwrap();
    file.write_all_at(&vec![0; CHUNK.min(SIZE - index * CHUNK)], (index * CHUNK) as u64).unwrap();
}
