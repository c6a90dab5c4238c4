//! The cache, with the tier behind it. Called by `App::build`.

use std::sync::Arc;
use std::time::Duration;

use super::nodes::database_id;
use super::{boot_id, broken, every};
use crate::base::{Clock, Result};
use crate::cache::{Cache, CacheTier, RedisTier, SqliteOptions, SqliteTier};
use crate::config::{Config, DatabaseUrl, L2Backend};
use crate::db::Db;
use crate::entities::EntityService;
use crate::ops::cache::CacheAdmin;
use crate::redis::Redis;
use crate::telemetry::Tasks;

/// What is counted goes into the database this often.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Memory is cleaned up this often, and the metrics are told what is in the tiers: more often nobody looks at them.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(15);

/// Opens it; the second tier is where the configuration says.
///
/// # Errors
/// In words for the operator, if that cannot be. A tier that is away now is no error.
pub(super) async fn open(
    config: &Config,
    db: &Db,
    redis: Option<&Redis>,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
) -> Result<Cache> {
    let l2: Option<Arc<dyn CacheTier>> = match config.cache.l2.backend {
        _ if !config.cache.enabled => None,
        L2Backend::None => None,
        L2Backend::Redis => redis.map(|redis| Arc::new(RedisTier::new(redis.clone())) as _),
        L2Backend::Sqlite => Some(Arc::new(open_file(config, db, clock, tasks).await?)),
    };
    Ok(Cache::new(&config.cache, Arc::clone(clock), tasks.clone(), l2))
}

async fn open_file(config: &Config, db: &Db, clock: &Arc<dyn Clock>, tasks: &Tasks) -> Result<SqliteTier> {
    let l2 = &config.cache.l2;
    if matches!(&config.database.url, DatabaseUrl::Sqlite(file) if *file == l2.file) {
        let file = l2.file.display();
        return Err(broken(format!(
            "{file} is where the cache keeps its own: give database.url another file, or set cache.l2.backend to none"
        )));
    }
    let options = SqliteOptions {
        file: l2.file.clone(),
        max_bytes: l2.max_bytes.0,
        database: database_id(db).await?,
        boot: boot_id(),
    };
    Ok(SqliteTier::start(options, Arc::clone(clock), tasks).await)
}

/// What people do with it; reads what is switched off.
pub(super) async fn administer(
    db: &Db,
    cache: &Cache,
    clock: &Arc<dyn Clock>,
    entities: &Arc<EntityService>,
) -> Result<Arc<CacheAdmin>> {
    let (cache, clock, entities) = (cache.clone(), Arc::clone(clock), Arc::clone(entities));
    CacheAdmin::start(db.clone(), cache, clock, entities).await.map(Arc::new)
}

/// Keeps what it counts, and cleans up.
pub(super) fn keep(admin: &Arc<CacheAdmin>, tasks: &Tasks) {
    let figures = Arc::clone(admin);
    tasks.spawn(
        "cache figures",
        every(FLUSH_EVERY, tasks.clone(), move || {
            let admin = Arc::clone(&figures);
            async move { flush(&admin).await }
        }),
    );
    let admin = Arc::clone(admin);
    tasks.spawn(
        "cache clean-up",
        every(CLEAN_UP_EVERY, tasks.clone(), move || {
            let admin = Arc::clone(&admin);
            async move { admin.clean_up().await }
        }),
    );
}

/// Keeps what it counted up to now.
pub(super) async fn flush(admin: &CacheAdmin) {
    if let Err(error) = admin.flush().await {
        tracing::debug!(%error, "the figures of the cache wait for the database: {error}");
    }
}
