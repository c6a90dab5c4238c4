//! Thumbnails that were asked for lately, in memory, as many as its bytes allow.
//!
//! What is here is answered without the database, but for one look a second and file whether it still stands: a file that
//! another node deletes is gone within a second. One that this node deletes is gone at once ([`Hot::forget`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{Mutex, MutexGuard};

use super::Ready;
use crate::base::{BlobKey, FileId, TenantId, Timestamp};

/// So long a thumbnail is believed without a look.
const BELIEVED_FOR: Duration = Duration::from_secs(1);
/// What an entry takes beside its bytes: keys, the map, allocations.
const ENTRY_BYTES: usize = 512;

/// Looks that can be had at the same time; those of one file follow each other.
const LOOKS_AT_ONCE: usize = 64;

/// Whose thumbnail of which size, by its place in the configuration.
pub(super) type Key = (FileId, usize);

/// See the module.
#[derive(Debug)]
pub(super) struct Hot {
    entries: Cache<Key, Arc<Entry>>,
    /// Counts what was forgotten, so that nothing is kept that was read before.
    forgotten: AtomicU64,
    sizes: usize,
    looks: [Mutex<()>; LOOKS_AT_ONCE],
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
    key: BlobKey,
    pub(super) ready: Arc<Ready>,
    looked_at: AtomicI64,
}

impl Hot {
    /// Room for `bytes` of thumbnails of `sizes` sizes.
    pub(super) fn new(bytes: u64, sizes: usize) -> Self {
        let weight = |_: &Key, entry: &Arc<Entry>| {
            u32::try_from(entry.ready.bytes.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        let entries = Cache::builder().max_capacity(bytes).weigher(weight).build();
        Self {
            entries,
            forgotten: AtomicU64::new(0),
            sizes,
            looks: std::array::from_fn(|_| Mutex::default()),
        }
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

    /// Waits until nobody else looks whether what is here of `file` still stands. While this is held nobody does.
    pub(super) async fn look_at(&self, file: FileId) -> MutexGuard<'_, ()> {
        // The last byte of a UUIDv7 is random.
        self.looks[usize::from(file.as_uuid().as_bytes()[15]) % LOOKS_AT_ONCE].lock().await
    }

    /// What was seen at `at`: of the thumbnails of `file` that are here, those stand whose size and blob `stands` knows.
    pub(super) fn looked(&self, file: FileId, at: Timestamp, stands: impl Fn(usize, &BlobKey) -> bool) {
        for size in 0..self.sizes {
            match self.get((file, size)) {
                Some(entry) if stands(size, &entry.key) => entry.stood(at),
                Some(_) => self.entries.invalidate(&(file, size)),
                None => {}
            }
        }
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

    fn stood(&self, at: Timestamp) {
        self.looked_at.store(at.as_micros(), Ordering::Release);
    }
}
