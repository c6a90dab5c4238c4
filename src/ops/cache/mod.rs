//! The cache as people see it: figures and health, switches, invalidation by hand, a benchmark. Called by `http`.
//!
//! What is counted is read through here, and flushed into the database by [`CacheAdmin::flush`], which `app` calls once a
//! second and at the end; now and then it calls [`CacheAdmin::clean_up`]. Not here: what a read does (`crate::cache`); what
//! happens when rows change (its feed).

mod benchmark;
mod invalidate;
mod switch;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::base::principal::Scope;
use crate::base::{Clock, EntityName, Principal, Result, Timestamp};
use crate::cache::figures::Shown;
use crate::cache::{Cache, TierSize};
use crate::db::{Db, Urgency};
use crate::entities::EntityService;
use crate::telemetry::metrics;

pub use self::benchmark::{Benchmark, Measured};
pub use self::invalidate::{Invalidated, Wanted, Whose};
pub use self::switch::Switched;
pub use crate::cache::Source;
pub use crate::cache::figures::{EntityFigures, ResponseTimes, TierFigures};

/// What the cache did and does, for one who asks.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Whether anybody is answered through the cache.
    pub global_enabled: bool,
    /// Whether who asks has not switched it off for themselves.
    pub user_enabled: bool,
    /// Whether changes of rows count for configured entities.
    pub auto_invalidate: bool,
    /// `memory`, with `+redis` or `+sqlite` where there is a second tier.
    pub cache_type: String,
    /// What all nodes counted.
    pub figures: Shown,
    /// What is in memory of this node.
    pub l1: TierSize,
    /// What is in the second tier.
    pub l2: TierSize,
    /// When this node last took out of memory what was good for nothing any more.
    pub last_cleanup: Option<Timestamp>,
}

/// Whether the cache does what it is there for.
#[derive(Debug, Clone)]
pub struct Health {
    /// It is on, and every tier that it has is used.
    pub is_whole: bool,
    /// Whether anybody is answered through it.
    pub enabled: bool,
    /// As in [`Stats`].
    pub cache_type: String,
    /// Entries in memory of this node.
    pub l1_entries: Option<u64>,
    /// Entries in the second tier, if it can tell.
    pub l2_entries: Option<u64>,
    /// Whether changes of rows count for configured entities.
    pub auto_invalidate: bool,
    /// How long this node has run.
    pub uptime: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct CacheAdmin {
    db: Db,
    cache: Cache,
    clock: Arc<dyn Clock>,
    entities: Arc<EntityService>,
    begun: Duration,
    /// Microseconds since 1970; 0: not yet.
    cleaned_at: AtomicI64,
    /// Of benchmarks there is one at a time.
    benchmarks: Semaphore,
}

/// Nothing is known of a tier that is not there.
const NO_SIZE: TierSize = TierSize { entries: None, bytes: None };

impl CacheAdmin {
    /// Looks after `cache`, whose figures and switches are kept in `db`; reads what is switched off.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn start(
        db: Db,
        cache: Cache,
        clock: Arc<dyn Clock>,
        entities: Arc<EntityService>,
    ) -> Result<Self> {
        cache.switches().reload(&db).await?;
        let begun = clock.uptime();
        let (cleaned_at, benchmarks) = (AtomicI64::new(0), Semaphore::new(1));
        Ok(Self { db, cache, clock, entities, begun, cleaned_at, benchmarks })
    }

    /// What the cache did and does.
    ///
    /// # Errors
    /// `Forbidden` without the scope `read`.
    pub async fn stats(&self, who: &Principal) -> Result<Stats> {
        who.require(Scope::Read)?;
        let mut figures = self.cache.figures().show(&self.db, self.clock.now()).await;
        figures
            .entities
            .retain(|name, _| name.parse().is_ok_and(|name: EntityName| self.entities.may_see(who, &name)));
        let (report, switches) = (self.cache.report().await, self.cache.switches());
        let cleaned_at = self.cleaned_at.load(Ordering::Relaxed);
        Ok(Stats {
            global_enabled: switches.is_on_globally(),
            user_enabled: switches.is_on_by_themselves(who),
            auto_invalidate: switches.auto_invalidates(),
            cache_type: kind(report.l2.as_ref().map(|l2| l2.name)),
            figures,
            l1: report.l1,
            l2: report.l2.map_or(NO_SIZE, |l2| l2.size),
            last_cleanup: (cleaned_at > 0).then(|| Timestamp::from_micros(cleaned_at)),
        })
    }

    /// Whether the cache does what it is there for. For everybody, so nothing that is anybody's.
    pub async fn health(&self) -> Health {
        let (report, switches) = (self.cache.report().await, self.cache.switches());
        let enabled = switches.is_on_globally();
        Health {
            is_whole: enabled && report.l2.as_ref().is_none_or(|l2| l2.is_current),
            enabled,
            cache_type: kind(report.l2.as_ref().map(|l2| l2.name)),
            l1_entries: report.l1.entries,
            l2_entries: report.l2.and_then(|l2| l2.size.entries),
            auto_invalidate: switches.auto_invalidates(),
            uptime: self.clock.uptime().saturating_sub(self.begun),
        }
    }

    /// Adds what was counted to what all nodes counted.
    ///
    /// # Errors
    /// Those of the database; the next call makes up for it.
    pub async fn flush(&self) -> Result<()> {
        self.cache.figures().flush(&self.db, self.clock.now(), Urgency::Background).await
    }

    /// Takes out of memory what is good for nothing any more, and tells the metrics how much there is in each tier.
    pub async fn clean_up(&self) {
        let removed = self.cache.clean_up().await;
        tracing::trace!(removed, "cleaned up the cache");
        self.cleaned_at.store(self.clock.now().as_micros(), Ordering::Relaxed);
        let report = self.cache.report().await;
        metrics::cache_size("l1", report.l1.entries, report.l1.bytes);
        if let Some(l2) = report.l2 {
            metrics::cache_size("l2", l2.size.entries, l2.size.bytes);
            metrics::cache_l2_current(l2.is_current);
        }
    }
}

fn kind(l2: Option<&str>) -> String {
    l2.map_or_else(|| "memory".to_owned(), |l2| format!("memory+{l2}"))
}
