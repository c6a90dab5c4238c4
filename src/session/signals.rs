//! Who waits for news of which upload: a signal per upload that somebody watches, none for the others.
//!
//! A signal says only that something may have changed; what, the database says. So signals that come quickly are
//! one, and who is slow to look finds the newest. Called by the session's own methods and by `upload`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::outbox::Outbox;
use crate::base::{Code, Error, Result, UploadId};
use crate::telemetry::metrics;

/// Each holds a connection: more than a few on one upload are a client that forgets to close them.
const WATCHERS_OF_ONE_MAX: usize = 16;
/// A fifth of the connections that a service is made for.
const WATCHERS_MAX: usize = 1_024;
/// Watchers come and go with uploads, not with requests.
const COME_BACK_AFTER: Duration = Duration::from_secs(5);

/// All watchers of this process. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    watched: Mutex<Watched>,
    /// For other nodes, where there are some.
    outbox: OnceLock<Outbox>,
}

#[derive(Debug, Default)]
struct Watched {
    uploads: HashMap<UploadId, watch::Sender<()>>,
    watchers: usize,
}

/// Waits for signals of one upload. Frees its place when dropped.
#[derive(Debug)]
pub struct Watcher {
    signals: Signals,
    id: UploadId,
    changes: watch::Receiver<()>,
}

impl Signals {
    /// Something of `id` may have changed, here.
    pub fn changed(&self, id: UploadId) {
        self.heard_of(id);
        if let Some(outbox) = self.0.outbox.get() {
            outbox.add(id, None);
        }
    }

    /// The finalize of `id` has got to byte `done`, here.
    pub fn moved(&self, id: UploadId, done: u64) {
        self.heard_of(id);
        if let Some(outbox) = self.0.outbox.get() {
            outbox.add(id, Some(done));
        }
    }

    /// From here on other nodes are told by way of `outbox`.
    pub(super) fn tell(&self, outbox: Outbox) {
        // Told once, when the service is built.
        let _ = self.0.outbox.set(outbox);
    }

    /// Something of any upload may have changed elsewhere.
    pub(super) fn heard_of_all(&self) {
        for sender in self.lock().uploads.values() {
            sender.send_replace(());
        }
    }

    /// Something of `id` may have changed, wherever.
    pub(super) fn heard_of(&self, id: UploadId) {
        if let Some(sender) = self.lock().uploads.get(&id) {
            sender.send_replace(());
        }
    }

    /// Watches `id`, from now on.
    ///
    /// # Errors
    /// `Overloaded` if too many do.
    pub fn watch(&self, id: UploadId) -> Result<Watcher> {
        let mut watched = self.lock();
        let of_this = watched.uploads.get(&id).map_or(0, watch::Sender::receiver_count);
        if watched.watchers >= WATCHERS_MAX || of_this >= WATCHERS_OF_ONE_MAX {
            let detail = "too many requests watch uploads; close one, or come back later";
            return Err(Error::new(Code::Overloaded, detail).retry_after(COME_BACK_AFTER));
        }
        watched.watchers += 1;
        metrics::upload_watchers(1);
        let changes = watched.uploads.entry(id).or_insert_with(|| watch::Sender::new(())).subscribe();
        Ok(Watcher { signals: self.clone(), id, changes })
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// Waits for a signal since the last one that was waited for.
    pub async fn changed(&mut self) {
        let changed = self.changes.changed().await;
        debug_assert!(changed.is_ok(), "the sender is kept for as long as there are watchers");
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut watched = self.signals.lock();
        watched.watchers -= 1;
        metrics::upload_watchers(-1);
        // Only this one is left.
        if watched.uploads.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.uploads.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn watchers_have_a_bound_and_free_their_places() {
        let (signals, now) = (Signals::default(), Timestamp::from_micros(0));
        let watch_many = |count: usize| -> Vec<Watcher> {
            let ids = (0..count).map(|_| UploadId::new(now));
            ids.map(|id| signals.watch(id).unwrap()).collect()
        };
        let mut all = watch_many(WATCHERS_MAX);
        let refused = signals.watch(UploadId::new(now)).unwrap_err();
        assert_eq!((refused.code(), refused.retry_delay()), (Code::Overloaded, Some(COME_BACK_AFTER)));
        all.pop();
        drop(signals.watch(UploadId::new(now)).unwrap());
        drop(all);
        assert!(signals.lock().uploads.is_empty());

        let id = UploadId::new(now);
        let of_one: Vec<_> = (0..WATCHERS_OF_ONE_MAX).map(|_| signals.watch(id).unwrap()).collect();
        signals.watch(id).unwrap_err();
        signals.watch(UploadId::new(now)).unwrap();
        drop(of_one);
        signals.watch(id).unwrap();
        assert!(signals.lock().uploads.is_empty());
    }
}
