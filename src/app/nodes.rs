//! What other nodes are met by: Redis, where it is configured. Called by `App::build`.

use uuid::Uuid;

use crate::base::Result;
use crate::config::{Config, SessionsBackend};
use crate::db::{Db, Urgency, identity};
use crate::redis::Redis;
use crate::telemetry::Tasks;

/// Connects to Redis, if sessions are to use it; one that is away now is used when it comes.
pub(super) async fn open_redis(config: &Config, db: &Db, tasks: &Tasks) -> Result<Option<Redis>> {
    if config.sessions.backend == SessionsBackend::Database {
        return Ok(None);
    }
    let candidate = Uuid::new_v4();
    let id = db.write_durable(Urgency::Normal, move |c| Box::pin(identity::remember(c, candidate))).await?;
    Redis::start(&config.redis, &format!("cifra:{id}"), tasks).await
}
