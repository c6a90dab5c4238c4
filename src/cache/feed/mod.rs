//! Hears of changes that others make, and makes what they concern a miss: in memory of this process, and in the second
//! tier unless another node has done that.
//!
//! Triggers note every change in the database, whoever makes it; a few times a second [`Feed::poll`] asks what is new.
//! What was found unchanged up to some moment counts as fresh for a second from then, so that nobody is answered with
//! what others changed longer ago. While the database does not answer, what is kept ages; when it answers again, the
//! feed goes on where it was, and only if it cannot is everything a miss. Called by `app`.

mod rows;
mod second;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use self::second::{Known, Second};
use super::{Cache, Invalidation};
use crate::base::{Clock, Error, Result};
use crate::db::Db;
use crate::db::invalidations::{Change, Cursor, News, Reader};
use crate::telemetry::{Tasks, metrics};

pub use self::rows::announce;

/// Four times in the second within which everybody has to know.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// A database that has no answer by then is away.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The cursor is moved on so often although nothing happens: rows are not kept for ever.
const MOVE_EVERY: Duration = Duration::from_secs(30);

/// One for each process that has a cache.
#[derive(Debug)]
pub struct Feed {
    cache: Cache,
    db: Db,
    reader: Reader,
    clock: Arc<dyn Clock>,
    /// Everything up to here was applied; moved on when something is new, and now and then.
    at: Option<Cursor>,
    moved_at: Duration,
    second: Option<Second>,
    /// When the last good poll began.
    heard_at: Duration,
    hears: bool,
}

impl Feed {
    /// It has heard of nothing yet.
    pub fn new(cache: Cache, db: &Db, clock: Arc<dyn Clock>) -> Self {
        let (reader, heard_at) = (Reader::new(db), clock.uptime());
        let second = cache.0.l2.clone().map(Second::new);
        let db = db.clone();
        Self { cache, db, reader, clock, at: None, moved_at: heard_at, second, heard_at, hears: true }
    }

    /// Polls until the service begins to stop.
    pub async fn run(mut self, tasks: Tasks) {
        let mut ticks = interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = tasks.stopping().cancelled() => break,
                _ = ticks.tick() => self.poll().await,
            }
        }
        self.reader.close().await;
    }

    /// Asks once what is new, and applies it.
    pub async fn poll(&mut self) {
        let begun = self.clock.uptime();
        let outcome = match timeout(ANSWER_MAX, self.hear()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::unavailable("the database did not answer in time", "no answer within 2 s")),
        };
        let hears = outcome.is_ok();
        match outcome {
            Err(error) if self.hears => {
                tracing::warn!(%error, "the cache does not hear of changes any more: {error}");
            }
            Ok(()) if !self.hears => tracing::info!("the cache hears of changes again"),
            _ => {}
        }
        self.hears = hears;
        self.cache.database_away(!hears);
        if hears {
            self.heard_at = begun;
            self.cache.fresh_as_of(begun);
        }
        metrics::cache_feed_lag(self.clock.uptime().saturating_sub(self.heard_at));
    }

    async fn hear(&mut self) -> Result<()> {
        let News { now, changes } = self.reader.since(self.at.as_ref()).await?;
        let any = changes.as_ref().is_none_or(|changes| !changes.is_empty());
        let changed = changes.map(|changes| self.understood(changes));
        // Memory first: nothing that happens to the second tier holds that up.
        match &changed {
            Some(changed) => {
                self.cache.apply_here(changed);
                for pattern in changed.iter().filter_map(Invalidation::pattern) {
                    self.cache.forget_matching(pattern).await;
                }
            }
            None => self.cache.apply_here(&[Invalidation::All]),
        }
        if changed.as_ref().is_none_or(|changed| changed.contains(&Invalidation::Switches)) {
            self.cache.switches().reload(&self.db).await?;
        }
        let uptime = self.clock.uptime();
        let moves = any || uptime.saturating_sub(self.moved_at) >= MOVE_EVERY;
        if let Some(second) = &mut self.second {
            let known = Known { since: self.at.as_ref(), now: &now, changed: changed.as_deref() };
            second.tell(&self.cache, &mut self.reader, known, moves).await?;
        }
        if moves {
            (self.at, self.moved_at) = (Some(now), uptime);
        }
        Ok(())
    }

    /// Without what is to be passed over: changes of configured entities, while that is switched off. Who switches it on
    /// again announces that anything may have changed.
    fn understood(&self, changes: Vec<Change>) -> Vec<Invalidation> {
        // What was committed before the switch counts: it may come with it.
        let switched = changes.iter().any(rows::is_of_switches);
        let all = switched || self.cache.switches().auto_invalidates();
        changes.into_iter().filter(|change| all || !change.automatic).map(rows::invalidation).collect()
    }
}
