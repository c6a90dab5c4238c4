//! Thumbnails that were asked for lately, in memory, as many as its bytes allow.
//!
//! What is here is answered without the database, but for one look a second whether it still stands: a file that another
//! node deletes is gone within a second. One that this node deletes is gone at once ([`Hot::forget`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use super::Ready;
use crate::base::{BlobKey, FileId, TenantId, Timestamp};

/// So long a thumbnail is believed without a look.
const BELIEVED_FOR: Duration = Duration::from_secs(1);
/// What an entry takes beside its bytes: keys, the map, allocations.
const ENTRY_BYTES: usize = 512;

/// Whose thumbnail of which size, by its place in the configuration.
pub(super) type Key = (FileId, usize);

/// See the module.
#[derive(Debug)]
pub(super) struct Hot {
    entries: Cache<Key, Arc<Entry>>,
    /// Counts what was forgotten, so that nothing is kept that was read before.
    forgotten: AtomicU64,
    sizes: usize,
}

/// A moment, as [`Hot::put`] wants to know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    forgotten: u64,
    at: Timestamp,
}

/// A thumbnail in memory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) tenant: TenantId,
    /// Where it came from: while the row names it, it stands.
    pub(super) key: BlobKey,
    pub(super) ready: Arc<Ready>,
    looked_at: AtomicI64,
    /// Held by the one who looks.
    pub(super) look: tokio::sync::Mutex<()>,
}

impl Hot {
    /// Room for `bytes` of thumbnails of `sizes` sizes.
    pub(super) fn new(bytes: u64, sizes: usize) -> Self {
        let weight = |_: &Key, entry: &Arc<Entry>| {
            u32::try_from(entry.ready.bytes.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        let entries = Cache::builder().max_capacity(bytes).weigher(weight).build();
        Self { entries, forgotten: AtomicU64::new(0), sizes }
    }

    /// Now: to be taken before the row is read that leads to [`Hot::put`].
    pub(super) fn moment(&self, at: Timestamp) -> Moment {
        Moment { forgotten: self.forgotten.load(Ordering::SeqCst), at }
    }

    /// Keeps what was read after `since`, unless something was forgotten meanwhile: it may be this one.
    pub(super) fn put(&self, key: Key, tenant: &TenantId, blob: &BlobKey, ready: &Arc<Ready>, since: Moment) {
        let entry = Entry {
            tenant: tenant.clone(),
            key: blob.clone(),
            ready: Arc::clone(ready),
            looked_at: AtomicI64::new(since.at.as_micros()),
            look: tokio::sync::Mutex::default(),
        };
        self.entries.insert(key, Arc::new(entry));
        if self.forgotten.load(Ordering::SeqCst) != since.forgotten {
            self.entries.invalidate(&key);
        }
    }

    /// The thumbnail, if it is here; whoever wants to answer it asks [`Entry::is_believed`] first.
    pub(super) fn get(&self, key: Key) -> Option<Arc<Entry>> {
        self.entries.get(&key)
    }

    /// Drops one.
    pub(super) fn remove(&self, key: Key) {
        self.entries.invalidate(&key);
    }

    /// Drops all of a file's.
    pub(super) fn forget(&self, file: FileId) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        for size in 0..self.sizes {
            self.entries.invalidate(&(file, size));
        }
    }
}

impl Entry {
    /// Whether it was looked at within the last second.
    pub(super) fn is_believed(&self, now: Timestamp) -> bool {
        let looked_at = Timestamp::from_micros(self.looked_at.load(Ordering::Acquire));
        // A clock that was set back says nothing.
        now >= looked_at && now.since(looked_at) < BELIEVED_FOR
    }

    /// It stood at `at`.
    pub(super) fn stood(&self, at: Timestamp) {
        self.looked_at.store(at.as_micros(), Ordering::Release);
    }
}
