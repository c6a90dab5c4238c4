//! Who waits for which value: one flight fetches it, however many ask.
//!
//! A flight is a task. It ends when it has an answer, or when nobody waits any more: whoever only lost patience wants it to
//! go on, whoever went away does not. Who asks after something was invalidated does not join a flight from before; they
//! begin another. Nothing here knows where values come from; that is `load`'s business.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::generations::Seen;
use super::key::CacheKey;
use super::memory::Entry;
use super::{Entity, Source};
use crate::base::{Error, Result};

/// A value of any type.
pub(super) type Anything = Arc<dyn Any + Send + Sync>;

/// When a flight began.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) seen: Seen,
    /// Microseconds of uptime.
    pub(super) at: u64,
}

/// What a flight came back with.
pub(super) type Outcome = Result<Found, Arc<Error>>;

/// A value, or that there is none.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) value: Option<Anything>,
    pub(super) source: Source,
}

/// How far a flight is.
#[derive(Debug, Clone)]
pub(super) enum Progress {
    /// Nothing yet.
    Away,
    /// The second tier had this, which is older than its TTL.
    Aged(Arc<Entry>),
    /// It is over.
    Landed(Outcome),
}

/// All flights of this process. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights {
    under_way: Arc<Mutex<HashMap<CacheKey, Arc<Board>, foldhash::quality::RandomState>>>,
}

#[derive(Debug)]
struct Board {
    moment: Moment,
    progress: watch::Sender<Progress>,
    /// It goes on though nobody waits.
    goes_on: AtomicBool,
}

/// A flight, in the hands of its task. If that dies, those who wait are told.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Flights,
    pub(super) key: CacheKey,
    pub(super) entity: Entity,
    board: Arc<Board>,
}

/// Whoever has it waits.
#[derive(Debug)]
pub(super) struct Ticket {
    progress: watch::Receiver<Progress>,
    board: Arc<Board>,
}

impl Flights {
    /// Waits with the others for `key`, if they began with what was seen `now` and `joins` says so. Whoever is the first
    /// gets the flight too, and has to see to it.
    pub(super) fn join(
        &self,
        key: &CacheKey,
        entity: &Entity,
        now: Moment,
        joins: impl Fn(&Moment) -> bool,
    ) -> (Ticket, Option<Flight>) {
        let mut under_way = self.lock();
        if let Some(board) = under_way.get(key)
            && board.moment.seen == now.seen
            && joins(&board.moment)
        {
            let mut progress = board.progress.subscribe();
            progress.mark_changed();
            return (Ticket { progress, board: Arc::clone(board) }, None);
        }
        let (progress, ticket) = watch::channel(Progress::Away);
        let board = Arc::new(Board { moment: now, progress, goes_on: AtomicBool::new(false) });
        under_way.insert(key.clone(), Arc::clone(&board));
        let flight = Flight {
            flights: self.clone(),
            key: key.clone(),
            entity: entity.clone(),
            board: Arc::clone(&board),
        };
        (Ticket { progress: ticket, board }, Some(flight))
    }

    /// A flight that nobody waits for, unless one is under way.
    pub(super) fn begin(&self, key: &CacheKey, entity: &Entity, now: Moment) -> Option<Flight> {
        let (ticket, flight) = self.join(key, entity, now, |_| true);
        ticket.let_it_go_on();
        flight
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<Board>, foldhash::quality::RandomState>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// When it began.
    pub(super) fn moment(&self) -> &Moment {
        &self.board.moment
    }

    /// Ready when nobody waits any more, and nobody wants it to go on.
    pub(super) async fn deserted(&self) {
        loop {
            self.board.progress.closed().await;
            if self.board.goes_on.load(Ordering::Acquire) {
                return std::future::pending().await;
            }
            let mut under_way = self.flights.lock();
            if self.board.progress.is_closed() {
                self.leave(&mut under_way);
                return;
            }
        }
    }

    /// Tells those who wait that they could have something older.
    pub(super) fn has_aged(&self, entry: Arc<Entry>) {
        self.board.progress.send_replace(Progress::Aged(entry));
    }

    /// Tells all who wait.
    pub(super) fn land(self, outcome: Outcome) {
        self.leave(&mut self.flights.lock());
        self.board.progress.send_replace(Progress::Landed(outcome));
    }

    fn leave(&self, under_way: &mut HashMap<CacheKey, Arc<Board>, foldhash::quality::RandomState>) {
        // By now it may be another one's.
        if under_way.get(&self.key).is_some_and(|board| Arc::ptr_eq(board, &self.board)) {
            under_way.remove(&self.key);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.leave(&mut self.flights.lock());
        if !matches!(*self.board.progress.borrow(), Progress::Landed(_)) {
            let broken = Error::internal("the value could not be read", "its loader broke off");
            self.board.progress.send_replace(Progress::Landed(Err(Arc::new(broken))));
        }
    }
}

impl Ticket {
    /// How far it is, if that is further than at the last call; else when it is.
    pub(super) async fn news(&mut self) -> Progress {
        // The sender lives on the board, which this holds.
        let _ = self.progress.changed().await;
        self.progress.borrow_and_update().clone()
    }

    /// It is waited for no longer, but what it brings is wanted.
    pub(super) fn let_it_go_on(&self) {
        self.board.goes_on.store(true, Ordering::Release);
    }
}
