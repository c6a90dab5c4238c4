//! How a value is read: from memory if it is there and stands, else by a flight, with those who wait for it.
//!
//! What is only aged is answered marked as such, and only where no better value is to be had in time; what was invalidated
//! never. Flights do their work in `load`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::flight::{Anything, Flight, Found, Moment, Progress, Ticket};
use super::key::CacheKey;
use super::load::{self, Brought, Decode, Load, Purpose, found};
use super::memory::{Entry, Worth};
use super::trust::micros;
use super::{Cache, Entity, Inner, Read, Source, Value};
use crate::base::error::Class;
use crate::base::principal::Actor;
use crate::base::{Error, Principal, Result};

/// An entry that may have to do.
type Aged = Option<(Arc<Entry>, Worth)>;

impl Cache {
    /// The value of `key`, from the nearest tier, else from `load`, which runs once however many ask at the same time.
    ///
    /// `load` answers `None` if there is no such value. What it answers is as of after it was called. It runs in a task
    /// of its own, and to its end unless everybody who waits for it goes away.
    ///
    /// # Errors
    /// Those of `load`, unless an aged value can be answered instead; `Unavailable` after `cache.hard_timeout`.
    pub async fn read<T, F, L>(
        &self,
        entity: &Entity,
        key: &CacheKey,
        who: &Principal,
        load: F,
    ) -> Result<Read<T>>
    where
        T: Value,
        F: FnOnce() -> L + Send + 'static,
        L: Future<Output = Result<Option<T>>> + Send + 'static,
    {
        let inner = &self.0;
        let begun = inner.clock.uptime();
        // What the service reads for itself (it warms the cache) is nobody's answer, and no load that an answer cost.
        let for_itself = matches!(who.actor(), Actor::Service).then(|| entity.uncounted());
        let entity = for_itself.as_ref().unwrap_or(entity);
        if entity.policy.ttl.is_zero() || !inner.switches.is_on(entity.name(), who) {
            let value = load().await?.map(Arc::new);
            return Ok(inner.told(entity, value, Source::Bypass, begun));
        }
        let now = micros(begun);
        let known = inner.memory.look(key, &inner.trust, now);
        let known = known.and_then(|(entry, worth)| {
            let value = typed::<T>(entry.value.as_ref()).ok();
            if value.is_none() {
                // Two kinds of values that have one key are never answered for each other.
                inner.memory.remove(key);
            }
            Some((value?, entry, worth))
        });
        let aged = match known {
            Some((value, _, Worth::Fresh)) => return Ok(inner.told(entity, value, Source::L1, begun)),
            Some((value, entry, Worth::Due)) => {
                if !entry.waits_to_retry(now) {
                    inner.refresh(entity, key, now, erased(load), load::decode::<T>);
                }
                return Ok(inner.told(entity, value, Source::L1, begun));
            }
            Some((_, entry, worth)) => Some((entry, worth)),
            None => None,
        };
        let found = inner.fetch(entity, key, aged, now, erased(load), load::decode::<T>).await?;
        let value = typed::<T>(found.value.as_ref()).map_err(|_| {
            Error::internal("the value cannot be read", format!("two kinds of values have the key `{key}`"))
        })?;
        Ok(inner.told(entity, value, found.source, begun))
    }
}

impl Inner {
    /// Counts an answer, and makes it.
    #[inline]
    fn told<T>(&self, entity: &Entity, value: Option<Arc<T>>, source: Source, begun: Duration) -> Read<T> {
        let took = self.clock.uptime().saturating_sub(begun);
        self.figures.answered(entity.index, source, took);
        Read { value, source, took }
    }

    /// Has the value read again, unless somebody does already.
    fn refresh(self: &Arc<Self>, entity: &Entity, key: &CacheKey, now: u64, load: Load, decode: Decode) {
        let moment = Moment { seen: self.memory.seen(key), at: now };
        if let Some(flight) =
            self.flights.begin(key, entity, moment).and_then(|flight| self.still_needed(flight, now))
        {
            self.tasks.spawn("cache refresh", Arc::clone(self).fly(flight, load, decode, Purpose::Refresh));
        }
    }

