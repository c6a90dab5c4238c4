//! Who waits for which thumbnail: one flight fetches it, however many ask.
//!
//! A flight is a task; it ends when it has an answer, or when nobody waits any more. Called by `get`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::get::Loaded;
use crate::base::{Code, Error, FileId, Result, TenantId};

/// What a flight is for: a size of a file, by its place in the configuration.
pub(super) type Destination = (TenantId, FileId, usize);

/// All flights of this process. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Flights {
    under_way: Arc<Mutex<HashMap<Destination, Arc<Board>>>>,
    max: usize,
}

#[derive(Debug, Clone)]
enum State {
    /// Whether it is there is being looked at.
    Looking,
    /// It is not, and somebody makes it.
    Making,
    /// This came of it.
    Answered(Loaded),
}

#[derive(Debug)]
struct Board {
    state: watch::Sender<State>,
    news: Notify,
    /// What kept somebody from making it, just now.
    trouble: Mutex<Option<Arc<Error>>>,
}

/// A flight, in the hands of its task. If that dies, those who wait are told.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Flights,
    destination: Destination,
    board: Arc<Board>,
}

/// Whoever has it waits.
pub(super) struct Ticket(watch::Receiver<State>);

impl Flights {
    /// At most `max` at once wait for what has to be made; of a tenant at most half of them.
    pub(super) fn new(max: usize) -> Self {
        Self { under_way: Arc::default(), max }
    }

    /// Waits with the others for `destination`. Whoever is the first gets the flight too, and has to see to it.
    pub(super) fn join(&self, destination: Destination) -> (Ticket, Option<Flight>) {
        let mut under_way = self.lock();
        if let Some(board) = under_way.get(&destination) {
            return (Ticket(board.state.subscribe()), None);
        }
        let (state, ticket) = watch::channel(State::Looking);
        let board = Arc::new(Board { state, news: Notify::new(), trouble: Mutex::default() });
        under_way.insert(destination.clone(), Arc::clone(&board));
        let flight = Flight { flights: self.clone(), destination, board };
        (Ticket(ticket), Some(flight))
    }

    /// Something became of `file`, or kept somebody from it: whoever waits for one of its thumbnails had better look.
    pub(super) fn tell(&self, file: FileId, trouble: Option<&Arc<Error>>) {
        for ((_, waited_for, _), board) in self.lock().iter() {
            if *waited_for == file {
                *board.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble.cloned();
                board.news.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, Arc<Board>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Ready when [`Flights::tell`] was called since the last time.
    pub(super) async fn news(&self) {
        self.board.news.notified().await;
    }

    /// What kept this node from making it, since the last time.
    pub(super) fn trouble(&self) -> Option<Arc<Error>> {
        self.board.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ready when nobody waits any more.
    pub(super) async fn deserted(&self) {
        self.board.state.closed().await;
    }

    /// Ends the flight if still nobody waits.
    pub(super) fn is_over(&self) -> bool {
        let mut under_way = self.flights.lock();
        let over = self.board.state.is_closed();
        if over {
            under_way.remove(&self.destination);
        }
        over
    }

    /// Tells all who wait that it has to be made first.
    ///
    /// # Errors
    /// `Overloaded` if as many wait for that as may.
    pub(super) fn will_take_time(&self) -> Result<()> {
        let under_way = self.flights.lock();
        let makes = |board: &Board| matches!(*board.state.borrow(), State::Making);
        if makes(&self.board) {
            return Ok(());
        }
        let making = || under_way.iter().filter(|(_, board)| makes(board));
        let own = making().filter(|((tenant, ..), _)| *tenant == self.destination.0).count();
        if making().count() >= self.flights.max || own >= self.flights.max.div_ceil(2) {
            let detail = "more thumbnails are waited for than there is room for; ask again";
            return Err(Error::new(Code::Overloaded, detail));
        }
        self.board.state.send_replace(State::Making);
        Ok(())
    }

    /// Tells all who wait.
    pub(super) fn land(self, answer: Loaded) {
        self.flights.lock().remove(&self.destination);
        self.board.state.send_replace(State::Answered(answer));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock();
        // By now it may be another one's.
        if under_way.get(&self.destination).is_some_and(|board| Arc::ptr_eq(board, &self.board)) {
            under_way.remove(&self.destination);
        }
    }
}

impl Ticket {
    /// What became of it; `None` if it has to be made, and was not for as long as `wait`.
    ///
    /// # Errors
    /// If the flight ended without an answer.
    pub(super) async fn answer(mut self, wait: Duration) -> Result<Option<Loaded>> {
        let deadline = Instant::now() + wait;
        // To look takes as long as database and store may take to answer, and no longer.
        self.until(|state| !matches!(state, State::Looking)).await?;
        let made = self.until(|state| matches!(state, State::Answered(_)));
        match tokio::time::timeout_at(deadline, made).await {
            Err(_) => Ok(None),
            Ok(state) => match state? {
                State::Answered(loaded) => Ok(Some(loaded)),
                State::Looking | State::Making => Ok(None),
            },
        }
    }

    async fn until(&mut self, wanted: impl Fn(&State) -> bool) -> Result<State> {
        let reached = self.0.wait_for(|state| wanted(state)).await.map(|state| (*state).clone());
        reached.map_err(|_| Error::internal("the thumbnail could not be fetched", "its flight broke off"))
    }
}
