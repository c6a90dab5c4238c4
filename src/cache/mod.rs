//! What was read from the database, kept for who asks next: in this process (L1), in Redis or a SQLite file (L2).
//!
//! [`Cache::read`] answers from the nearest tier that has a value that still stands, and else from the loader that it is
//! given (L3, the database), one at a time for each key. Whoever changes a row calls [`Cache::invalidate`] before they
//! answer; other nodes, and changes that other programs make, come in by triggers and the feed. Nothing here knows what
//! a value is. Not here: who may see it; that is asked before.

mod client;
mod entity;
mod envelope;
mod feed;
pub mod figures;
mod flight;
mod generations;
mod glob;
mod jitter;
mod key;
mod load;
mod memory;
mod read;
mod redis;
mod report;
mod seen;
mod sqlite;
pub mod switches;
mod tier;
mod trust;
pub mod write_behind;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::client::Whose;
pub use self::entity::{Entity, Policy};
pub use self::feed::{Feed, announce};
use self::figures::Figures;
use self::flight::Flights;
pub use self::glob::Glob;
use self::jitter::Jitter;
pub use self::key::{CacheKey, Invalidation, TAGS, Tag};
use self::memory::Memory;
pub use self::redis::RedisTier;
pub use self::seen::Seen;
pub use self::sqlite::{SqliteOptions, SqliteTier};
use self::switches::Switches;
pub use self::tier::{Away, CacheTier, Cursor, Fetched, TierSize, Token};
use self::trust::Trust;
use crate::base::{Clock, EntityName};
use crate::config;
use crate::telemetry::{Tasks, metrics};

/// Where an answer came from; in the header `X-Cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Memory of this process.
    L1,
    /// Redis, or the SQLite file.
    L2,
    /// The database.
    Database,
    /// The database, because nothing else was asked.
    Bypass,
    /// A tier, with a value older than its TTL: no other was to be had in time.
    Stale,
}

impl Source {
    /// As the header says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::Database => "DB",
            Self::Bypass => "BYPASS",
            Self::Stale => "STALE",
        }
    }
}

/// A value, with where it came from.
#[derive(Debug, Clone)]
pub struct Read<T> {
    /// The value; `None`: there is none.
    pub value: Option<Arc<T>>,
    /// Who had it.
    pub source: Source,
    /// How long that took.
    pub took: Duration,
}

/// What can be kept. Encoded as JSON in L2, so that a shape that changed needs another version, and a person can read it.
pub trait Value: Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}

/// All tiers. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: config::Cache,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    memory: Memory,
    l2: Option<Arc<dyn CacheTier>>,
    flights: Flights,
    trust: Trust,
    jitter: Jitter,
    figures: Figures,
    switches: Switches,
    /// The kind of what [`Cache::cached`] keeps.
    loose: OnceLock<Entity>,
}

impl Cache {
    /// As configured, with `l2` as its second tier.
    pub fn new(
        config: &config::Cache,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        l2: Option<Arc<dyn CacheTier>>,
    ) -> Self {
        Self(Arc::new(Inner {
            config: config.clone(),
            clock,
            tasks,
            memory: Memory::new(config.l1.max_bytes.bytes(), || metrics::cache_evicted("l1", 1)),
            l2,
            flights: Flights::default(),
            trust: Trust::new(),
            jitter: Jitter::new(config.jitter, Token::random().0),
            figures: Figures::default(),
            switches: Switches::new(config),
            loose: OnceLock::new(),
        }))
    }

    /// A kind of value whose shape has this version; its TTL as configured.
    pub fn entity(&self, name: EntityName, version: u32) -> Entity {
        let policy = Policy { ttl: self.0.config.ttl_of(&name), negative_ttl: None };
        let index = self.0.figures.index_of(&name);
        Entity { name, version, policy, index }
    }

    /// Makes everything that `changed` concerns a miss, here at once and in L2 before this returns, or before L2 is read
    /// again. To be called after the commit and before the answer to whoever changed it. Never fails: what L2 cannot be
    /// told now it is told before it is used again.
    pub async fn invalidate(&self, changed: &[Invalidation]) {
        // L2 remembers what it could not be told.
        let _ = self.apply(changed).await;
    }

    /// The same in this process alone; for the feed, which tells L2 by itself.
    fn apply_here(&self, changed: &[Invalidation]) {
        let tags: Vec<Tag> = changed.iter().flat_map(Invalidation::tags).collect();
        self.0.memory.invalidate(&tags);
    }

    /// The same, for who wants to know whether L2 was told.
    ///
    /// # Errors
    /// [`Away`] if it was not: it is not current until it is. Here everything is a miss all the same.
    pub async fn apply(&self, changed: &[Invalidation]) -> Result<(), Away> {
        let tags: Vec<Tag> = changed.iter().flat_map(Invalidation::tags).collect();
        self.renew(&tags).await
    }

    /// Nothing with one of `tags` stands any more, in any tier.
    async fn renew(&self, tags: &[Tag]) -> Result<(), Away> {
        let memory = &self.0.memory;
        memory.invalidate(tags);
        let Some(l2) = self.0.l2.as_ref().filter(|_| !tags.is_empty()) else { return Ok(()) };
        let told = l2.renew(tags).await;
        // Until then somebody may have read from there what does not stand, and kept it here.
        memory.invalidate(tags);
        told
    }

    /// Takes out of memory what is good for nothing any more, and answers how much there was.
    pub async fn clean_up(&self) -> u64 {
        let inner = Arc::clone(&self.0);
        // All entries are looked at.
        let cleaned = tokio::task::spawn_blocking(move || {
            inner.memory.remove_gone(&inner.trust, trust::micros(inner.clock.uptime()))
        });
        cleaned.await.unwrap_or_default()
    }

    /// Everything that had changed in the database at `uptime` (of this process) was applied. What is kept here counts
    /// as fresh for a second from then. Until the first call nobody watches, and everything counts.
    pub fn fresh_as_of(&self, uptime: Duration) {
        self.0.trust.fresh_as_of(uptime);
    }

    /// Whether somebody watches what changes in the database. What was read before they began does not count after that.
    pub fn is_watched(&self) -> bool {
        self.0.trust.is_watched()
    }

    /// Whether the database does not answer now: then whoever can be answered with an aged value does not wait.
    pub fn database_away(&self, away: bool) {
        self.0.trust.set_away(away);
    }
}
