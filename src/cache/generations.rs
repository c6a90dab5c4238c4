//! Whether what is in memory was invalidated: a counter for each tag, as many tags as there may be in as many counters as
//! there are.
//!
//! A tag is hashed to a counter, with a seed that nobody knows. To invalidate is to add one to it; whoever reads remembers
//! the counters of the key's tags from before, and what they keep stands while these are the same. Two tags that share a
//! counter cost a miss that was not needed, never a value that does not stand. Tags of many entries have counters that
//! those of single records cannot meet, else a busy record would now and then empty everything.

use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use super::key::{CacheKey, TAGS, Tag};

/// 512 KiB of counters.
const COUNTERS: usize = 1 << 16;
const ALL: usize = 0;
const TENANTS: Range<usize> = 1..1 << 12;
const ENTITIES: Range<usize> = 1 << 12..1 << 13;
const LISTS: Range<usize> = 1 << 13..1 << 14;
const RECORDS: Range<usize> = 1 << 14..COUNTERS;

/// See the module.
#[derive(Debug)]
pub(super) struct Generations {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
    /// Counts removals by pattern, which have no tag.
    patterns: AtomicU64,
}

/// What the counters of a key were at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    places: [u16; TAGS],
    counters: [u64; TAGS],
    patterns: u64,
}

impl Generations {
    pub(super) fn new() -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        Self { counters, hasher: RandomState::default(), patterns: AtomicU64::new(0) }
    }

    /// As of now: to be taken before the value is read that is to stand by it.
    pub(super) fn seen(&self, key: &CacheKey) -> Seen {
        let places = key.tags().each_ref().map(|tag| self.place(tag));
        let counters = places.map(|place| self.counter(place).load(Ordering::Acquire));
        Seen { places, counters, patterns: self.patterns.load(Ordering::Acquire) }
    }

    /// Whether no tag was invalidated since.
    #[inline]
    pub(super) fn stands(&self, seen: &Seen) -> bool {
        seen.places
            .iter()
            .zip(seen.counters)
            .all(|(place, counter)| self.counter(*place).load(Ordering::Acquire) == counter)
    }

    /// The same, and nothing was removed by a pattern: what was read then may be kept now.
    pub(super) fn may_keep(&self, seen: &Seen) -> bool {
        self.patterns.load(Ordering::Acquire) == seen.patterns && self.stands(seen)
    }

    /// Everything with one of `tags` does not stand any more.
    pub(super) fn invalidate(&self, tags: &[Tag]) {
        for tag in tags {
            self.counter(self.place(tag)).fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The same; what the counters of a key are by that, if nobody else invalidated anything of it since `seen`.
    pub(super) fn invalidate_alone(&self, seen: &Seen, tags: &[Tag]) -> Option<Seen> {
        let (mut after, mut alone) = (seen.clone(), true);
        for tag in tags {
            let place = self.place(tag);
            let before = self.counter(place).fetch_add(1, Ordering::AcqRel);
            for (_, counter) in after.places.iter().zip(&mut after.counters).filter(|(own, _)| **own == place)
            {
                alone &= *counter == before;
                *counter = before + 1;
            }
        }
        (alone && self.may_keep(&after)).then_some(after)
    }

    /// Keys that match a pattern are about to be removed: what is being read now is not kept.
    pub(super) fn pattern(&self) {
        self.patterns.fetch_add(1, Ordering::AcqRel);
    }

    fn counter(&self, place: u16) -> &AtomicU64 {
        &self.counters[usize::from(place)]
    }

    fn place(&self, tag: &Tag) -> u16 {
        let among = match tag {
            Tag::All => ALL..ALL + 1,
            Tag::Tenant(_) => TENANTS,
            Tag::Everywhere(_) | Tag::Entity(..) => ENTITIES,
            Tag::Lists(..) => LISTS,
            Tag::Record(..) => RECORDS,
        };
        let hash = usize::try_from(self.hasher.hash_one(tag) >> 32).unwrap_or_default();
        u16::try_from(among.start + hash % among.len()).expect("INVARIANT: there are 2^16 counters")
    }
}
