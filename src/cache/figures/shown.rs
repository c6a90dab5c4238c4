//! What people see of the figures: rates, times and percentiles, computed from sums. Pure.

use std::collections::BTreeMap;

use super::counted::middle;
use super::ledger::{Sums, TIERS, monday_of};
use crate::db::cache_figures::{Counts, Day};

/// What all nodes counted since the beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// By name.
    pub entities: BTreeMap<String, EntityFigures>,
    /// L1, L2 and the database.
    pub tiers: [TierFigures; 3],
    /// What the database was spared.
    pub saved: Saved,
}

/// Reads of one kind of value. Those of who has the cache switched off count nowhere but in the times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntityFigures {
    /// Answered from a tier, aged values included.
    pub hits: u64,
    /// Answered when the database had been asked, whoever asked it.
    pub misses: u64,
    /// `None` until there is one of each.
    pub times: Option<ResponseTimes>,
}

/// How long an answer takes on average, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResponseTimes {
    /// From L1 and L2.
    pub cached_ms: f64,
    /// From the database, whether asked by the cache or in its place.
    pub database_ms: f64,
}

/// What a tier did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TierFigures {
    /// It had the value. Of the database: it answered.
    pub hits: u64,
    /// It was asked, and the next one had to be. Of the database: it failed.
    pub misses: u64,
    /// Half of its answers took no longer, in microseconds; `None`: there were none.
    pub p50_us: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_us: Option<f64>,
}

/// Reads for which the database was not asked: all but those of who has the cache switched off, less what the cache asked
/// it, ahead of time and in vain too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Since midnight (UTC).
    pub today: u64,
    /// Since Monday (ISO 8601).
    pub week: u64,
    /// Since the beginning.
    pub total: u64,
}

impl Shown {
    /// Of `sums`, on the day `today`.
    pub(super) fn of(sums: &Sums, today: i64) -> Self {
        let entities = sums.entities.iter().map(|(name, counts)| (name.clone(), EntityFigures::of(counts)));
        let all = |number: fn(&Counts) -> i64| -> i64 { sums.entities.values().map(number).sum() };
        let loads = all(|counts| counts.loads + counts.failed_loads);
        let since = |first: i64| {
            let days = sums.days.iter().filter(|day| (first..=today).contains(&day.day));
            count(days.map(|Day { reads, loads, .. }| reads - loads).sum())
        };
        let asked = [
            (all(|counts| counts.l1_hits), all(|counts| counts.l2_hits + counts.stale_hits + counts.misses)),
            (all(|counts| counts.l2_hits), all(|counts| counts.misses)),
            (all(|counts| counts.loads), all(|counts| counts.failed_loads)),
        ];
        let tier = |index: usize| {
            let (hits, misses) = asked[index];
            TierFigures {
                hits: count(hits),
                misses: count(misses),
                p50_us: percentile(sums, TIERS[index], 50),
                p99_us: percentile(sums, TIERS[index], 99),
            }
        };
        Self {
            entities: entities.collect(),
            tiers: std::array::from_fn(tier),
            saved: Saved {
                today: since(today),
                week: since(monday_of(today)),
                total: count(all(reads) - loads),
            },
        }
    }

    /// All of them.
    pub fn hits(&self) -> u64 {
        self.entities.values().map(|entity| entity.hits).sum()
    }

    /// All of them.
    pub fn misses(&self) -> u64 {
        self.entities.values().map(|entity| entity.misses).sum()
    }

    /// The part of reads that were hits, from 0 to 1; 0 before the first one.
    pub fn hit_rate(&self) -> f64 {
        ratio(self.hits(), self.hits() + self.misses()).unwrap_or(0.0)
    }
}

impl EntityFigures {
    fn of(counts: &Counts) -> Self {
        let cached = ratio(count(counts.l1_nanos + counts.l2_nanos), count(counts.l1_hits + counts.l2_hits));
        let database =
            ratio(count(counts.loads_nanos + counts.bypassed_nanos), count(counts.loads + counts.bypassed));
        let times = cached.zip(database).map(|(cached, database)| ResponseTimes {
            cached_ms: rounded(cached / 1e6),
            database_ms: rounded(database / 1e6),
        });
        Self {
            hits: count(counts.l1_hits + counts.l2_hits + counts.stale_hits),
            misses: count(counts.misses),
            times,
        }
    }
}

impl ResponseTimes {
    /// By how much a cached answer is faster: 99 where it takes a hundredth; negative where it is slower.
    pub fn improvement_percent(&self) -> f64 {
        if self.database_ms > 0.0 { rounded((1.0 - self.cached_ms / self.database_ms) * 100.0) } else { 0.0 }
    }
}

fn reads(counts: &Counts) -> i64 {
    counts.l1_hits + counts.l2_hits + counts.stale_hits + counts.misses
}

/// The answer of `tier` that `percent` of a hundred were not slower than, in microseconds, give or take an eighth.
fn percentile(sums: &Sums, tier: &str, percent: i64) -> Option<f64> {
    let answers = || sums.answers.iter().filter(|((of, _), _)| of == tier);
    let all: i64 = answers().map(|(_, count)| count).sum();
    let mut seen = 0;
    for ((_, bucket), count) in answers() {
        seen += count;
        if seen.saturating_mul(100) >= all.saturating_mul(percent) {
            let nanos = middle(usize::try_from(*bucket).ok()?);
            return Some(rounded(float(nanos) / 1e3));
        }
    }
    None
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| float(part) / float(whole))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "for people: below 2^53 it is exact, beyond that nobody sees it"
)]
fn float(number: u64) -> f64 {
    number as f64
}

/// Six digits after the point: nanoseconds of milliseconds.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