    /// The flight, unless the one before it has landed between the look into memory and its beginning: then it has what
    /// there is.
    fn still_needed(&self, flight: Flight, now: u64) -> Option<Flight> {
        match self.memory.look(&flight.key, &self.trust, now) {
            Some((entry, Worth::Fresh)) => {
                flight.land(Ok(found(&entry, Source::L1)));
                None
            }
            _ => Some(flight),
        }
    }

    /// Joins those who wait for the value, or has it fetched.
    async fn fetch(
        self: &Arc<Self>,
        entity: &Entity,
        key: &CacheKey,
        aged: Aged,
        now: u64,
        load: Load,
        decode: Decode,
    ) -> Result<Found> {
        if let Some((entry, _)) = &aged
            && (self.trust.is_away() || entry.waits_to_retry(now))
            && let Some(stale) = self.stale(entry)
        {
            return Ok(stale);
        }
        let moment = Moment { seen: self.memory.seen(key), at: now };
        let (ticket, flight) = self.flights.join(key, entity, moment, |then| self.trust.holds(then.at, now));
        let leads = flight.is_some();
        if let Some(flight) = flight.and_then(|flight| self.still_needed(flight, now)) {
            self.tasks.spawn("cache load", Arc::clone(self).fly(flight, load, decode, Purpose::Answer));
        }
        self.wait(key, ticket, aged, leads).await
    }

    /// Waits for the flight as long as it makes sense. Whoever does not lead it takes what is only older than its TTL at
    /// once.
    async fn wait(&self, key: &CacheKey, mut ticket: Ticket, mut aged: Aged, leads: bool) -> Result<Found> {
        let begun = Instant::now();
        let hard = begun + self.config.hard_timeout;
        let soft = hard.min(begun + self.config.soft_timeout);
        loop {
            if let Some((entry, Worth::Aged)) = &aged
                && !leads
                && let Some(stale) = self.stale(entry)
            {
                ticket.let_it_go_on();
                return Ok(stale);
            }
            let deadline = if aged.is_some() { soft } else { hard };
            match timeout_at(deadline, ticket.news()).await {
                Ok(Progress::Away) => {}
                Ok(Progress::Aged(entry)) => {
                    let worth = self.memory.worth(&entry, &self.trust, micros(self.clock.uptime()));
                    aged = Some((entry, worth));
                }
                Ok(Progress::Landed(Ok(found))) => return Ok(found),
                Ok(Progress::Landed(Err(error))) => return self.instead_of(&error, key, aged),
                Err(_) => {
                    ticket.let_it_go_on();
                    match aged.take() {
                        Some((entry, _)) => {
                            if let Some(stale) = self.stale(&entry) {
                                return Ok(stale);
                            }
                        }
                        None => return Err(load::late()),
                    }
                }
            }
        }
    }

    /// What is answered when a loader failed: an aged value, if that is the database's fault and there is one.
    fn instead_of(&self, error: &Error, key: &CacheKey, aged: Aged) -> Result<Found> {
        let trouble = matches!(error.code().class(), Class::Internal | Class::Unavailable | Class::TooMany);
        // The flight may have found one in the second tier that nobody heard of in time.
        let aged = aged.or_else(|| self.memory.look(key, &self.trust, micros(self.clock.uptime())));
        let stale = aged.filter(|_| trouble).and_then(|(entry, _)| self.stale(&entry));
        stale.ok_or_else(|| error.again())
    }

    /// The entry as an answer that is marked, unless it was invalidated.
    fn stale(&self, entry: &Entry) -> Option<Found> {
        self.memory.stands(&entry.seen).then(|| found(entry, Source::Stale))
    }
}

/// The value as what it is; an error if it is something else.
fn typed<T: Value>(value: Option<&Anything>) -> Result<Option<Arc<T>>, Anything> {
    value.map(|value| Arc::clone(value).downcast()).transpose()
}

/// `load`, for those who need not know what it brings.
fn erased<T, F, L>(load: F) -> Load
where
    T: Value,
    F: FnOnce() -> L + Send + 'static,
    L: Future<Output = Result<Option<T>>> + Send + 'static,
{
    Box::new(move || {
        let loading = load();
        Box::pin(async move { Ok(loading.await?.map(Brought::new)) })
    })
}
