//! The connections to PostgreSQL, lent one by one.
//!
//! Not `sqlx`'s pool: that takes every connection back, asks it for a sign of life in a task of its own and waits
//! for the answer, however long that takes; when the server is paused or the network swallows packets, dead
//! connections fill it. Here a connection comes back only from who got an answer by it; any other is closed, and
//! the first one that is found dead takes all that rest with it. So the first call after an outage gets a new one.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{timeout, timeout_at};

use crate::base::{Error, Result};
use crate::db::closed;
use crate::db::error::is_broken;

/// Nobody waits longer for a connection: with the statement after it, a client has its 503 within 5 s.
const ACQUIRE_MAX: Duration = Duration::from_secs(3);
/// A connection that rested longer is asked whether it still lives before it is lent.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// It has so long for its answer.
const PING_MAX: Duration = Duration::from_secs(1);
/// A connection that nobody needed for so long is closed.
const IDLE_MAX: Duration = Duration::from_mins(10);
/// And one of this age, whoever needs it: names may lead elsewhere by now, and its memory on the server grows.
const AGE_MAX: Duration = Duration::from_mins(30);
/// Those who have a connection when the pool closes have so long to give it back.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// The pool. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(in crate::db) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connect: PgConnectOptions,
    places: Arc<Semaphore>,
    places_max: u32,
    /// The one that was given back last is at the end, and is lent first.
    resting: Mutex<Vec<Resting>>,
}

#[derive(Debug)]
struct Resting {
    open: Open,
    since: Instant,
}

#[derive(Debug)]
struct Open {
    connection: Box<PgConnection>,
    born: Instant,
}

/// A connection on loan. Closed when dropped: to be given back by [`PostgresConn::give_back`].
pub struct PostgresConn {
    /// Taken only when it is given back.
    open: Option<Open>,
    pool: Pool,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    /// A pool of at most `max` connections, none of which is open yet.
    pub(in crate::db) fn new(connect: PgConnectOptions, max: u32) -> Self {
        let places = Arc::new(Semaphore::new(max as usize));
        Self(Arc::new(Shared { connect, places, places_max: max, resting: Mutex::default() }))
    }

    /// A connection that lived a second ago.
    ///
    /// # Errors
    /// `Unavailable` if there is none within 3 s.
    pub(in crate::db) async fn acquire(&self) -> Result<PostgresConn> {
        let deadline = tokio::time::Instant::now() + ACQUIRE_MAX;
        let place = timeout_at(deadline, Arc::clone(&self.0.places).acquire_owned());
        let place = place.await.map_err(|_| away("all connections are busy"))?.map_err(|_| closed())?;
        let lend = |open| PostgresConn { open: Some(open), pool: self.clone(), _place: place };
        while let Some(mut rested) = self.rested() {
            if rested.since.elapsed() < TRUSTED_IDLE {
                return Ok(lend(rested.open));
            }
            match timeout(PING_MAX, rested.open.connection.ping()).await {
                Ok(Ok(())) => return Ok(lend(rested.open)),
                Ok(Err(_)) | Err(_) => self.distrust(),
            }
        }
        let connection = timeout_at(deadline, self.0.connect.connect()).await;
        let connection = connection.map_err(|_| away("no new connection within 3 s"))??;
        Ok(lend(Open { connection: Box::new(connection), born: Instant::now() }))
    }

    fn rested(&self) -> Option<Resting> {
        let mut resting = self.resting();
        // The longest rested ones are in front.
        let old = resting.iter().take_while(|rested| rested.since.elapsed() > IDLE_MAX).count();
        resting.drain(..old);
        while let Some(rested) = resting.pop() {
            if rested.open.born.elapsed() < AGE_MAX {
                return Some(rested);
            }
        }
        None
    }

    /// Closes all that rest: one was dead, and what ended it has probably ended them.
    pub(super) fn distrust(&self) {
        self.resting().clear();
    }

    fn resting(&self) -> MutexGuard<'_, Vec<Resting>> {
        self.0.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.places.is_closed()
    }

    /// Waits until all are given back (not for ever) and closes them; from then on there are none.
    pub(in crate::db) async fn close(&self) {
        let all = Arc::clone(&self.0.places).acquire_many_owned(self.0.places_max);
        // Whoever has one after this is cut off by the end of the process.
        let _waited = timeout(CLOSE_MAX, all).await;
        self.0.places.close();
        let resting = std::mem::take(&mut *self.resting());
        for rested in resting {
            // A farewell, so that the server's log has no complaint.
            drop(timeout(PING_MAX, rested.open.connection.close()).await);
        }
    }
}

impl PostgresConn {
    /// Back to the pool: all that was asked by it has been answered, and no transaction is open.
    pub(super) fn give_back(mut self) {
        if let Some(open) = self.open.take() {
            self.pool.resting().push(Resting { open, since: Instant::now() });
        }
    }

    /// Back to the pool after `answer`, unless that shows that the connection is dead.
    pub(in crate::db) fn settle<T>(self, answer: &Result<T>) {
        match answer {
            Err(error) if is_broken(error) => self.pool.distrust(),
            _ => self.give_back(),
        }
    }
}

impl fmt::Debug for PostgresConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresConn")
    }
}

impl Deref for PostgresConn {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.open.as_ref().expect("INVARIANT: taken only by `give_back`, which ends the loan").connection
    }
}

impl DerefMut for PostgresConn {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.open.as_mut().expect("INVARIANT: taken only by `give_back`, which ends the loan").connection
    }
}

fn away(why: &'static str) -> Error {
    Error::unavailable("the database is away", why)
}
