//! The first tier: values in the memory of this process, as many as its bytes allow, handed out without a copy.
//!
//! [`Memory::look`] says what an entry is good for now. What was invalidated is good for nothing; what has aged is for who
//! cannot have anything better. Not here: who decides that; see `read`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::quality::RandomState;
use moka::sync::Cache;

use super::flight::Anything;
use super::generations::{Generations, Seen};
use super::glob::Glob;
use super::key::{CacheKey, Tag};
use super::tier::TierSize;
use super::trust::{Trust, micros};

/// What an entry takes beside its value as JSON: key, tags, the map, allocations.
const ENTRY_BYTES: usize = 512;
/// After the database failed for an entry, it is not asked for that entry again for so long.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug)]
pub(super) struct Memory {
    entries: Cache<CacheKey, Arc<Entry>, RandomState>,
    generations: Generations,
}

/// A value, or that there is none, with what it stands by. Times are microseconds of uptime.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) value: Option<Anything>,
    pub(super) seen: Seen,
    /// When the database was asked for it, if that was by this process; else 0.
    read_at: u64,
    times: Times,
    /// The database has failed for it; it is asked again from then.
    retry_at: AtomicU64,
    bytes: usize,
}

/// Until when an entry is good for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// From here it is read again beside a request.
    pub(super) due: u64,
    /// From here the next tier is asked.
    pub(super) look: u64,
    /// From here it is older than its TTL.
    pub(super) aged: u64,
    /// From here it is good for nothing.
    pub(super) gone: u64,
}

/// What an entry is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// To be answered.
    Fresh,
    /// To be answered, and to be read again meanwhile.
    Due,
    /// To be answered where somebody reads it again already, or cannot in time: it is only older than its TTL.
    Aged,
    /// To be answered only if nobody can read it again in time: the next tier may know better, or it may have changed
    /// without anybody hearing of it.
    Unsure,
    /// Nothing.
    Gone,
}

impl Memory {
    /// Room for `bytes`, as values are long in JSON. `evicted` is called for what has to leave.
    pub(super) fn new(bytes: u64, evicted: impl Fn() + Send + Sync + 'static) -> Self {
        let weight = |key: &CacheKey, entry: &Arc<Entry>| {
            u32::try_from(key.as_str().len() + entry.bytes + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        let entries = Cache::builder()
            .max_capacity(bytes)
            .weigher(weight)
            .eviction_listener(move |_, _, cause| {
                if cause == moka::notification::RemovalCause::Size {
                    evicted();
                }
            })
            .build_with_hasher(RandomState::default());
        Self { entries, generations: Generations::new() }
    }

    /// The counters of the key's tags: to be taken before the value is read that is to stand by them.
    pub(super) fn seen(&self, key: &CacheKey) -> Seen {
        self.generations.seen(key)
    }

    /// What is here of `key`, if anything, and what it is good for.
    #[inline]
    pub(super) fn look(&self, key: &CacheKey, trust: &Trust, now: u64) -> Option<(Arc<Entry>, Worth)> {
        let entry = self.entries.get(key)?;
        let worth = self.worth(&entry, trust, now);
        if worth == Worth::Gone {
            self.entries.invalidate(key);
            return None;
        }
        Some((entry, worth))
    }

    /// What an entry is good for at `now`, here or not.
    pub(super) fn worth(&self, entry: &Entry, trust: &Trust, now: u64) -> Worth {
        let times = &entry.times;
        if now >= times.gone || !self.generations.stands(&entry.seen) {
            Worth::Gone
        } else if !trust.holds(entry.read_at, now) {
            Worth::Unsure
        } else if now >= times.aged {
            Worth::Aged
        } else if now >= times.look {
            Worth::Unsure
        } else if now >= times.due {
            Worth::Due
        } else {
            Worth::Fresh
        }
    }

    /// Whether nothing that concerns it was invalidated since `seen`.
    pub(super) fn stands(&self, seen: &Seen) -> bool {
        self.generations.stands(seen)
    }

    /// Whether what was read after `seen` may be kept in any tier.
    pub(super) fn may_keep(&self, seen: &Seen) -> bool {
        self.generations.may_keep(seen)
    }

    /// Keeps `entry`, unless it was invalidated since it was read.
    pub(super) fn put(&self, key: &CacheKey, entry: Arc<Entry>) {
        if !self.generations.may_keep(&entry.seen) {
            return;
        }
        let seen = entry.seen.clone();
        self.entries.insert(key.clone(), entry);
        // A removal by pattern may have passed by between the two.
        if !self.generations.may_keep(&seen) {
            self.entries.invalidate(key);
        }
    }

    /// Forgets one entry. Whoever reads it now may put it back; who has changed it invalidates its tags.
    pub(super) fn remove(&self, key: &CacheKey) {
        self.entries.invalidate(key);
    }

    /// Everything with one of `tags` is good for nothing any more.
    pub(super) fn invalidate(&self, tags: &[Tag]) {
        self.generations.invalidate(tags);
    }

    /// The same; what is to stand after that, if nobody else invalidated anything of it since `seen`.
    pub(super) fn invalidate_alone(&self, seen: &Seen, tags: &[Tag]) -> Option<Seen> {
        self.generations.invalidate_alone(seen, tags)
    }

    /// Removes what has a key that matches, also what is being read now; answers how many there were.
    pub(super) fn remove_matching(&self, pattern: &Glob) -> u64 {
        self.generations.pattern();
        let mut removed = 0;
        for (key, _) in &self.entries {
            if pattern.matches(key.as_str()) {
                self.entries.invalidate(&*key);
                removed += 1;
            }
        }
        removed
    }

    /// Removes what is good for nothing any more, and answers how many there were. What nobody asks for again would keep
    /// its room until others need it.
    pub(super) fn remove_gone(&self, trust: &Trust, now: u64) -> u64 {
        let mut removed = 0;
        for (key, entry) in &self.entries {
            if self.worth(&entry, trust, now) == Worth::Gone {
                // Who has read it again meanwhile reads it once more.
                self.entries.invalidate(&*key);
                removed += 1;
            }
        }
        removed
    }

    /// The database failed for `key`: what is here of it is good enough for a moment.
    pub(super) fn note_failure(&self, key: &CacheKey, now: u64) {
        if let Some(entry) = self.entries.get(key) {
            entry.retry_at.store(now.saturating_add(micros(RETRY_AFTER)), Ordering::Relaxed);
        }
    }

    /// How much is in it, after what is to leave has left.
    pub(super) fn size(&self) -> TierSize {
        self.entries.run_pending_tasks();
        TierSize { entries: Some(self.entries.entry_count()), bytes: Some(self.entries.weighted_size()) }
    }
}

impl Entry {
    /// A value of `bytes` in JSON that was read at `read_at` (0: by somebody else), after `seen`.
    pub(super) fn new(
        value: Option<Anything>,
        bytes: usize,
        seen: Seen,
        read_at: u64,
        times: Times,
    ) -> Arc<Self> {
        Arc::new(Self { value, seen, read_at, times, retry_at: AtomicU64::new(0), bytes })
    }

    /// Whether the database failed for it a moment ago.
    pub(super) fn waits_to_retry(&self, now: u64) -> bool {
        now < self.retry_at.load(Ordering::Relaxed)
    }
}
