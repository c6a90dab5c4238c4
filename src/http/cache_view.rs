//! What the cache says of itself, as JSON. Called by `cache`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::base::Timestamp;
use crate::ops::cache::{EntityFigures, Measured, ResponseTimes, Stats, TierFigures};

/// Figures and switches of the cache.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheStats)]
#[expect(clippy::struct_excessive_bools, reason = "JSON has no other words for a switch")]
pub(super) struct StatsView {
    /// Whether whoever asks is answered through the cache.
    pub(super) enabled: bool,
    /// Whether anybody is.
    pub(super) global_enabled: bool,
    /// Whether whoever asks has not switched it off for themselves.
    pub(super) user_enabled: bool,
    /// `memory`, `memory+redis` or `memory+sqlite`.
    pub(super) cache_type: String,
    /// Hits among all reads, from 0 to 1.
    pub(super) hit_rate: f64,
    pub(super) total_hits: u64,
    pub(super) total_misses: u64,
    /// Reads for which the database was not asked.
    pub(super) queries_saved: SavedView,
    /// How long an answer takes on average, by entity.
    pub(super) response_times: BTreeMap<String, TimesView>,
    /// Bytes; `null` where it is not known.
    pub(super) cache_size: SizeView,
    pub(super) tiers: TiersView,
    pub(super) entities: BTreeMap<String, EntityView>,
    /// Whether changes of rows of configured entities count by themselves.
    pub(super) auto_invalidate: bool,
    /// When this node last removed what had aged.
    pub(super) last_cleanup: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheQueriesSaved)]
pub(super) struct SavedView {
    /// Since midnight (UTC).
    pub(super) today: u64,
    /// Since Monday.
    pub(super) week: u64,
    /// Since the beginning.
    pub(super) total: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheResponseTimes)]
pub(super) struct TimesView {
    pub(super) cached_ms: f64,
    pub(super) database_ms: f64,
    /// By how much a cached answer is faster.
    pub(super) improvement_percent: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheSize)]
pub(super) struct SizeView {
    /// In memory of this node.
    pub(super) l1: Option<u64>,
    /// In the second tier.
    pub(super) l2: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheTiers)]
pub(super) struct TiersView {
    /// Memory of the nodes; entries and bytes are this one's.
    pub(super) l1: TierView,
    /// Redis, or a SQLite file.
    pub(super) l2: TierView,
    /// The database: a hit is an answer, a miss is none.
    pub(super) l3: TierView,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheTier)]
pub(super) struct TierView {
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// `null` where it is not known.
    pub(super) entries: Option<u64>,
    pub(super) bytes: Option<u64>,
    /// Half of its answers took no longer; `null` before the first one.
    pub(super) p50_us: Option<f64>,
    /// 99 of 100 took no longer.
    pub(super) p99_us: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheEntity)]
pub(super) struct EntityView {
    pub(super) hits: u64,
    pub(super) misses: u64,
}

/// Whether the cache works.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheHealth)]
pub(super) struct HealthView {
    /// `ok`, `degraded` (a tier is away or behind) or `off`
    pub(super) status: &'static str,
    pub(super) enabled: bool,
    pub(super) cache_type: String,
    pub(super) l1_entries: Option<u64>,
    pub(super) l2_entries: Option<u64>,
    pub(super) auto_invalidate: bool,
    /// Seconds since this node was started.
    pub(super) uptime_s: u64,
}

/// What is read again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheInvalidated)]
pub(super) struct InvalidatedView {
    pub(super) success: bool,
    pub(super) message: String,
    /// Keys like these.
    pub(super) invalidated: Vec<String>,
    pub(super) invalidated_at: Timestamp,
}

/// Everything is read again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheCleared)]
pub(super) struct ClearedView {
    pub(super) success: bool,
    pub(super) message: &'static str,
    pub(super) cleared_at: Timestamp,
}

/// What was measured.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheMeasured)]
pub(super) struct BenchmarkView {
    pub(super) success: bool,
    pub(super) message: String,
    pub(super) entity: String,
    pub(super) cached: MeasuredView,
    pub(super) database: MeasuredView,
    /// By how much a cached answer is faster.
    pub(super) improvement_percent: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheReadTimes)]
pub(super) struct MeasuredView {
    pub(super) iterations: u32,
    pub(super) mean_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// A switch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheToggled)]
pub(super) struct ToggledView {
    pub(super) success: bool,
    pub(super) enabled: bool,
    pub(super) message: &'static str,
}

/// One's own switch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheUserToggled)]
pub(super) struct UserToggledView {
    pub(super) success: bool,
    /// What the key is called.
    pub(super) username: String,
    pub(super) cache_enabled: bool,
    pub(super) message: String,
}

/// What was read beforehand.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WarmedView {
    pub(super) success: bool,
    pub(super) message: String,
    pub(super) tenants: u64,
    pub(super) files: u64,
    /// First pages of entities.
    pub(super) pages: u64,
}

impl From<&Stats> for StatsView {
    fn from(stats: &Stats) -> Self {
        let figures = &stats.figures;
        let [l1, l2, l3] = figures.tiers;
        let times = |(name, entity): (&String, &EntityFigures)| Some((name.clone(), entity.times?.into()));
        let counts = |(name, entity): (&String, &EntityFigures)| {
            (name.clone(), EntityView { hits: entity.hits, misses: entity.misses })
        };
        Self {
            enabled: stats.global_enabled && stats.user_enabled,
            global_enabled: stats.global_enabled,
            user_enabled: stats.user_enabled,
            cache_type: stats.cache_type.clone(),
            hit_rate: figures.hit_rate(),
            total_hits: figures.hits(),
            total_misses: figures.misses(),
            queries_saved: SavedView {
                today: figures.saved.today,
                week: figures.saved.week,
                total: figures.saved.total,
            },
            response_times: figures.entities.iter().filter_map(times).collect(),
            cache_size: SizeView { l1: stats.l1.bytes, l2: stats.l2.bytes },
            tiers: TiersView {
                l1: TierView::of(l1, stats.l1.entries, stats.l1.bytes),
                l2: TierView::of(l2, stats.l2.entries, stats.l2.bytes),
                l3: TierView::of(l3, None, None),
            },
            entities: figures.entities.iter().map(counts).collect(),
            auto_invalidate: stats.auto_invalidate,
            last_cleanup: stats.last_cleanup,
        }
    }
}

impl TierView {
    fn of(tier: TierFigures, entries: Option<u64>, bytes: Option<u64>) -> Self {
        let TierFigures { hits, misses, p50_us, p99_us } = tier;
        Self { hits, misses, entries, bytes, p50_us, p99_us }
    }
}

impl From<ResponseTimes> for TimesView {
    fn from(times: ResponseTimes) -> Self {
        let improvement_percent = times.improvement_percent();
        Self { cached_ms: times.cached_ms, database_ms: times.database_ms, improvement_percent }
    }
}

impl From<Measured> for MeasuredView {
    fn from(measured: Measured) -> Self {
        let Measured { iterations, mean_ms, p50_ms, p99_ms } = measured;
        Self { iterations, mean_ms, p50_ms, p99_ms }
    }
}
