//! A cache on a clock that stands, and loaders that do as they are told.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cifra::base::{Code, EntityName, Error, ManualClock, Principal, Result, TenantId, Timestamp};
use cifra::cache::{Cache, CacheKey, CacheTier, Entity, Invalidation, Policy, Read};
use cifra::config::{self, Config};
use cifra::telemetry::Tasks;
use tokio::sync::Semaphore;

pub(crate) const TTL: Duration = Duration::from_mins(1);
pub(crate) const STALE_MAX: Duration = Duration::from_mins(10);

/// One process.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) cache: Cache,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) entity: Entity,
    pub(crate) who: Principal,
}

/// A database that counts how often it is asked, and answers when it may.
#[derive(Debug, Clone)]
pub(crate) struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: AtomicU64,
    dropped: AtomicU64,
    answered: AtomicU64,
    version: AtomicU64,
    may_answer: Semaphore,
    fails: std::sync::atomic::AtomicBool,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(None, |_| {})
    }

    /// No jitter, so that times are what they are.
    pub(crate) fn with(l2: Option<Arc<dyn CacheTier>>, change: impl FnOnce(&mut config::Cache)) -> Self {
        Self::on(Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000))), l2, change)
    }

    /// The same, on a clock that others have too.
    pub(crate) fn on(
        clock: Arc<ManualClock>,
        l2: Option<Arc<dyn CacheTier>>,
        change: impl FnOnce(&mut config::Cache),
    ) -> Self {
        let mut config = Config::builtin(Path::new("/nowhere")).cache;
        config.jitter = 0;
        config.stale_max = STALE_MAX;
        config.soft_timeout = Duration::from_millis(20);
        change(&mut config);
        let cache = Cache::new(&config, Arc::clone(&clock) as _, Tasks::default(), l2);
        let policy = Policy { ttl: TTL, negative_ttl: None };
        let entity = cache.entity(EntityName::of("Contact"), 1).believed(policy);
        let who = Principal::open(TenantId::default_tenant());
        Self { cache, clock, entity, who }
    }

    pub(crate) fn key(&self, id: &str) -> CacheKey {
        CacheKey::record(Some(self.who.tenant()), &self.entity, id)
    }

    pub(crate) fn change_of(&self, id: &str) -> Invalidation {
        Invalidation::Record {
            tenant: Some(self.who.tenant().clone()),
            entity: self.entity.name().clone(),
            id: id.to_owned(),
        }
    }

    /// Reads record `id` through the cache.
    pub(crate) async fn read(&self, id: &str, source: &Source) -> Result<Read<u64>> {
        let source = source.clone();
        self.cache
            .read(&self.entity, &self.key(id), &self.who, move || async move { source.answer().await })
            .await
    }

    /// Reads it and says what came, and from where.
    pub(crate) async fn told(&self, id: &str, source: &Source) -> (u64, &'static str) {
        let read = self.read(id, source).await.unwrap();
        (*read.value.unwrap(), read.source.as_str())
    }

    /// The same, in a task of its own.
    pub(crate) fn asks(
        &self,
        id: &'static str,
        source: &Source,
    ) -> tokio::task::JoinHandle<(u64, &'static str)> {
        let (stage, source) = (self.clone(), source.clone());
        Tasks::default().spawn("reader", async move { stage.told(id, &source).await })
    }
}

impl Source {
    /// One that answers at once.
    pub(crate) fn open() -> Self {
        let source = Self::closed();
        source.answers(1 << 20);
        source
    }

    /// One that answers when it is told to.
    pub(crate) fn closed() -> Self {
        Self(Arc::new(Inner {
            begun: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            version: AtomicU64::new(1),
            may_answer: Semaphore::new(0),
            fails: false.into(),
        }))
    }

    /// What it answers whoever asks now.
    pub(crate) async fn answer(self) -> Result<Option<u64>> {
        struct Dropped(Option<Source>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                if let Some(source) = &self.0 {
                    source.0.dropped.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        let version = self.0.version.load(Ordering::SeqCst);
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        let mut alive = Dropped(Some(self.clone()));
        self.0.may_answer.acquire().await.unwrap().forget();
        alive.0 = None;
        self.0.answered.fetch_add(1, Ordering::SeqCst);
        if self.0.fails.load(Ordering::SeqCst) {
            return Err(Error::new(Code::Unavailable, "the database is away"));
        }
        Ok((version != 0).then_some(version))
    }

    /// So many who ask are answered.
    pub(crate) fn answers(&self, count: usize) {
        self.0.may_answer.add_permits(count);
    }

    /// Whoever asks from now on gets this; 0: that there is nothing.
    pub(crate) fn set(&self, version: u64) {
        self.0.version.store(version, Ordering::SeqCst);
    }

    pub(crate) fn fails(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::SeqCst);
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> u64 {
        self.0.begun.load(Ordering::SeqCst)
    }

    /// How many of these it has answered.
    pub(crate) fn answered(&self) -> u64 {
        self.0.answered.load(Ordering::SeqCst)
    }

    /// How many of these were told to leave it.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::SeqCst)
    }

    /// Waits until it was asked so often.
    pub(crate) async fn was_asked(&self, times: u64) {
        until(|| self.asked() >= times).await;
    }
}

/// Lets others go on until `so` is.
pub(crate) async fn until(so: impl Fn() -> bool) {
    let waited = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waited).await.expect("it did not come to be within 10 s");
}
