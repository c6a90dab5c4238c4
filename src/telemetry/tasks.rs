//! Background tasks with names, a common signal to stop, and an end that is waited for.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Spawns tasks and ends them. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs `future` in the background under `name` (the span of its log lines).
    ///
    /// It goes on even if the handle is dropped. A task that would run forever watches [`Tasks::stopping`].
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(self.tracker.track_future(future.instrument(tracing::debug_span!("task", name))))
    }

    /// Cancelled when the service begins to stop.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Asks every task to stop and waits until all have, at most `limit`. `false` if some did not.
    pub async fn finish(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}
