//! The staging files in use, so that a chunk costs no opening and closing, and the lengths announced for them.
//!
//! Both are bounded and can be forgotten: a file is opened again, a length that is not known costs only the
//! allocation ahead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::name::StagedName;
use super::receive::Target;
use super::staging::{Shared, Staging};

/// At most this many staging files stay open when nobody uses them.
const OPEN_MAX: usize = 128;
/// At most this many lengths are remembered, of uploads that were begun and have not ended.
const SIZES_MAX: usize = 16_384;

/// The staging files in use.
#[derive(Debug)]
pub(super) struct OpenFiles {
    shared: Arc<Shared>,
    files: Mutex<Files>,
    sizes: Mutex<HashMap<StagedName, u64>>,
}

#[derive(Debug, Default)]
struct Files {
    by_name: HashMap<StagedName, (Arc<Staging>, u64)>,
    /// Grows with each use: the smallest is the one not used for the longest time.
    uses: u64,
}

impl OpenFiles {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, files: Mutex::default(), sizes: Mutex::default() }
    }

    /// The one value for `name`. Does no I/O but to close another file.
    pub(super) fn of(&self, name: &StagedName) -> Arc<Staging> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.uses += 1;
        let now = files.uses;
        if let Some((staging, used)) = files.by_name.get_mut(name) {
            *used = now;
            return Arc::clone(staging);
        }
        // Two for one: after a rush of more uploads than that it becomes fewer again.
        let mut closed = Vec::new();
        while files.by_name.len() >= OPEN_MAX && closed.len() < 2 {
            let Some(oldest) = files.oldest_idle() else { break };
            closed.extend(files.by_name.remove(&oldest));
        }
        let staging = Arc::new(Staging::new(name.clone(), Arc::clone(&self.shared)));
        files.by_name.insert(name.clone(), (Arc::clone(&staging), now));
        drop(files);
        drop(closed);
        staging
    }

    /// How many bytes all of them have allocated and not yet written.
    pub(super) fn ahead(&self) -> u64 {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.by_name.values().filter_map(|(staging, _)| staging.opened()).map(Target::ahead).sum()
    }

    /// Forgets a file that was completed or removed.
    pub(super) fn forget(&self, staging: &Arc<Staging>) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.by_name.get(staging.name()).is_some_and(|(present, _)| Arc::ptr_eq(present, staging)) {
            files.by_name.remove(staging.name());
        }
        drop(files);
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).remove(staging.name());
    }

    /// Remembers the length that was announced.
    pub(super) fn announce(&self, name: StagedName, size: u64) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        if sizes.len() < SIZES_MAX {
            sizes.insert(name, size);
        }
    }

    /// The length that was announced, if it is still known.
    pub(super) fn announced(&self, name: &StagedName) -> Option<u64> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }
}

impl Files {
    /// Who holds a file got it under the lock that is held now: one that only this map holds is idle.
    fn oldest_idle(&self) -> Option<StagedName> {
        self.by_name
            .iter()
            .filter(|(_, (staging, _))| Arc::strong_count(staging) == 1 && staging.is_forgettable())
            .min_by_key(|(_, (_, used))| *used)
            .map(|(name, _)| name.clone())
    }
}
