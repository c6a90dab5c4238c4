//! Operations: whether the parts that the service needs are there, for `http`'s `/readyz` and `/metrics`; what is
//! wrong with a machine, for `cifra doctor`; and who asks too often.

pub mod doctor;
mod rates;

pub mod descriptors;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::base::{Clock, Error, Principal};
use crate::blob::BlobStore;
use crate::db::{Db, Urgency, stores};
use crate::telemetry::metrics;

pub use self::rates::Rates;

/// A part that does not answer for this long is away.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);
/// Whether the database can write is tried this often at most, however often it is asked for.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What is known of one part.
#[derive(Debug, Clone)]
pub struct Check {
    /// `database` or `store`.
    pub name: &'static str,
    /// It answers.
    pub ok: bool,
}

/// Looks after the parts.
#[derive(Debug)]
pub struct Ops {
    db: Db,
    store: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
    /// When the database was last tried, and what came of it.
    probed: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Ops {
    /// Looks after these.
    pub fn new(db: Db, store: Arc<dyn BlobStore>, clock: Arc<dyn Clock>) -> Self {
        Self { db, store, clock, probed: Mutex::new(None) }
    }

    /// What the service has counted, in Prometheus' text format.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator.
    pub fn metrics(&self, who: &Principal) -> Result<String, Error> {
        who.require_operator()?;
        Ok(metrics::install().render())
    }

    /// Asks every part, each within two seconds.
    pub async fn ready(&self) -> Vec<Check> {
        let database = tokio::time::timeout(ANSWER_WAIT_MAX, self.writes());
        let store = tokio::time::timeout(ANSWER_WAIT_MAX, self.store.probe());
        let (database, store) = tokio::join!(database, store);
        vec![
            check("database", database),
            check("store", store.map(|answer| answer.map_err(|error| error.to_string()))),
        ]
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

fn check<T>(name: &'static str, answer: Result<Result<T, String>, tokio::time::error::Elapsed>) -> Check {
    let answer = answer.map_err(|elapsed| elapsed.to_string()).and_then(|inner| inner.map(drop));
    if let Err(error) = &answer {
        tracing::warn!(error, "the {name} is not ready: {error}");
    }
    Check { name, ok: answer.is_ok() }
}
