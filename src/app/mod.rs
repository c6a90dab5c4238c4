//! The one place where everything is built, started and stopped.
//!
//! [`App::build`] opens the database and the store and puts the services on them; whoever builds it puts a door
//! in front (`http::Server`). [`App::run`] goes on until it is told to stop, then ends in order: no new
//! connections, requests finish, tasks finish, the database closes.

mod accounts;
mod caches;
mod changes;
mod identity;
mod nodes;
mod orphans;
mod pictures;
mod rebuild;
mod stores;
mod time;
mod warm;
mod watched;

use std::fs::File;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::auth::AuthService;
use crate::base::{Clock, Code, Error, Result};
use crate::blob::Stores;
use crate::blob::local::lock::{self, InUse, NotLocked};
use crate::cache::Cache;
use crate::config::{self, Config, DatabaseUrl};
use crate::db::{Db, DbOptions};
use crate::entities::EntityService;
use crate::files::{FileService, Quota};
use crate::idempotency::Idempotency;
use crate::jobs::Jobs;
use crate::media::ThumbnailService;
use crate::ops::cache::CacheAdmin;
use crate::ops::{Ops, Rates};
use crate::session::Sessions;
use crate::telemetry::{Tasks, heap, metrics};
use crate::upload::{Rules, Sweeper, UploadService};

pub use self::accounts::{Accounts, migrate};
use self::nodes::{open_redis, sessions_use_it};
pub use self::orphans::orphans;
pub use self::rebuild::{Rebuilding, rebuild};
use self::stores::OpenedStores;
pub use self::stores::examine_stores;
pub use self::warm::Warmed;
pub use self::watched::{unwatch, watch};

/// How often the sweeper comes by.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// The database has this long to write what it was given, after everybody else has ended.
const DATABASE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How often histograms are tidied (the exporter asks for it), and unused memory is given back.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// What the floors above work with.
#[derive(Debug)]
pub struct Services {
    /// Uploads.
    pub uploads: Arc<UploadService>,
    /// Files.
    pub files: Arc<FileService>,
    /// Their thumbnails.
    pub thumbnails: Arc<ThumbnailService>,
    /// What was read a moment ago.
    pub cache: Cache,
    /// Tables of the operator's own.
    pub entities: Arc<EntityService>,
    /// The cache as people see it.
    pub cache_admin: Arc<CacheAdmin>,
    /// How often a tenant may ask.
    pub rates: Rates,
    /// What one tenant may ask for.
    pub limits: config::Limits,
    /// Who may.
    pub auth: Arc<AuthService>,
    /// Requests that may be repeated.
    pub idempotency: Idempotency,
    /// Readiness.
    pub ops: Ops,
    /// For what outlives a request.
    pub tasks: Tasks,
    /// How patient the door is, and how wide.
    pub door: config::Server,
    /// Goes before the paths of links; empty for relative ones.
    pub public_url: String,
}

/// A service that is built, but not reachable yet.
#[derive(Debug)]
pub struct App {
    db: Db,
    db_tasks: Tasks,
    /// Keeps other processes away until the end.
    lock: Option<File>,
    clock: Arc<dyn Clock>,
    services: Arc<Services>,
    stores: Stores,
    sweeper: Arc<Sweeper>,
    tasks: Tasks,
    shutdown_timeout: Duration,
}

