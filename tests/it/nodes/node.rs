//! Nodes: the services several times over, on one PostgreSQL, one Redis or none, and one store that all share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cifra::base::metadata::Metadata;
use cifra::base::stream::{self, StreamError};
use cifra::base::{ByteStream, ChunkIndex, Error, Principal, SystemClock, TenantId, Timestamp, UploadId};
use cifra::blob::Stores;
use cifra::blob::local::{LocalOptions, LocalStore};
use cifra::config::{ByteSize, ChecksumPolicy, Config, Durability, MinFree, Sources, load};
use cifra::db::{DatabaseUrl, Db, Urgency, identity, stores};
use cifra::files::{FileService, Quota};
use cifra::redis::Redis;
use cifra::session::Sessions;
use cifra::telemetry::Tasks;
use cifra::upload::{ChunkIn, ChunkReceipt, Finalized, NewUpload, OnRepeat, Rules, UploadService};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::harness::databases::options;
use crate::harness::{bytes, postgres, uncached};

const DAY: Duration = Duration::from_hours(24);
pub(super) const CHUNK: usize = 64 << 10;

/// One process of several, as far as they can tell.
pub(super) struct Node {
    pub(super) uploads: Arc<UploadService>,
    pub(super) files: Arc<FileService>,
    pub(super) sessions: Sessions,
    pub(super) redis: Option<Redis>,
    db: Db,
    tasks: Tasks,
}

/// All of them.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    /// What all keys of these nodes begin with.
    pub(super) prefix: String,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// This many nodes that meet in Redis at `redis`.
    pub(super) async fn of(count: usize, redis: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalOptions {
            root: folder.path().join("store"),
            durability: Durability::Finalize,
            min_free: MinFree::Bytes(ByteSize(0)),
        };
        let store = Arc::new(LocalStore::open(local).await.unwrap());
        let database = DatabaseUrl::Postgres(postgres::server().new_database().await);
        let config = match redis {
            None => Config::builtin(folder.path()),
            Some(url) => {
                let flags = vec![("redis.url".to_owned(), url.to_owned())];
                load(&Sources::of_process(None, flags).unwrap()).unwrap().config
            }
        };
        let (mut nodes, mut prefix) = (Vec::new(), String::new());
        for _ in 0..count {
            let (node, its) = Node::start(&database, &config, &store).await;
            nodes.push(node);
            prefix = its;
        }
        let cluster = Self { nodes, prefix, _folder: folder };
        if redis.is_some() {
            cluster.settle().await;
        }
        cluster
    }

    /// Until every node works with Redis and hears the others; how long that took.
    pub(super) async fn settle(&self) -> Duration {
        let begun = Instant::now();
        for node in &self.nodes {
            let redis = node.redis.as_ref().unwrap();
            redis.healed().await;
            crate::harness::process::until("it hears", async || redis.hears().then_some(())).await;
        }
        begun.elapsed()
    }

    /// Stops all; whatever they began has ended.
    pub(super) async fn stop(self) {
        for Node { db, tasks, .. } in &self.nodes {
            assert!(tasks.finish(Duration::from_secs(20)).await);
            db.close().await;
        }
    }
}

