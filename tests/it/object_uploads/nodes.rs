//! Two nodes of one service: a database, an object store, and two times everything that a process has of its own.

use std::sync::Arc;
use std::time::Duration;

use cifra::auth::AuthService;
use cifra::base::digest::Checksum;
use cifra::base::metadata::Metadata;
use cifra::base::{
    ByteStream, ChunkIndex, Clock, Error, ManualClock, Principal, Result, TenantId, Timestamp, UploadId,
    stream,
};
use cifra::blob::object::{ObjectOptions, ObjectStore, PartBudget};
use cifra::blob::{PartStore, Stores};
use cifra::config::{ChecksumPolicy, Config, Durability};
use cifra::db::usage::{self, Usage};
use cifra::db::{Urgency, stores};
use cifra::files::{File, FileService, Quota};
use cifra::idempotency::Idempotency;
use cifra::session::Sessions;
use cifra::telemetry::Tasks;
use cifra::upload::{
    ChunkIn, ChunkReceipt, Finalized, NewFile, NewUpload, OnRepeat, Rules, Sweeper, UploadService,
    UploadState,
};
use futures_util::StreamExt;
use uuid::Uuid;

use super::wayward::Wayward;
use crate::harness::databases::TestDb;
use crate::harness::uncached;
use crate::suites;

/// The smallest that the store takes.
pub(super) const CHUNK: usize = 64 << 10;
const NAME: &str = "bucket";

/// Both nodes, and what they share.
pub(super) struct Pair {
    pub(super) a: Node,
    pub(super) b: Node,
    pub(super) store: Arc<Wayward>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) test: TestDb,
}

/// One process.
pub(super) struct Node {
    pub(super) uploads: Arc<UploadService>,
    pub(super) files: Arc<FileService>,
    sweeper: Sweeper,
}

/// How nodes are set up.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) rules: Rules,
    pub(super) purge_delay: Option<Duration>,
}

/// An upload, and the bytes that belong into it.
pub(super) struct Sent {
    pub(super) id: UploadId,
    pub(super) bytes: Vec<u8>,
    chunk_size: usize,
}

pub(super) fn who() -> Principal {
    Principal::open(TenantId::default_tenant())
}

impl Default for Setup {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        let rules = Rules {
            durability: Durability::Finalize,
            max_file_bytes: 1 << 30,
            chunk_size_bytes: CHUNK as u64,
            idle_ttl: day,
            max_age: 7 * day,
            finalize_wait: day,
            checksum: ChecksumPolicy::Auto,
            require_chunk_checksum: false,
            announced_for: Duration::from_hours(1),
        };
        Self { rules, purge_delay: None }
    }
}

impl Pair {
    /// On SQLite, which both nodes use in one process here.
    pub(super) async fn start() -> Self {
        Self::set_up(TestDb::sqlite().await, Setup::default()).await
    }

    pub(super) async fn with(test: TestDb, checksum: ChecksumPolicy, announced_for: Duration) -> Self {
        let mut setup = Setup::default();
        (setup.rules.checksum, setup.rules.announced_for) = (checksum, announced_for);
        Self::set_up(test, setup).await
    }

    pub(super) async fn set_up(test: TestDb, setup: Setup) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_767_225_600_000_000)));
        let budget = PartBudget::new(64 << 20);
        let options = ObjectOptions { budget, tasks: test.tasks.clone() };
        let store = Wayward::around(ObjectStore::memory(options).unwrap());
        let remember = test.db.write(Urgency::Normal, |c| {
            Box::pin(stores::remember(c, NAME, Uuid::nil(), "memory", Timestamp::from_micros(0)))
        });
        remember.await.unwrap();
        let node = || Node::of(&test, &store, &clock, setup.clone());
        let (a, b) = (node(), node());
        Self { a, b, store, clock, test }
    }

    /// What the tenant keeps.
    pub(super) async fn used(&self) -> Usage {
        let tenant = TenantId::default_tenant();
        self.test.db.read(|c| Box::pin(async move { usage::get(c, &tenant).await })).await.unwrap()
    }

    /// How many rows `query` counts.
    pub(super) async fn count(&self, query: &'static str) -> i64 {
        let count = self.test.db.read(move |c| {
            Box::pin(async move {
                Ok(match c {
                    cifra::db::Conn::Sqlite(c) => sqlx::query_scalar(query).fetch_one(&mut **c).await?,
                    cifra::db::Conn::Postgres(c) => sqlx::query_scalar(query).fetch_one(&mut **c).await?,
                })
            })
        });
        count.await.unwrap()
    }
}

