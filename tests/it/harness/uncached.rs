//! A cache that is off, for services that are built by hand: nothing tells them what others change.

use std::path::Path;
use std::sync::Arc;

use cifra::base::Clock;
use cifra::cache::Cache;
use cifra::config::{self, Config};
use cifra::telemetry::Tasks;

/// Everything is read from the database.
pub(crate) fn uncached(clock: Arc<dyn Clock>, tasks: &Tasks) -> Cache {
    let config = config::Cache { enabled: false, ..Config::builtin(Path::new("/nowhere")).cache };
    Cache::new(&config, clock, tasks.clone(), None)
}
