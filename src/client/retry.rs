//! When to try again: exponential waits with jitter, the server's `Retry-After`, and an end to patience.
//!
//! [`next_wait`] is the whole policy, a function of its arguments; [`Client::patiently`] applies it to a request.
//! The patience counts from the first of several failures in a row of *one* request: a long upload may
//! survive any number of interruptions, as long as none lasts longer.

use std::time::{Duration, Instant};

use super::{Client, Error, Event, Observer, Result};

/// The first wait; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// No wait of our own is longer: a server that comes back should not stand idle.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What is known when a request has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    /// How often in a row, this time included; at least 1.
    pub(super) times: u32,
    /// Since the first of them.
    pub(super) since_first: Duration,
    /// What the server asked for.
    pub(super) retry_after: Option<Duration>,
}

/// How long to wait before the next attempt; `None` when patience (`limit`) is at its end.
///
/// `jitter` is a random number from 0 to 1: it takes away up to half of our own wait, so that many clients of a
/// server that comes back don't come all at once; to the server's own wish it adds up to a tenth.
/// The last wait is shortened so that a final attempt falls on the limit; a server that wants to be left alone
/// for longer than the patience lasts ends it at once.
pub(super) fn next_wait(failed: Failed, limit: Duration, jitter: f64) -> Option<Duration> {
    let left = limit.checked_sub(failed.since_first).filter(|left| !left.is_zero())?;
    match failed.retry_after {
        Some(wish) if wish > left => None,
        Some(wish) => Some(wish.mul_f64(1.0 + jitter / 10.0).min(left)),
        None => {
            let doublings = failed.times.saturating_sub(1).min(16);
            let full = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
            Some(full.mul_f64(1.0 - jitter / 2.0).min(left))
        }
    }
}

impl Client {
    /// Repeats `attempt` until it succeeds, fails for good, or patience ends.
    ///
    /// # Errors
    /// What `attempt` says when that will not pass; [`Error::GaveUp`] when it did not pass in time.
    pub(super) async fn patiently<T>(
        &self,
        observer: &Observer,
        mut attempt: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let mut first_failure = None;
        let mut times = 0;
        loop {
            let error = match attempt().await {
                Err(error) if error.passes() => error,
                settled => return settled,
            };
            times += 1;
            let since_first = first_failure.get_or_insert_with(Instant::now).elapsed();
            let failed = Failed { times, since_first, retry_after: error.retry_after() };
            let Some(wait) = next_wait(failed, self.retry_for, random()) else {
                return Err(Error::GaveUp { after: since_first, last: Box::new(error) });
            };
            observer(Event::Waiting { why: error.to_string(), wait });
            tokio::time::sleep(wait).await;
        }
    }
}

/// A random number from 0 to 1.
fn random() -> f64 {
    // The last 32 bits of a version 4 UUID are random (RFC 9562 5.4).
    let bits = uuid::Uuid::new_v4().as_u128() & u128::from(u32::MAX);
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}
