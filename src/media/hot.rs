//! Thumbnails that were asked for lately, in memory, as many as its bytes allow.
//!
//! What is here is answered while the file's record names it, which is looked at each time, through the cache
//! ([`super::get`]). So nothing here has to be right; what is dropped early only makes room.

use std::sync::Arc;

use moka::sync::Cache;

use super::Ready;
use crate::base::{BlobKey, FileId, TenantId};

/// What an entry takes beside its bytes: keys, the map, allocations.
const ENTRY_BYTES: usize = 512;

/// Whose thumbnail of which size, by its place in the configuration.
pub(super) type Key = (FileId, usize);

/// See the module.
#[derive(Debug)]
pub(super) struct Hot {
    entries: Cache<Key, Arc<Entry>>,
    sizes: usize,
}

/// A thumbnail in memory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) tenant: TenantId,
    /// Where it came from: while the row names it, it stands.
    pub(super) key: BlobKey,
    pub(super) ready: Arc<Ready>,
}

impl Hot {
    /// Room for `bytes` of thumbnails of `sizes` sizes.
    pub(super) fn new(bytes: u64, sizes: usize) -> Self {
        let weight = |_: &Key, entry: &Arc<Entry>| {
            u32::try_from(entry.ready.bytes.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        let entries = Cache::builder().max_capacity(bytes).weigher(weight).build();
        Self { entries, sizes }
    }

    /// Keeps it.
    pub(super) fn put(&self, key: Key, tenant: &TenantId, blob: &BlobKey, ready: &Arc<Ready>) {
        let entry = Entry { tenant: tenant.clone(), key: blob.clone(), ready: Arc::clone(ready) };
        self.entries.insert(key, Arc::new(entry));
    }

    /// The thumbnail, if it is here.
    pub(super) fn get(&self, key: Key) -> Option<Arc<Entry>> {
        self.entries.get(&key)
    }

    /// Drops one.
    pub(super) fn drop_one(&self, key: Key) {
        self.entries.invalidate(&key);
    }

    /// Drops all of a file's.
    pub(super) fn forget(&self, file: FileId) {
        for size in 0..self.sizes {
            self.drop_one((file, size));
        }
    }
}
