//! The numbers of one kind of value, added to by every reader at once, and how they become a batch for the database.
//!
//! How long an answer took is counted in buckets, four to each doubling: a percentile is right to an eighth. How many
//! answers there were is what all buckets add up to, so that one answer is two additions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Loaded;
use crate::cache::Source;
use crate::db::cache_figures::Counts;

/// The first bucket has what took less than 20 ns, the last what took longer than a minute.
pub(super) const BUCKETS: usize = 128;
/// Two to this power is where the first bucket begins, in nanoseconds.
const FIRST_EXPONENT: u32 = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counted {
    l1: Timed,
    l2: Timed,
    loads: Timed,
    failed_loads: AtomicU64,
    stale_hits: AtomicU64,
    misses: AtomicU64,
    bypassed: AtomicU64,
    bypassed_nanos: AtomicU64,
}

/// Answers, by how long they took.
#[derive(Debug)]
struct Timed {
    nanos: AtomicU64,
    answers: [AtomicU64; BUCKETS],
}

impl Default for Timed {
    fn default() -> Self {
        Self { nanos: AtomicU64::default(), answers: std::array::from_fn(|_| AtomicU64::default()) }
    }
}

/// Whether what was counted is counted anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It is somebody else's now.
    Forget,
    /// It was only looked at.
    Keep,
}

/// Answers of the three tiers, by bucket.
pub(super) type Answers = [[u64; BUCKETS]; 3];

impl Counted {
    pub(super) fn answered(&self, source: Source, took: Duration) {
        match source {
            Source::L1 => self.l1.add(took),
            Source::L2 => self.l2.add(took),
            Source::Database => increase(&self.misses, 1),
            Source::Stale => increase(&self.stale_hits, 1),
            Source::Bypass => {
                increase(&self.bypassed, 1);
                increase(&self.bypassed_nanos, nanos(took));
            }
        }
    }

    pub(super) fn loaded(&self, took: Duration, outcome: Loaded) {
        match outcome {
            Loaded::Answered => self.loads.add(took),
            Loaded::Failed => increase(&self.failed_loads, 1),
        }
    }

    /// What was counted; its answers are added to `answers`.
    pub(super) fn read(&self, then: Then, answers: &mut Answers) -> Counts {
        let [l1, l2, l3] = answers;
        let (l1_hits, l1_nanos) = self.l1.read(then, l1);
        let (l2_hits, l2_nanos) = self.l2.read(then, l2);
        let (loads, loads_nanos) = self.loads.read(then, l3);
        let one = |number| column(take(number, then));
        Counts {
            l1_hits,
            l2_hits,
            stale_hits: one(&self.stale_hits),
            misses: one(&self.misses),
            bypassed: one(&self.bypassed),
            l1_nanos,
            l2_nanos,
            bypassed_nanos: one(&self.bypassed_nanos),
            loads,
            failed_loads: one(&self.failed_loads),
            loads_nanos,
        }
    }
}

impl Timed {
    fn add(&self, took: Duration) {
        let nanos = nanos(took);
        increase(&self.answers[bucket(nanos)], 1);
        increase(&self.nanos, nanos);
    }

    /// How many there were, and what they took together.
    fn read(&self, then: Then, answers: &mut [u64; BUCKETS]) -> (i64, i64) {
        let mut all = 0;
        for (number, sum) in self.answers.iter().zip(answers) {
            let count = take(number, then);
            all += count;
            *sum += count;
        }
        (column(all), column(take(&self.nanos, then)))
    }
}

/// Nothing is ordered by these numbers: each is exact by itself.
fn increase(number: &AtomicU64, by: u64) {
    number.fetch_add(by, Ordering::Relaxed);
}

fn take(number: &AtomicU64, then: Then) -> u64 {
    // Most of them are 0 most of the time, and looking is cheaper than writing.
    match number.load(Ordering::Relaxed) {
        0 => 0,
        _ if then == Then::Forget => number.swap(0, Ordering::Relaxed),
        count => count,
    }
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

fn column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The bucket of what took so long.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(1 << FIRST_EXPONENT);
    let exponent = nanos.ilog2();
    // The two digits after the first one.
    let quarter = (nanos >> (exponent - 2)) & 0b11;
    let bucket = u64::from(exponent - FIRST_EXPONENT) * 4 + quarter;
    usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// Where `bucket` begins, in nanoseconds.
pub(super) fn begins(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    (4 + bucket % 4) << (bucket / 4 + u64::from(FIRST_EXPONENT) - 2)
}

/// What an answer in `bucket` took, give or take an eighth.
pub(super) fn middle(bucket: usize) -> u64 {
    u64::midpoint(begins(bucket), begins(bucket + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_duration_is_in_the_bucket_that_begins_before_it_and_ends_after_it(nanos in 16_u64..60_000_000_000) {
            let found = bucket(nanos);
            prop_assert!(begins(found) <= nanos && nanos < begins(found + 1));
            prop_assert!(middle(found).abs_diff(nanos) <= nanos / 8 + 1);
        }
    }

    #[test]
    fn what_is_shorter_or_longer_than_any_bucket_is_in_the_first_or_last() {
        assert_eq!((bucket(0), bucket(16), bucket(u64::MAX)), (0, 0, BUCKETS - 1));
    }
}