impl Node {
    async fn start(database: &DatabaseUrl, config: &Config, store: &Arc<LocalStore>) -> (Self, String) {
        let (tasks, db_tasks, clock) = (Tasks::default(), Tasks::default(), Arc::new(SystemClock::default()));
        let db = Db::connect(database, &options(), &db_tasks).await.unwrap();
        db.migrate().await.unwrap();
        let candidate = Uuid::new_v4();
        let remember = db.write(Urgency::Normal, move |c| {
            Box::pin(async move {
                stores::remember(c, "local", Uuid::nil(), "local", Timestamp::from_micros(0)).await?;
                identity::remember(c, candidate).await
            })
        });
        let prefix = format!("cifra:{}", remember.await.unwrap());
        let blobs = Stores::new("local", Arc::clone(store) as _);
        let quota = Quota::new(db.clone(), &config.limits);
        let files = Arc::new(FileService::new(
            db.clone(),
            blobs.clone(),
            quota,
            clock.clone(),
            tasks.clone(),
            uncached(clock.clone(), &tasks),
        ));
        let redis = Redis::start(&config.redis, &prefix, &tasks).await.unwrap();
        let mut sessions = Sessions::new(db.clone(), Uuid::nil());
        if let Some(redis) = &redis {
            sessions = sessions.with_nodes(redis.clone(), &tasks);
        }
        let rules = Rules {
            durability: Durability::Finalize,
            max_file_bytes: 1 << 30,
            chunk_size_bytes: CHUNK as u64,
            idle_ttl: DAY,
            max_age: DAY,
            finalize_wait: Duration::from_secs(20),
            checksum: ChecksumPolicy::Auto,
            require_chunk_checksum: false,
            announced_for: DAY,
        };
        let uploads =
            UploadService::new(sessions.clone(), blobs, Arc::clone(&files), clock, tasks.clone(), rules);
        (Self { uploads: Arc::new(uploads), files, sessions, redis, db, tasks }, prefix)
    }

    /// Begins an upload of so many chunks of [`content`].
    pub(super) async fn create(&self, chunks: usize) -> UploadId {
        let new = NewUpload {
            filename: "file.bin".to_owned(),
            total_size: (chunks * CHUNK) as u64,
            content_type: None,
            chunk_size: Some(CHUNK as u64),
            checksum: None,
            metadata: Metadata::default(),
        };
        self.uploads.create(&who(), new, |_| None).await.unwrap().upload.id
    }

    /// Sends a whole chunk.
    pub(super) async fn send(&self, id: UploadId, index: usize) -> Result<ChunkReceipt, Error> {
        self.send_body(id, index, stream::once(content(index))).await
    }

    /// Begins to send a chunk; the body comes through the channel.
    pub(super) fn begin_to_send(
        &self,
        id: UploadId,
        index: usize,
    ) -> (mpsc::UnboundedSender<Vec<u8>>, JoinHandle<Result<ChunkReceipt, Error>>) {
        let (sender, frames) = mpsc::unbounded_channel::<Vec<u8>>();
        let body = futures_util::stream::unfold(frames, |mut frames| async move {
            let frame: Result<_, StreamError> = Ok(frames.recv().await?.into());
            Some((frame, frames))
        });
        let uploads = Arc::clone(&self.uploads);
        let chunk = chunk_in(index, body.boxed());
        let sending = self.tasks.spawn("send", async move { uploads.write_chunk(&who(), id, chunk).await });
        (sender, sending)
    }

    async fn send_body(&self, id: UploadId, index: usize, body: ByteStream) -> Result<ChunkReceipt, Error> {
        self.uploads.write_chunk(&who(), id, chunk_in(index, body)).await
    }

    /// Finalizes, and compares every byte of the file with what was sent.
    pub(super) async fn finalize_and_compare(&self, id: UploadId, chunks: usize) {
        let finalized = self.uploads.finalize(&who(), id, None).await.unwrap();
        let Finalized::Done(finished) = finalized else { panic!("{finalized:?}") };
        let mut body = self.files.read(&who(), &finished.file, None).await.unwrap();
        let mut stored = Vec::new();
        while let Some(frame) = body.next().await {
            stored.extend_from_slice(&frame.unwrap());
        }
        let sent: Vec<u8> = (0..chunks).flat_map(content).collect();
        assert!(stored == sent, "{} bytes of {}", stored.len(), sent.len());
    }
}

fn chunk_in(index: usize, body: ByteStream) -> ChunkIn {
    ChunkIn {
        index: ChunkIndex::new(u32::try_from(index).unwrap()),
        announced: None,
        declared: Vec::new(),
        on_repeat: OnRepeat::Compare,
        body,
    }
}

/// The bytes of a chunk.
pub(super) fn content(index: usize) -> Vec<u8> {
    let mut content = bytes(CHUNK);
    content.rotate_left(index % CHUNK);
    content
}

pub(super) fn who() -> Principal {
    Principal::open(TenantId::default_tenant())
}