impl App {
    /// Opens the database and the store, checks that they belong together, and puts the services on them.
    ///
    /// # Errors
    /// What keeps the service from starting, in words for its operator.
    pub async fn build(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        metrics::install();
        // The database's own tasks serve until everybody else has ended.
        let (tasks, db_tasks) = (Tasks::default(), Tasks::default());
        make_data_folder(&config.server)?;
        // What one process owns is locked before it is looked at: the stores, and the file of a SQLite database.
        let opened = OpenedStores::open(&config.file_upload, &tasks).await?;
        let lock = lock_database(&config.database.url).await?;
        let db = Db::connect(&config.database.url, &DbOptions::of(config), &db_tasks).await?;
        for step in db.migrate().await? {
            tracing::info!(number = step.number, "applied migration {} ({})", step.number, step.name);
        }
        time::compare(&db, clock.as_ref()).await;
        opened.check(&db, clock.as_ref()).await?;
        opened.clear(&db).await?;
        let stores = opened.into_stores();

        let redis = open_redis(config, &db, &tasks).await?;
        let cache = caches::open(config, &db, redis.as_ref(), &clock, &tasks).await?;
        let auth = AuthService::new(db.clone(), Arc::clone(&clock), tasks.clone(), cache.clone(), config);
        auth.prepare(config).await?;
        let auth = Arc::new(auth);
        let mut sessions = Sessions::new(db.clone(), boot_id());
        if let Some(redis) = redis.as_ref().filter(|_| sessions_use_it(config)) {
            sessions = sessions.with_nodes(redis.clone(), &tasks);
        }
        let jobs = Jobs::new(db.clone(), Arc::clone(&clock), tasks.clone());
        free_claims(&db, &jobs, &sessions, &stores, clock.as_ref()).await?;
        let quota = Quota::new(db.clone(), &config.limits);
        let files = FileService::new(
            db.clone(),
            stores.clone(),
            quota,
            Arc::clone(&clock),
            tasks.clone(),
            cache.clone(),
        );
        let files = Arc::new(files.purging_after(config.files.purge_delay));
        recount(&files, &tasks);
        files.access().start(&tasks);
        let thumbnails = pictures::start(&db, &files, &stores, &jobs, &clock, &tasks, &config.thumbnails)?;
        let uploads = UploadService::new(
            sessions,
            stores.clone(),
            Arc::clone(&files),
            Arc::clone(&clock),
            tasks.clone(),
            Rules::from(&config.file_upload),
        );
        let eager = config.thumbnails.eager && !config.thumbnails.sizes.is_empty();
        let uploads = Arc::new(if eager { uploads.with_thumbnails(jobs.clone()) } else { uploads });

        let idempotency = Idempotency::new(db.clone(), Arc::clone(&clock), tasks.clone());
        let entities = EntityService::open(&db, &cache, &clock, &tasks, &config.entities).await?;
        let services = Services {
            uploads: Arc::clone(&uploads),
            files,
            thumbnails,
            cache_admin: caches::administer(&db, &cache, &clock, &entities).await?,
            entities,
            cache,
            rates: Rates::new(config.limits.requests_per_second, Arc::clone(&clock)),
            limits: config.limits.clone(),
            auth: Arc::clone(&auth),
            idempotency: idempotency.clone(),
            ops: Ops::new(db.clone(), stores.clone(), redis, Arc::clone(&clock)),
            tasks: tasks.clone(),
            door: config.server.clone(),
            public_url: config.server.public_url.as_ref().map_or_else(String::new, |url| url.as_str().into()),
        };
        let sweeper = Arc::new(Sweeper::new(uploads, idempotency, auth));
        let (services, shutdown_timeout) = (Arc::new(services), config.server.shutdown_timeout);
        Ok(Self { db, db_tasks, lock, clock, services, stores, sweeper, tasks, shutdown_timeout })
    }

    /// For whoever makes it reachable.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Where the bytes are.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// What cleans up; it also runs by itself.
    pub fn sweeper(&self) -> &Arc<Sweeper> {
        &self.sweeper
    }

