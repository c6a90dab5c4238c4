//! One time for all nodes: each corrects its clock by the database's. Measured at start and every half minute.

use std::time::Duration;

use crate::base::clock::Correction;
use crate::base::{Clock, Result};
use crate::db::Db;
use crate::telemetry::metrics;

/// How often the clocks are compared.
pub(super) const COMPARE_EVERY: Duration = Duration::from_secs(30);
/// The quickest of so many answers counts.
const SAMPLES: usize = 3;
/// An answer that took longer says too little.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);
/// So much is no difference, on any machine that does something else besides.
const TOLERANCE_MICROS: i64 = 1_000;

/// Compares `clock` with the database's, and corrects it. Nothing to do where the database is in this process, or
/// where the clock is not the machine's.
pub(super) async fn compare(db: &Db, clock: &dyn Clock) {
    let Some(correction) = clock.correction() else { return };
    match measure(db, clock).await {
        Ok(None) => return,
        Ok(Some(Measured { behind, error })) => {
            // Within the error it may as well be right: times that go on evenly are worth more.
            let change = if behind.abs() > error + TOLERANCE_MICROS { behind } else { 0 };
            correction.set(correction.micros().saturating_add(change));
            tell(correction, change);
        }
        Err(why) => {
            correction.lose();
            tracing::warn!(
                error = %why,
                "the database's clock could not be compared with this machine's, so nothing expires here: {why}"
            );
        }
    }
    metrics::clock(correction.micros(), correction.is_certain());
}

fn tell(correction: &Correction, change: i64) {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let seconds = correction.micros() as f64 / 1e6;
    if !correction.is_certain() {
        tracing::warn!(
            offset_seconds = seconds,
            "this machine's clock is {seconds:+.3} s off the database's, more than {} s: it is corrected, but nothing \
             expires here until one of the two is set right",
            Correction::BELIEVED_MAX.as_secs()
        );
    } else if change.abs() > 1_000_000 {
        tracing::info!(
            offset_seconds = seconds,
            "times are the database's: this machine's and {seconds:+.3} s"
        );
    }
}

/// How far a clock is behind the database's, and how wrong that may be; in microseconds.
struct Measured {
    behind: i64,
    error: i64,
}

async fn measure(db: &Db, clock: &dyn Clock) -> Result<Option<Measured>, String> {
    let mut best: Option<Measured> = None;
    for _ in 0..SAMPLES {
        let (asked, asked_at) = (clock.now(), clock.uptime());
        let Some(theirs) = db.now().await.map_err(|error| error.to_string())? else { return Ok(None) };
        let took = clock.uptime().saturating_sub(asked_at);
        if took > ROUND_TRIP_MAX {
            continue;
        }
        // On average the database looked at its clock in the middle of the round trip.
        let half = took / 2;
        let behind = theirs.as_micros() - asked.plus(half).as_micros();
        let error = i64::try_from(half.as_micros()).unwrap_or(i64::MAX);
        if best.as_ref().is_none_or(|best| error < best.error) {
            best = Some(Measured { behind, error });
        }
    }
    best.map(Some).ok_or_else(|| format!("no answer within {ROUND_TRIP_MAX:?}"))
}
