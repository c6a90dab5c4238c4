//! How much of what is asked for the first tier has when a few things are asked for much more often than the rest, and
//! whether the figures that people see say so too.

use std::sync::Arc;

use cifra::base::{Clock, EntityName, Principal, SystemClock, TenantId};
use cifra::cache::{Cache, CacheKey, Source};
use cifra::config::{ByteSize, Config, DatabaseUrl};
use cifra::db::{Db, DbOptions, Urgency};
use cifra::telemetry::Tasks;

use crate::servers::Places;
use crate::{Result, fail};

const KEYS: usize = 100_000;
/// There is room for one of so many keys.
const ROOM_FOR_ONE_IN: u64 = 4;
const READS: u64 = 1_000_000;

/// The share of reads that were hits.
pub(super) struct Round {
    /// Of the first million, when nothing is there yet.
    pub(super) cold: f64,
    /// Of the next.
    pub(super) warm: f64,
}

/// Fails if the figures are not exactly what was counted here.
pub(super) fn round(places: &Places) -> Result<Round> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let round = runtime.block_on(async {
        let mut config = Config::builtin(&places.runs);
        let reads = Reads::new();
        config.cache.l1.max_bytes = ByteSize(weigh(&config).await? / ROOM_FOR_ONE_IN);
        let folder = tempfile::tempdir_in(&places.runs)?;
        let (tasks, url) = (Tasks::default(), DatabaseUrl::Sqlite(folder.path().join("figures.db")));
        let db = Db::connect(&url, &DbOptions::of(&config), &tasks).await?;
        db.migrate().await?;
        let (clock, reader) = (SystemClock::default(), Reader::new(&config)?);
        let mut rng = Rng(1);
        let cold = reader.read(&reads, &mut rng).await?;
        let warm = reader.read(&reads, &mut rng).await?;
        let figures = reader.cache.figures();
        figures.flush(&db, clock.now(), Urgency::Normal).await?;
        let shown = figures.show(&db, clock.now()).await;
        let (hits, all) = (cold + warm, 2 * READS);
        if (shown.hits(), shown.misses()) != (hits, all - hits) {
            return fail(format!(
                "{hits} of {all} were hits, shown are {} and {}",
                shown.hits(),
                shown.misses()
            ));
        }
        let share = |hits: u64| hits as f64 / READS as f64;
        db.close().await;
        Result::Ok(Round { cold: share(cold), warm: share(warm) })
    })?;
    eprintln!(
        "Zipf 1.0: {:.1} % of the first million, {:.1} % of the next",
        round.cold * 1e2,
        round.warm * 1e2
    );
    Ok(round)
}

/// How many bytes all values are to a cache that has room for them.
async fn weigh(config: &Config) -> Result<u64> {
    let mut config = config.clone();
    config.cache.l1.max_bytes = ByteSize(u64::MAX / 2);
    let reader = Reader::new(&config)?;
    for id in 0..KEYS {
        reader.one(id).await?;
    }
    let Some(bytes) = reader.cache.report().await.l1.bytes else { return fail("it has no size".to_owned()) };
    Ok(bytes)
}

struct Reader {
    cache: Cache,
    keys: Vec<CacheKey>,
    contact: cifra::cache::Entity,
    who: Principal,
}

impl Reader {
    fn new(config: &Config) -> Result<Self> {
        let cache = Cache::new(&config.cache, Arc::new(SystemClock::default()), Tasks::default(), None);
        let contact = cache.entity(EntityName::of("Contact"), 1);
        let tenant: TenantId = "acme".parse()?;
        let keys = (0..KEYS).map(|id| CacheKey::record(Some(&tenant), &contact, &format!("{id:06}")));
        Ok(Self { keys: keys.collect(), cache, contact, who: Principal::open(tenant) })
    }

    /// How many of a million reads were hits.
    async fn read(&self, reads: &Reads, rng: &mut Rng) -> Result<u64> {
        let mut hits = 0;
        for _ in 0..READS {
            hits += u64::from(self.one(reads.next(rng)).await? == Source::L1);
        }
        Ok(hits)
    }

    async fn one(&self, id: usize) -> Result<Source> {
        let load = move || async move { Ok(Some(format!("{id:0200}"))) };
        Ok(self.cache.read(&self.contact, &self.keys[id], &self.who, load).await?.source)
    }
}

/// Which key is asked for: number n (from 1) 1/n times as often as the first.
struct Reads {
    up_to: Vec<f64>,
}

impl Reads {
    fn new() -> Self {
        let mut sum = 0.0;
        let up_to = (1..=KEYS).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self { up_to: up_to.collect() }
    }

    fn next(&self, rng: &mut Rng) -> usize {
        let at = rng.next() * self.up_to[KEYS - 1];
        self.up_to.partition_point(|up_to| *up_to < at)
    }
}

/// `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014), from 0 to 1.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
