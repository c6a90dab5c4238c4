//! What a flight does: it looks into the second tier, keeps other nodes from doing the same work, asks the database, tells
//! those who wait, and keeps what came.
//!
//! Everything that a value is to stand by is looked at before the value is read: the counters of this process when the
//! flight begins, the tokens of the second tier before the database is asked. So what is invalidated meanwhile is never
//! kept as if it were not. Called by `read`, as a task.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};

use super::envelope::Envelope;
use super::figures::Loaded;
use super::flight::{Anything, Flight, Found};
use super::generations::Seen;
use super::key::{CacheKey, TAGS, Tag};
use super::memory::{Entry, Times, Worth};
use super::tier::{Away, CacheTier, Token};
use super::trust::micros;
use super::{Entity, Inner, Source, Value};
use crate::base::{Code, Error, Result, Timestamp};
use crate::telemetry::Tasks;

/// A longer value (as JSON) is not kept.
pub(super) const VALUE_BYTES_MAX: usize = 1 << 20;
/// How often it is looked whether another node has read the value by now.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a loader brought.
pub(super) struct Brought {
    value: Anything,
    /// As JSON; `None` if it cannot be written so, or is too long.
    json: Option<Bytes>,
}

/// Asks the database.
pub(super) type Load = Box<dyn FnOnce() -> BoxFuture<'static, Result<Option<Brought>>> + Send>;

/// Makes a value of its JSON.
pub(super) type Decode = fn(&[u8]) -> Option<Anything>;

/// What a flight is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// There is no value that stands.
    Answer,
    /// There is one, which will soon be too old.
    Refresh,
}

/// What the second tier has.
pub(super) enum Looked {
    /// A value that is good for what it is good for.
    Has(Arc<Entry>, Worth),
    /// Nothing, or nothing that stands.
    Nothing,
    /// It is not to be asked.
    Away,
}

/// Whether other nodes are kept from reading the same.
enum Turn {
    Ours(Held),
    /// Another node has read it meanwhile.
    Done(Arc<Entry>),
    /// Nobody's: there is no way to keep others from it, or they take too long.
    Nobodys,
}

/// What is left to do when those who wait have been told.
#[derive(Default)]
struct After {
    put: Option<(Bytes, Duration)>,
    /// There is no such value, and that is not kept.
    was_nothing: bool,
    held: Option<Held>,
}

/// What a value stands by, from before the database was asked.
pub(super) struct Asked {
    pub(super) at: u64,
    pub(super) created: Timestamp,
    pub(super) tokens: Option<[Token; TAGS]>,
}

impl Brought {
    pub(super) fn new<T: Value>(value: T) -> Self {
        let json = serde_json::to_vec(&value).ok().filter(|json| json.len() <= VALUE_BYTES_MAX);
        Self { value: Arc::new(value), json: json.map(Bytes::from) }
    }
}

/// The [`Decode`] of a type.
pub(super) fn decode<T: Value>(json: &[u8]) -> Option<Anything> {
    serde_json::from_slice::<T>(json).ok().map(|value| Arc::new(value) as Anything)
}

impl Inner {
    /// Sees to `flight`, until it has an answer or nobody wants one any more.
    pub(super) async fn fly(self: Arc<Self>, flight: Flight, load: Load, decode: Decode, purpose: Purpose) {
        let (found, after) = {
            let find = self.find(&flight, load, decode, purpose);
            // Who waits has lost patience long before; this is for loaders that never come back.
            let find = timeout(self.config.hard_timeout.saturating_mul(2), find);
            tokio::select! {
                biased;
                found = find => found.unwrap_or_else(|_| (Err(late()), After::default())),
                () = flight.deserted() => return,
            }
        };
        let (key, seen) = (flight.key.clone(), flight.moment().seen.clone());
        if found.is_err() {
            self.memory.note_failure(&key, micros(self.clock.uptime()));
        }
        flight.land(found.map_err(Arc::new));
        if let Some(put) = after.put {
            self.put_behind(&key, &seen, put).await;
        } else if after.was_nothing {
            self.forget_token(&key).await;
        }
        if let Some(held) = after.held {
            held.release().await;
        }
    }

