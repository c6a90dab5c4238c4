//! How far what is kept may be believed to be what the database has: up to where the feed has heard of changes.
//!
//! Called by the feed, which tells, and by every read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Nobody else's change is missed for longer.
const BELIEVED_FOR: u64 = 1_000_000;
/// Nobody watches the database: a process that is alone, or has just begun.
const UNWATCHED: u64 = u64::MAX;

/// See the module. Times are microseconds of `Clock::uptime`.
#[derive(Debug)]
pub(super) struct Trust {
    fresh_as_of: AtomicU64,
    away: AtomicBool,
}

impl Trust {
    pub(super) fn new() -> Self {
        Self { fresh_as_of: AtomicU64::new(UNWATCHED), away: AtomicBool::new(false) }
    }

    /// Every change up to `uptime` was applied.
    pub(super) fn fresh_as_of(&self, uptime: Duration) {
        let uptime = micros(uptime);
        // The feed is one task, and uptime does not go back.
        self.fresh_as_of.store(uptime, Ordering::Release);
    }

    /// Whether anything was ever told.
    pub(super) fn is_watched(&self) -> bool {
        self.fresh_as_of.load(Ordering::Acquire) != UNWATCHED
    }

    pub(super) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Release);
    }

    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    /// Whether what was read from the database at `read_at`, or had not changed up to then, is no more than a second
    /// behind at `now`, as long as no tag of it was invalidated.
    #[inline]
    pub(super) fn holds(&self, read_at: u64, now: u64) -> bool {
        let told = self.fresh_as_of.load(Ordering::Acquire);
        told == UNWATCHED || now.saturating_sub(told.max(read_at)) <= BELIEVED_FOR
    }
}

/// Microseconds of an uptime or a span.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX - 1)
}
