//! Operations: whether the parts that the service needs are there, for `http`'s `/readyz` and `/metrics`; what is
//! wrong with a machine, for `cifra doctor`; and who asks too often.

pub mod cache;
pub mod descriptors;
pub mod doctor;
mod rates;

pub mod orphans;
pub mod rebuild;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::base::{Clock, Error, Principal};
use crate::blob::{PartStore, Stores};
use crate::db::{Db, Urgency, stores};
use crate::redis::Redis;
use crate::telemetry::metrics;

pub use self::rates::Rates;

/// A part that does not answer for this long is away.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);
/// Whether the database can write is tried this often at most, however often it is asked for.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What is known of one part.
#[derive(Debug, Clone)]
pub struct Check {
    /// `database`, `store`, `store:NAME` for a store that takes no new bytes, or `redis`.
    pub name: String,
    /// It answers.
    pub ok: bool,
    /// Without it the service cannot work at all; without the others it can do less.
    pub needed: bool,
}

/// Looks after the parts.
#[derive(Debug)]
pub struct Ops {
    db: Db,
    stores: Stores,
    redis: Option<Redis>,
    clock: Arc<dyn Clock>,
    /// When the database was last tried, and what came of it.
    probed: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Ops {
    /// Looks after these.
    pub fn new(db: Db, stores: Stores, redis: Option<Redis>, clock: Arc<dyn Clock>) -> Self {
        Self { db, stores, redis, clock, probed: Mutex::new(None) }
    }

    /// What the service has counted, in Prometheus' text format.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator.
    pub fn metrics(&self, who: &Principal) -> Result<String, Error> {
        who.require_operator()?;
        Ok(metrics::render())
    }

    /// Asks every part, each within two seconds.
    pub async fn ready(&self) -> Vec<Check> {
        let database = tokio::time::timeout(ANSWER_WAIT_MAX, self.writes());
        let stores = join_all(self.stores.iter().map(|(name, store)| self.check_store(name, store.as_ref())));
        let (database, stores) = tokio::join!(database, stores);
        let mut checks = vec![check("database".to_owned(), true, database)];
        checks.extend(stores);
        if let Some(redis) = &self.redis {
            // Not asked now: it is looked after all the time, and it is known whether it works.
            checks.push(Check {
                name: "redis".to_owned(),
                ok: redis.works() && redis.hears(),
                needed: false,
            });
        }
        checks
    }

    async fn check_store(&self, name: &str, store: &dyn PartStore) -> Check {
        let answer = tokio::time::timeout(ANSWER_WAIT_MAX, store.probe()).await;
        let answer = answer.map(|answer| answer.map_err(|error| error.to_string()));
        if name == self.stores.default_name() {
            check("store".to_owned(), true, answer)
        } else {
            check(format!("store:{name}"), false, answer)
        }
    }

    /// Whether the database can write: one that only reads, as on a full disk, takes no chunk.
    async fn writes(&self) -> Result<(), String> {
        let mut probed = self.probed.lock().await;
        if let Some((at, outcome)) = &*probed
            && at.elapsed() < PROBE_EVERY
        {
            return outcome.clone();
        }
        let now = self.clock.now();
        let wrote = self.db.write(Urgency::Normal, move |c| Box::pin(stores::probe(c, now))).await;
        let outcome = wrote.map_err(|error| error.to_string());
        *probed = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

fn check(
    name: String,
    needed: bool,
    answer: Result<Result<(), String>, tokio::time::error::Elapsed>,
) -> Check {
    let answer = answer.map_err(|elapsed| elapsed.to_string()).flatten();
    if let Err(error) = &answer {
        tracing::warn!(error, "the {name} is not ready: {error}");
    }
    Check { name, ok: answer.is_ok(), needed }
}
