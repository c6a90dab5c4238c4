//! Operations: whether the parts that the service needs are there, for `http`'s `/readyz` and `/metrics`; what is
//! wrong with a machine, for `cifra doctor`; and who asks too often.

pub mod doctor;
mod rates;

pub mod descriptors;

use std::sync::Arc;
use std::time::Duration;

use crate::base::{Error, Principal};
use crate::blob::BlobStore;
use crate::db::Db;
use crate::telemetry::metrics;

pub use self::rates::Rates;

/// A part that does not answer for this long is away.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);

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
}

impl Ops {
    /// Looks after these.
    pub fn new(db: Db, store: Arc<dyn BlobStore>) -> Self {
        Self { db, store }
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
        let database = tokio::time::timeout(ANSWER_WAIT_MAX, self.db.ping());
        let store = tokio::time::timeout(ANSWER_WAIT_MAX, self.store.available());
        let (database, store) = tokio::join!(database, store);
        vec![
            check("database", database.map(|answer| answer.map_err(|error| error.to_string()))),
            check("store", store.map(|answer| answer.map_err(|error| error.to_string()))),
        ]
    }
}

fn check<T>(name: &'static str, answer: Result<Result<T, String>, tokio::time::error::Elapsed>) -> Check {
    let answer = answer.map_err(|elapsed| elapsed.to_string()).and_then(|inner| inner.map(drop));
    if let Err(error) = &answer {
        tracing::warn!(error, "the {name} is not ready: {error}");
    }
    Check { name, ok: answer.is_ok() }
}
