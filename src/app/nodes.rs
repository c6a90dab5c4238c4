//! What other nodes are met by: Redis, where it is configured. Called by `App::build`.

use uuid::Uuid;

use crate::base::Result;
use crate::config::{Config, L2Backend, SessionsBackend};
use crate::db::{Db, Urgency, identity};
use crate::redis::Redis;
use crate::telemetry::Tasks;

/// Connects to Redis, if sessions or the cache are to use it; one that is away now is used when it comes.
pub(super) async fn open_redis(config: &Config, db: &Db, tasks: &Tasks) -> Result<Option<Redis>> {
    let for_cache = config.cache.enabled && config.cache.l2.backend == L2Backend::Redis;
    if !for_cache && !sessions_use_it(config) {
        return Ok(None);
    }
    let id = database_id(db).await?;
    Redis::start(&config.redis, &format!("cifra:{id}"), tasks).await
}

/// Whether sessions meet in Redis, where there is one.
pub(super) fn sessions_use_it(config: &Config) -> bool {
    config.sessions.backend != SessionsBackend::Database
}

/// What the database is called where it meets others.
pub(super) async fn database_id(db: &Db) -> Result<Uuid> {
    let candidate = Uuid::new_v4();
    db.write_durable(Urgency::Normal, move |c| Box::pin(identity::remember(c, candidate))).await
}