    /// Lets `accept` take connections until `stop` is ready, then stops in order, within the configured time.
    /// `accept` ends by itself when the tasks of [`Services`] are asked to. Whether everything ended in that time.
    pub async fn run(
        self,
        accept: impl Future<Output = ()> + Send + 'static,
        stop: impl Future<Output = ()>,
    ) -> bool {
        let Self { db, db_tasks, lock, clock, services, stores: _, sweeper, tasks, shutdown_timeout } = self;
        let (access, admin) = (services.files.access().clone(), Arc::clone(&services.cache_admin));
        changes::start(&services.cache, &db, &clock, &tasks).await;
        warm::start(&services, &tasks);
        drop(services);
        tasks.spawn(
            "sweeper",
            every(SWEEP_EVERY, tasks.clone(), move || {
                let sweeper = Arc::clone(&sweeper);
                async move {
                    if let Err(error) = sweeper.sweep().await {
                        tracing::warn!(%error, "the sweeper could not finish its round: {error}");
                    }
                }
            }),
        );
        if let Db::Postgres(_) = db {
            let (compared, clock) = (db.clone(), Arc::clone(&clock));
            tasks.spawn(
                "clock",
                every(time::COMPARE_EVERY, tasks.clone(), move || {
                    let (db, clock) = (compared.clone(), Arc::clone(&clock));
                    async move { time::compare(&db, clock.as_ref()).await }
                }),
            );
        }
        tasks.spawn(
            "metrics upkeep",
            every(UPKEEP_EVERY, tasks.clone(), || async { metrics::install().run_upkeep() }),
        );
        tasks.spawn(
            "heap upkeep",
            every(UPKEEP_EVERY, tasks.clone(), || async {
                drop(tokio::task::spawn_blocking(heap::trim).await);
            }),
        );
        caches::keep(&admin, &tasks);
        tasks.spawn("accept", accept);
        stop.await;
        tracing::info!("stopping: requests that are being answered may finish");
        let ended = tasks.finish(shutdown_timeout).await;
        if let Err(error) = access.flush().await {
            tracing::warn!(%error, "the last reads of files were not counted: {error}");
        }
        let closed = tokio::time::timeout(DATABASE_WAIT_MAX, async {
            caches::flush(&admin).await;
            db.close().await;
            db_tasks.finish(DATABASE_WAIT_MAX).await
        });
        let orderly = closed.await.unwrap_or(false) && ended;
        drop(lock);
        orderly
    }
}

/// What the process before this one held: a SQLite database has one at a time, so that whoever held a claim is gone. On
/// PostgreSQL others hold theirs, and those of who is gone run out.
async fn free_claims(
    db: &Db,
    jobs: &Jobs,
    sessions: &Sessions,
    stores: &Stores,
    clock: &dyn Clock,
) -> Result<()> {
    if let Db::Sqlite(_) = db {
        jobs.free_all().await?;
        for (store, _) in stores.iter() {
            sessions.break_finish_claims(store, clock.now()).await?;
        }
    }
    Ok(())
}

fn make_data_folder(config: &config::Server) -> Result<()> {
    std::fs::create_dir_all(&config.data_dir).map_err(|error| {
        let folder = config.data_dir.display();
        broken(format!(
            "the data folder {folder} cannot be made: {error}; set server.data_dir to one that can"
        ))
    })
}

/// The one process that owns a SQLite database. Commands beside it (`cifra key`) don't, and need not.
async fn lock_database(url: &DatabaseUrl) -> Result<Option<File>> {
    let DatabaseUrl::Sqlite(file) = url else { return Ok(None) };
    let (shown, mut path) = (file.display().to_string(), file.clone().into_os_string());
    path.push(".lock");
    let path = PathBuf::from(path);
    let taken = tokio::task::spawn_blocking(move || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(NotLocked::Io)?;
        lock::take(&path)
    });
    match taken.await.map_err(|error| Error::internal("the database could not be locked", error))? {
        Ok(lock) => Ok(Some(lock)),
        Err(NotLocked::Held(owner)) => Err(broken(format!(
            "the database `{shown}` is in use by another process ({owner}): one `cifra serve` owns a SQLite database; \
             for several, set database.url to a PostgreSQL one"
        ))
        .caused_by(InUse)),
        Err(NotLocked::Io(error)) => {
            Err(broken(format!("the database `{shown}` could not be locked")).caused_by(error))
        }
    }
}

/// Calls `work` now and every `period`, until the service begins to stop.
async fn every<F: Future<Output = ()>>(period: Duration, tasks: Tasks, work: impl Fn() -> F) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = tasks.stopping().cancelled() => return,
            _ = ticks.tick() => work().await,
        }
    }
}

/// Checks what tenants use, beside the requests.
fn recount(files: &Arc<FileService>, tasks: &Tasks) {
    let files = Arc::clone(files);
    tasks.spawn("count usage", async move {
        if let Err(error) = files.quota().recount().await {
            tracing::warn!(%error, "what tenants use was not counted again: {error}");
        }
    });
}

/// This run of the kernel. Where the kernel does not say, every start of the process counts as one: receipts
/// are then looked at once more than needed.
fn boot_id() -> Uuid {
    let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    told.and_then(|id| id.trim().parse().ok()).unwrap_or_else(Uuid::new_v4)
}

/// For the operator, at start.
fn broken(detail: String) -> Error {
    Error::new(Code::Internal, detail)
}