    async fn find(
        &self,
        flight: &Flight,
        load: Load,
        decode: Decode,
        purpose: Purpose,
    ) -> (Result<Found>, After) {
        let (key, mut held, mut tokens) = (&flight.key, None, None);
        if let Some(l2) = &self.l2 {
            match self.look_for(l2, flight, decode, purpose).await {
                Looked::Has(entry, _) => return (Ok(found(&entry, Source::L2)), After::default()),
                Looked::Away => {}
                Looked::Nothing => match self.turn(l2, flight, decode, purpose).await {
                    Turn::Done(entry) => return (Ok(found(&entry, Source::L2)), After::default()),
                    Turn::Ours(ours) => held = Some(ours),
                    Turn::Nobodys => {}
                },
            }
            tokens = l2.tokens(key, self.kept_for(flight.entity.policy.ttl)).await.ok();
        }
        let begun = self.clock.uptime();
        let asked = Asked { at: micros(begun), created: self.clock.now(), tokens };
        let brought = load().await;
        let outcome = if brought.is_ok() { Loaded::Answered } else { Loaded::Failed };
        self.figures.loaded(flight.entity.index, self.clock.uptime().saturating_sub(begun), outcome);
        match brought {
            Ok(brought) => {
                let put =
                    self.keep(key, &flight.entity, flight.moment().seen.clone(), brought.as_ref(), &asked);
                let was_nothing = brought.is_none() && put.is_none();
                let value = brought.map(|brought| brought.value);
                (Ok(Found { value, source: Source::Database }), After { put, was_nothing, held })
            }
            Err(error) => (Err(error), After { held, ..After::default() }),
        }
    }

    /// Looks into the second tier. What is found is kept here; what is good enough is answered, what is only better than
    /// nothing is told to those who wait.
    async fn look_for(
        &self,
        l2: &Arc<dyn CacheTier>,
        flight: &Flight,
        decode: Decode,
        purpose: Purpose,
    ) -> Looked {
        let looked = self.look(l2, &flight.key, &flight.entity, flight.moment().seen.clone(), decode).await;
        let Looked::Has(entry, worth) = looked else { return looked };
        match (worth, purpose) {
            (Worth::Fresh, _) | (Worth::Due, Purpose::Answer) => {
                self.memory.put(&flight.key, Arc::clone(&entry));
                Looked::Has(entry, worth)
            }
            (Worth::Due, Purpose::Refresh) | (Worth::Gone, _) => Looked::Nothing,
            (Worth::Aged | Worth::Unsure, _) => {
                self.memory.put(&flight.key, Arc::clone(&entry));
                flight.has_aged(entry);
                Looked::Nothing
            }
        }
    }

    /// What the second tier has of `key`, by counters of this process that were `seen` before.
    pub(super) async fn look(
        &self,
        l2: &Arc<dyn CacheTier>,
        key: &CacheKey,
        entity: &Entity,
        seen: Seen,
        decode: Decode,
    ) -> Looked {
        let Ok(fetched) = l2.get(key).await else { return Looked::Away };
        let envelope = fetched.entry.and_then(|entry| Envelope::decode(&entry, key));
        let Some(envelope) = envelope else { return Looked::Nothing };
        if fetched.tokens != envelope.tokens.map(Some) {
            return Looked::Nothing;
        }
        let (value, bytes) = match &envelope.body {
            None => (None, 0),
            Some(json) => match decode(json) {
                None => return Looked::Nothing,
                value => (value, json.len()),
            },
        };
        let now = micros(self.clock.uptime());
        let ttl =
            if value.is_some() { entity.policy.ttl } else { entity.policy.negative_ttl.unwrap_or_default() };
        // Another node's clock may be wrong, and its configuration another one.
        let whole = envelope.expires.since(envelope.created).min(ttl);
        let times = self.times(now, self.clock.now().since(envelope.created), whole);
        let entry = Entry::new(value, bytes, seen, 0, times);
        let worth = self.memory.worth(&entry, &self.trust, now);
        Looked::Has(entry, worth)
    }

    /// Waits until this node may read the value, or another one has.
    async fn turn(&self, l2: &Arc<dyn CacheTier>, flight: &Flight, decode: Decode, purpose: Purpose) -> Turn {
        let (owner, ttl) = (Token::random(), self.config.lock_ttl);
        let deadline = Instant::now() + ttl;
        let mut waited = false;
        loop {
            match l2.lock(&flight.key, owner, ttl).await {
                Err(Away) => return Turn::Nobodys,
                Ok(ours) => {
                    let held = ours.then(|| Held::new(l2, &flight.key, owner, &self.tasks));
                    // Who had it before has put the value before they let go.
                    if waited && let Looked::Has(entry, _) = self.look_for(l2, flight, decode, purpose).await
                    {
                        return Turn::Done(entry);
                    }
                    if let Some(held) = held {
                        return Turn::Ours(held);
                    }
                }
            }
            if Instant::now() >= deadline {
                return Turn::Nobodys;
            }
            waited = true;
            sleep(LOOK_EVERY).await;
        }
    }

