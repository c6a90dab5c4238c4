//! Requests that may be repeated: the client names one by an `Idempotency-Key`, and gets the same answer for a day.
//!
//! The answer is kept in the transaction of what the request did, whatever that is: a crash leaves both or
//! neither, and of two processes that do the same at once one commits. Only successes are kept, so that a client
//! can correct what was refused and send it under the same key. [`Idempotency::begin`] is called by `http` before
//! a request is served; the [`Ticket`] that it gives goes with the request to the service, whose transaction
//! keeps what [`Ticket::answered`] makes. What a request was, [`mod@print`] says.

pub mod print;

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::print::BodyPrint;
use crate::base::principal::Scope;
use crate::base::{Clock, Code, Error, Principal, Result};
use crate::db::idempotency_keys;
pub use crate::db::idempotency_keys::{Answered, Asked, KeyOf};
use crate::db::{Db, Urgency};
use crate::telemetry::Tasks;

/// An answer is kept this long.
const KEPT: Duration = Duration::from_hours(24);
/// At most this many rows are dropped in one transaction, so that no receipt waits for long.
const ROWS_AT_ONCE: u32 = 2_000;
/// A key's length at most.
const KEY_LEN_MAX: usize = 255;

/// What a client calls a request: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl FromStr for IdempotencyKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if (1..=KEY_LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        let detail = format!(
            "`Idempotency-Key` is not 1 to {KEY_LEN_MAX} visible ASCII characters; a UUID is a good one"
        );
        Err(Error::new(Code::InvalidRequest, detail))
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Idempotency {
    db: Db,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    running: Arc<Mutex<HashSet<KeyOf>>>,
}

/// Whether a request is the first of its key.
#[derive(Debug)]
pub enum Begun {
    /// It is: do it, and keep the answer.
    First(Arc<Ticket>),
    /// It was answered so, if its body is the same too.
    Repeated(Box<Answered>),
}

/// A request with a key, while it is served. Gives the key back when dropped.
#[derive(Debug)]
pub struct Ticket {
    of: KeyOf,
    target_hash: i64,
    /// What has been read of the body so far.
    body: Mutex<BodyPrint>,
    keeper: Idempotency,
}

impl Idempotency {
    /// Keeps answers in `db`.
    pub fn new(db: Db, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        Self { db, clock, tasks, running: Arc::default() }
    }

    /// Begins a request named `key` on `route`, whose target and headers hash to `target_hash`, and whose body
    /// will be seen by `body`.
    ///
    /// # Errors
    /// `IdempotencyConflict` if the key was used for something else; with a time to come back if the first
    /// request of the key is still being served.
    pub async fn begin(
        &self,
        who: &Principal,
        route: &str,
        key: IdempotencyKey,
        target_hash: i64,
        body: BodyPrint,
    ) -> Result<Begun> {
        who.require(Scope::Upload)?;
        // Whoever has an upload token shares no keys with anybody: an answer tells of what others began.
        let key = who.grant().map_or_else(|| key.0.clone(), |grant| format!("{} {}", grant.token, key.0));
        let of = KeyOf { tenant: who.tenant().clone(), route: route.to_owned(), key };
        if !lock(&self.running).insert(of.clone()) {
            return Err(still_running());
        }
        // The key is taken before the look: nobody can have been answered unseen between the two.
        let ticket = Ticket { of: of.clone(), target_hash, body: Mutex::new(body), keeper: self.clone() };
        let now = self.clock.now();
        let look = self.db.read(move |c| Box::pin(async move { idempotency_keys::get(c, &of, now).await }));
        match look.await? {
            None => Ok(Begun::First(Arc::new(ticket))),
            Some(answered) if answered.asked.target_hash != target_hash => Err(another_request()),
            Some(answered) => Ok(Begun::Repeated(Box::new(answered))),
        }
    }

    /// Forgets what has expired, a slice at a time.
    pub async fn forget_expired(&self) -> Result<()> {
        let now = self.clock.now();
        loop {
            let forget = self.db.write(Urgency::Background, move |c| {
                Box::pin(async move { idempotency_keys::forget_expired(c, now, ROWS_AT_ONCE).await })
            });
            if forget.await? < u64::from(ROWS_AT_ONCE) || self.tasks.stopping().is_cancelled() {
                return Ok(());
            }
        }
    }
}

impl Ticket {
    /// Some of the body went by.
    pub fn see(&self, bytes: &[u8]) {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).see(bytes);
    }

    /// The answer to be kept, now that all of the body was read.
    pub fn answered(&self, status: u16, location: Option<String>, body: String) -> Answered {
        let (body_size, body_crc64) =
            self.body.lock().unwrap_or_else(PoisonError::into_inner).clone().finish();
        let now = self.keeper.clock.now();
        Answered {
            of: self.of.clone(),
            asked: Asked { target_hash: self.target_hash, body_size, body_crc64 },
            status,
            location,
            body,
            created_at: now,
            expires_at: now.plus(KEPT),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.keeper.running).remove(&self.of);
    }
}

/// The key was used for something else.
pub fn another_request() -> Error {
    let detail = "this `Idempotency-Key` was used for another request within the last 24 h; take a new one";
    Error::new(Code::IdempotencyConflict, detail)
}

/// The key is in use.
fn still_running() -> Error {
    let detail =
        "the first request with this `Idempotency-Key` is still being served; ask again for its answer";
    Error::new(Code::IdempotencyConflict, detail).retry_after(Duration::from_secs(1))
}

fn lock(running: &Mutex<HashSet<KeyOf>>) -> MutexGuard<'_, HashSet<KeyOf>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
