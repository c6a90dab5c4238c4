//! The cache, with the tier behind it. Called by `App::build`.

use std::sync::Arc;
use std::time::Duration;

use super::every;
use crate::base::{Clock, Result};
use crate::cache::Cache;
use crate::config::Config;
use crate::ops::cache::CacheAdmin;
use crate::redis::Redis;
use crate::telemetry::Tasks;

/// What is counted goes into the database this often.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Opens it; the second tier is where the configuration says.
pub(super) async fn open(
    config: &Config,
    redis: Option<&Redis>,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
) -> Result<Cache> {
    let l2 = std::future::ready(redis.and(None)).await;
    Ok(Cache::new(&config.cache, Arc::clone(clock), tasks.clone(), l2))
}

/// Keeps what it counts, once a second.
pub(super) fn keep_figures(admin: &Arc<CacheAdmin>, tasks: &Tasks) {
    let admin = Arc::clone(admin);
    tasks.spawn(
        "cache figures",
        every(FLUSH_EVERY, tasks.clone(), move || {
            let admin = Arc::clone(&admin);
            async move { flush(&admin).await }
        }),
    );
}

/// Keeps what it counted up to now.
pub(super) async fn flush(admin: &CacheAdmin) {
    if let Err(error) = admin.flush().await {
        tracing::debug!(%error, "the figures of the cache wait for the database: {error}");
    }
}