    /// Keeps here what was brought, and answers what the second tier is to be given: an envelope, and for how long.
    pub(super) fn keep(
        &self,
        key: &CacheKey,
        entity: &Entity,
        seen: Seen,
        brought: Option<&Brought>,
        asked: &Asked,
    ) -> Option<(Bytes, Duration)> {
        let (ttl, body) = match brought {
            Some(brought) => (Some(entity.policy.ttl), brought.json.clone()),
            None => (entity.policy.negative_ttl, None),
        };
        let kept = ttl.filter(|ttl| !ttl.is_zero() && brought.is_some() == body.is_some());
        let Some(ttl) = kept else {
            // What is there is not so any more.
            self.memory.remove(key);
            return None;
        };
        let whole = self.jitter.shorten(ttl);
        let may_keep = self.memory.may_keep(&seen);
        let value = brought.map(|brought| Arc::clone(&brought.value));
        let bytes = body.as_ref().map_or(0, Bytes::len);
        let entry = Entry::new(value, bytes, seen, asked.at, self.times(asked.at, Duration::ZERO, whole));
        self.memory.put(key, entry);
        let tokens = asked.tokens.filter(|_| may_keep)?;
        let (created, expires) = (asked.created, asked.created.plus(whole));
        Some((Envelope { created, expires, tokens, body }.encode(key), self.kept_for(ttl)))
    }

    /// Puts into the second tier what [`Inner::keep`] made for it.
    pub(super) async fn put_behind(&self, key: &CacheKey, seen: &Seen, (envelope, keep): (Bytes, Duration)) {
        let Some(l2) = &self.l2 else { return };
        // Who asks next finds nothing there, and puts it.
        let _ = l2.put(key, envelope, keep).await;
        // A search for a pattern, which goes by no token, may have passed by before it came.
        if !self.memory.may_keep(seen) {
            let _ = l2.remove(key).await;
        }
    }

    /// Whoever asks for what is not there leaves nothing behind: the key's own token would stay for hours.
    async fn forget_token(&self, key: &CacheKey) {
        // That of a list is all lists'.
        if let (Some(l2), [.., own @ Tag::Record(..)]) = (&self.l2, key.tags()) {
            // It ends by itself if this fails.
            let _ = l2.renew(std::slice::from_ref(own)).await;
        }
    }

    /// For how long the second tier keeps what is believed for `ttl`.
    pub(super) fn kept_for(&self, ttl: Duration) -> Duration {
        ttl.max(self.config.l2.ttl)
    }

    /// Until when something is good for what, if it is to be believed for `whole` and was read `age` before `now`.
    fn times(&self, now: u64, age: Duration, whole: Duration) -> Times {
        let after = |span: Duration| now.saturating_add(micros(span.saturating_sub(age)));
        let ahead = self.config.refresh_ahead;
        Times {
            due: if ahead < 100 { after(whole * ahead / 100) } else { u64::MAX },
            look: now.saturating_add(micros(self.jitter.shorten(self.config.l1.ttl))),
            aged: after(whole),
            gone: after(whole.saturating_add(self.config.stale_max)),
        }
    }
}

/// What is told of an entry.
pub(super) fn found(entry: &Entry, source: Source) -> Found {
    Found { value: entry.value.clone(), source }
}

/// Nothing came in time.
pub(super) fn late() -> Error {
    let detail = "the database has not answered in time; ask again";
    Error::new(Code::Unavailable, detail)
}

/// A lock in the second tier: until it is released, or dropped, or its time is over.
struct Held {
    lock: Option<(Arc<dyn CacheTier>, CacheKey, Token)>,
    tasks: Tasks,
}

impl Held {
    fn new(l2: &Arc<dyn CacheTier>, key: &CacheKey, owner: Token, tasks: &Tasks) -> Self {
        Self { lock: Some((Arc::clone(l2), key.clone(), owner)), tasks: tasks.clone() }
    }

    async fn release(mut self) {
        if let Some((l2, key, owner)) = self.lock.take() {
            // If it cannot be told, the lock ends by itself.
            let _ = l2.unlock(&key, owner).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((l2, key, owner)) = self.lock.take() {
            self.tasks.spawn("cache unlock", async move {
                let _ = l2.unlock(&key, owner).await;
            });
        }
    }
}
