//! TTLs that differ a little, so that what was read together is not read again together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub(super) struct Jitter {
    percent: u32,
    state: AtomicU64,
}

impl Jitter {
    /// Shorter by up to `percent`; `seed` says by how much when.
    pub(super) fn new(percent: u32, seed: u64) -> Self {
        Self { percent, state: AtomicU64::new(seed) }
    }

    /// `ttl`, or up to so many percent less.
    pub(super) fn shorten(&self, ttl: Duration) -> Duration {
        let thousandths = u128::from(self.percent) * 10;
        let less = u128::from(self.next()) * thousandths / u128::from(u64::MAX);
        let nanos = ttl.as_nanos() * (1000 - less) / 1000;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
    fn next(&self) -> u64 {
        let mut z = self.state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_shorter_by_no_more_than_it_may_be_and_not_always_by_the_same() {
        for percent in [0, 10, 50] {
            let (jitter, ttl) = (Jitter::new(percent, 7), Duration::from_secs(1000));
            let all: Vec<Duration> = (0..10_000).map(|_| jitter.shorten(ttl)).collect();
            let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
            let floor = ttl * (100 - percent) / 100;
            assert!(*least >= floor && *most <= ttl, "{least:?} to {most:?}");
            let spread = ttl.saturating_sub(floor);
            assert!(most.saturating_sub(*least) >= spread * 9 / 10, "{least:?} to {most:?} of {percent} %");
        }
    }
}
