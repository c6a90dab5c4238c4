//! How much faster the cache is than the database, measured on demand on this node: one record, read many times in both
//! ways. What it reads is called [`NAME`] and not counted: nobody asked for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::CacheAdmin;
use crate::base::{Code, EntityName, Error, Principal, Result};
use crate::cache::CacheKey;
use crate::cache::figures::ResponseTimes;
use crate::db::files::{Direction, FileFilter, Order, SortKey};
use crate::db::{Db, files, tenants};
use crate::entities::EntityService;

/// As which entity it is counted.
const NAME: &str = "Benchmark";
/// Reads of each kind, unless somebody says how many.
const ITERATIONS: u32 = 100;
/// At most so many.
const ITERATIONS_MAX: u32 = 10_000;
/// Each kind ends after this, however many are left: somebody waits.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Whose first is the newest.
const NEWEST: Order = Order { key: SortKey::CreatedAt, direction: Direction::Descending };

/// What is read.
#[derive(Debug, Clone)]
enum What {
    Tenant,
    NewestFile,
    /// The first record of a table of the operator's own.
    First(Arc<EntityService>, EntityName),
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Benchmark {
    /// What was read.
    pub entity: EntityName,
    /// Through the cache.
    pub cached: Measured,
    /// From the database.
    pub database: Measured,
}

/// Reads of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// So many.
    pub iterations: u32,
    /// On average, in milliseconds.
    pub mean_ms: f64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
}

impl Benchmark {
    /// By how many percent a cached answer is faster.
    pub fn improvement_percent(&self) -> f64 {
        let times = ResponseTimes { cached_ms: self.cached.mean_ms, database_ms: self.database.mean_ms };
        times.improvement_percent()
    }
}

impl CacheAdmin {
    /// Reads a record of `entity` (`Tenant` if it is none) `iterations` times from the database, and as often through the
    /// cache, for 2 seconds at most each.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator; `EntityNotFound` `{ entities }`; `InvalidRequest` for an entity that is
    /// never cached by itself, and for none or too many iterations; `RecordNotFound` where there is no record;
    /// `Overloaded` while another one runs.
    pub async fn benchmark(
        &self,
        who: &Principal,
        entity: Option<EntityName>,
        iterations: Option<u32>,
    ) -> Result<Benchmark> {
        who.require_operator()?;
        let iterations = iterations.unwrap_or(ITERATIONS);
        if !(1..=ITERATIONS_MAX).contains(&iterations) {
            let detail = format!("iterations: expected 1 to {ITERATIONS_MAX}");
            return Err(Error::new(Code::InvalidRequest, detail));
        }
        let entity = entity.unwrap_or_else(|| EntityName::of(EntityName::TENANT));
        let what = match entity.as_str() {
            EntityName::TENANT => What::Tenant,
            EntityName::FILE => What::NewestFile,
            EntityName::UPLOAD | EntityName::THUMBNAIL => {
                let detail = "entity: expected File, Tenant or one that is configured";
                return Err(Error::new(Code::InvalidRequest, detail));
            }
            _ => What::First(Arc::clone(&self.entities), entity.clone()),
        };
        let _one = self
            .benchmarks
            .try_acquire()
            .map_err(|_| Error::new(Code::Overloaded, "another benchmark is running: wait for its end"))?;
        if sample(&self.db, &what, who).await?.is_none() {
            let detail = format!("the tenant `{}` has no {entity} to be read", who.tenant());
            return Err(Error::new(Code::RecordNotFound, detail));
        }
        let mut database = Times::new(iterations);
        while database.lack() {
            let asked = Instant::now();
            sample(&self.db, &what, who).await?;
            database.add(asked.elapsed());
        }
        // Nobody asked for these but the benchmark.
        let kind = self.cache.entity(EntityName::of(NAME), 1).uncounted();
        let key = CacheKey::record(Some(who.tenant()), &kind, entity.as_str());
        let mut cached = Times::new(iterations);
        while cached.lack() {
            let (db, what, asking) = (self.db.clone(), what.clone(), who.clone());
            let load = move || async move { sample(&db, &what, &asking).await };
            let asked = Instant::now();
            self.cache.read(&kind, &key, who, load).await?;
            cached.add(asked.elapsed());
        }
        Ok(Benchmark { entity, cached: cached.measured(), database: database.measured() })
    }
}

/// A record as text: what the database and the cache have to carry.
async fn sample(db: &Db, what: &What, who: &Principal) -> Result<Option<String>> {
    let tenant = who.tenant().clone();
    match what {
        What::Tenant => {
            let tenant = db.read(move |c| Box::pin(async move { tenants::get(c, &tenant).await })).await?;
            Ok(tenant.map(|tenant| format!("{tenant:?}")))
        }
        What::NewestFile => {
            let all = FileFilter::default();
            let newest = db
                .read(move |c| Box::pin(async move { files::list(c, &tenant, &all, NEWEST, None, 1).await }));
            Ok(newest.await?.first().map(|file| format!("{file:?}")))
        }
        What::First(entities, name) => {
            let page = entities.first(who, name).await?;
            Ok(page.items.first().map(|record| format!("{record:?}")))
        }
    }
}

/// How long reads of one kind took.
struct Times {
    begun: Instant,
    wanted: usize,
    all: Vec<Duration>,
}

impl Times {
    fn new(wanted: u32) -> Self {
        Self { begun: Instant::now(), wanted: wanted as usize, all: Vec::new() }
    }

    /// Whether there are to be more, and there is time.
    fn lack(&self) -> bool {
        self.all.len() < self.wanted && self.begun.elapsed() < TIME_MAX
    }

    fn add(&mut self, took: Duration) {
        self.all.push(took);
    }

    fn measured(mut self) -> Measured {
        self.all.sort_unstable();
        let (all, count) = (&self.all, u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        let milliseconds = |time: Duration| (time.as_secs_f64() * 1e9).round() / 1e6;
        let at = |percent: usize| all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let mean = all.iter().sum::<Duration>().checked_div(count).unwrap_or_default();
        Measured {
            iterations: count,
            mean_ms: milliseconds(mean),
            p50_ms: milliseconds(at(50).unwrap_or_default()),
            p99_ms: milliseconds(at(99).unwrap_or_default()),
        }
    }
}
