//! What was read of keys a moment ago, so that thousands of requests a second ask the database twice.
//!
//! A key counts for [`KEY_AGE_MAX`] from before it was read; one that is not there is never remembered.
//! Everything here exists in the database, so strangers cannot fill it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::base::{KeyId, Timestamp};
use crate::db::keys::Key;

/// The promise is that a revoked key is refused within a second; the rest of it is for a request on its way.
const KEY_AGE_MAX: Duration = Duration::from_millis(500);
/// When so many keys are remembered, those that do not count any more are dropped.
const KEYS_MAX: usize = 10_000;

/// See the module. Ages are measured on `Clock::uptime`, which nobody sets back.
#[derive(Debug, Default)]
pub(super) struct Known {
    keys: Mutex<HashMap<KeyId, (Arc<Key>, Duration)>>,
    used: Mutex<HashMap<KeyId, Timestamp>>,
}

impl Known {
    pub(super) fn key(&self, id: KeyId, now: Duration) -> Option<Arc<Key>> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, read_at) = keys.get(&id)?;
        (now.saturating_sub(*read_at) < KEY_AGE_MAX).then(|| Arc::clone(key))
    }

    /// `read_at` is from before the row was read.
    pub(super) fn note_key(&self, key: Key, read_at: Duration) -> Arc<Key> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS_MAX {
            keys.retain(|_, (_, at)| read_at.saturating_sub(*at) < KEY_AGE_MAX);
        }
        let key = Arc::new(key);
        keys.insert(key.id, (Arc::clone(&key), read_at));
        key
    }

    /// The next request reads it again.
    pub(super) fn forget_key(&self, id: KeyId) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Whether the use of a key is worth noting: none was within [`super::USE_EVERY`]. From here on one was.
    pub(super) fn is_new_use(&self, id: KeyId, now: Timestamp) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.get(&id).is_some_and(|at| now.since(*at) < super::USE_EVERY) {
            return false;
        }
        if used.len() >= KEYS_MAX {
            used.clear();
        }
        used.insert(id, now);
        true
    }
}