impl Node {
    fn of(
        test: &TestDb,
        store: &Arc<Wayward>,
        clock: &Arc<ManualClock>,
        Setup { rules, purge_delay }: Setup,
    ) -> Self {
        let (db, tasks, clock): (_, _, Arc<dyn Clock>) =
            (test.db.clone(), Tasks::default(), Arc::clone(clock) as _);
        let config = Config::builtin(std::path::Path::new("/nowhere"));
        let stores = Stores::new(NAME, Arc::clone(store) as Arc<dyn PartStore>);
        let quota = Quota::new(db.clone(), &config.limits);
        let cache = uncached(Arc::clone(&clock), &tasks);
        let files = FileService::new(
            db.clone(),
            stores.clone(),
            quota,
            Arc::clone(&clock),
            tasks.clone(),
            cache.clone(),
        );
        let files = Arc::new(files.purging_after(purge_delay));
        let sessions = Sessions::new(db.clone(), Uuid::new_v4());
        let uploads = UploadService::new(
            sessions,
            stores,
            Arc::clone(&files),
            Arc::clone(&clock),
            tasks.clone(),
            rules,
        );
        let uploads = Arc::new(uploads);
        let auth = Arc::new(AuthService::new(db.clone(), Arc::clone(&clock), tasks.clone(), cache, &config));
        let idempotency = Idempotency::new(db, clock, tasks);
        let sweeper = Sweeper::new(Arc::clone(&uploads), idempotency, auth);
        Self { uploads, files, sweeper }
    }

    /// Begins an upload of `count` chunks, the last one shorter.
    pub(super) async fn begin(&self, count: usize) -> Sent {
        self.begin_with(count, |_| None).await
    }

    /// The same; the whole file's digest is what `declared` makes of its bytes.
    pub(super) async fn begin_with(
        &self,
        count: usize,
        declared: impl FnOnce(&[u8]) -> Option<Checksum>,
    ) -> Sent {
        self.begin_of(suites::bytes(CHUNK * count - CHUNK / 3, 7).to_vec(), declared).await
    }

    /// The same, of these bytes.
    pub(super) async fn begin_of(
        &self,
        bytes: Vec<u8>,
        declared: impl FnOnce(&[u8]) -> Option<Checksum>,
    ) -> Sent {
        let new = NewUpload {
            filename: "a.bin".to_owned(),
            total_size: bytes.len() as u64,
            content_type: None,
            chunk_size: None,
            checksum: declared(&bytes),
            metadata: Metadata::default(),
        };
        let status = self.uploads.create(&who(), new, |_| None).await.unwrap();
        let chunk_size = usize::try_from(status.upload.chunk_size).unwrap();
        Sent { id: status.upload.id, bytes, chunk_size }
    }

    /// Sends chunk `index` as it should be.
    pub(super) async fn put(&self, sent: &Sent, index: usize) -> Result<ChunkReceipt> {
        self.put_bytes(sent, index, sent.chunk(index).to_vec(), OnRepeat::Compare).await
    }

    /// Sends chunks in this order.
    pub(super) async fn put_all(&self, sent: &Sent, order: impl IntoIterator<Item = usize>) {
        for index in order {
            self.put(sent, index).await.unwrap();
        }
    }

    pub(super) async fn put_bytes(
        &self,
        sent: &Sent,
        index: usize,
        bytes: Vec<u8>,
        on_repeat: OnRepeat,
    ) -> Result<ChunkReceipt> {
        let chunk = ChunkIn {
            index: ChunkIndex::new(u32::try_from(index).unwrap()),
            announced: None,
            declared: Vec::new(),
            on_repeat,
            body: stream::once(bytes),
        };
        self.uploads.write_chunk(&who(), sent.id, chunk).await
    }

    /// The file, or why not.
    pub(super) async fn finalize(&self, sent: &Sent, declared: Option<Checksum>) -> Result<File> {
        match self.uploads.finalize(&who(), sent.id, declared).await? {
            Finalized::Done(finished) => Ok(finished.file),
            Finalized::Working(status) => panic!("somebody is at work: {:?}", status.upload),
        }
    }

    pub(super) async fn state(&self, sent: &Sent) -> UploadState {
        self.uploads.status(&who(), sent.id).await.unwrap().upload.state
    }

    /// The file's bytes.
    pub(super) async fn read(&self, file: &File) -> Vec<u8> {
        let mut bytes = self.files.read(&who(), file, None).await.unwrap();
        let mut all = Vec::new();
        while let Some(frame) = bytes.next().await {
            all.extend_from_slice(&frame.unwrap());
        }
        all
    }

    /// One round of the sweeper.
    pub(super) async fn sweep(&self) {
        self.sweeper.sweep().await.unwrap();
    }
}

impl Sent {
    /// The bytes of chunk `index`.
    pub(super) fn chunk(&self, index: usize) -> &[u8] {
        let start = index * self.chunk_size;
        &self.bytes[start..self.bytes.len().min(start + self.chunk_size)]
    }
}

/// A file of one request.
pub(super) fn new_file(body: ByteStream) -> NewFile {
    NewFile {
        filename: "a.bin".to_owned(),
        content_type: None,
        metadata: Metadata::default(),
        announced: None,
        declared: Vec::new(),
        body,
    }
}

/// The code of what was refused.
pub(super) fn refusal<T: std::fmt::Debug>(answer: Result<T>) -> (&'static str, Error) {
    let error = answer.unwrap_err();
    (error.code().as_str(), error)
}
