//! Keeps the second tier told. All nodes share it, and the first that hears of a change tells it for all; how far that
//! has come stands in the tier itself, behind the tokens that it stands for. So a tier that was away, or came back as it
//! was a while ago, is told again of exactly what it may not know; and where nobody can say what that is, of everything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::rows;
use crate::base::{Error, Result};
use crate::cache::tier::{self, Away, CacheTier};
use crate::cache::{Cache, Invalidation, Tag};
use crate::db::invalidations::{Cursor, News, Reader};

/// A search of the tier may hold up the feed for so long.
const SEARCH_MAX: Duration = Duration::from_millis(500);

/// What is known of the changes between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// The first; `None`: the beginning.
    pub(super) since: Option<&'a Cursor>,
    /// The second.
    pub(super) now: &'a Cursor,
    /// All that changed between; `None`: anything.
    pub(super) changed: Option<&'a [Invalidation]>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Second {
    tier: Arc<dyn CacheTier>,
    /// Where its cursor was when this node saw it last.
    seen: Option<Cursor>,
    /// It was not searched as it should have been: nothing of it stands any more, and it does not know yet.
    unsearched: bool,
}

/// What the tier is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// It knows all of it.
    Nothing,
    /// What is known here.
    Known,
    /// What the database says that has changed since its cursor.
    SinceItsCursor,
    /// That nothing of it stands.
    Everything,
}

/// Who could not be asked.
enum Untold {
    Tier,
    Database(Error),
}

impl From<Away> for Untold {
    fn from(_: Away) -> Self {
        Self::Tier
    }
}

impl Second {
    pub(super) fn new(tier: Arc<dyn CacheTier>) -> Self {
        Self { tier, seen: None, unsearched: false }
    }

    /// Tells it what it does not know; then it is current. One that is away counts that among its doubts, and is told the
    /// next time. `moves`: its cursor is to be moved on although nothing changed.
    ///
    /// # Errors
    /// Those of the database, which knows what it does not know.
    pub(super) async fn tell(
        &mut self,
        cache: &Cache,
        reader: &mut Reader,
        known: Known<'_>,
        moves: bool,
    ) -> Result<()> {
        // Whatever makes somebody doubt while we are at it counts anew.
        let doubts = self.tier.doubts();
        match self.catch_up(cache, reader, known, moves).await {
            Ok(()) => self.tier.mark_current(doubts),
            Err(Untold::Tier) => {}
            Err(Untold::Database(error)) => return Err(error),
        }
        Ok(())
    }

    async fn catch_up(
        &mut self,
        cache: &Cache,
        reader: &mut Reader,
        known: Known<'_>,
        moves: bool,
    ) -> Result<(), Untold> {
        // Whoever asked for it has searched it, but this node may have put something there before it heard of that.
        self.search(cache, known.changed.unwrap_or_default()).await?;
        let stood = self.tier.cursor().await?.and_then(|cursor| cursor.text.parse::<Cursor>().ok());
        match plan(stood.as_ref(), self.seen.as_ref(), known) {
            Plan::Everything => Ok(self.begin_anew(cache, known.now).await?),
            Plan::Nothing if !moves => {
                self.seen = stood;
                Ok(())
            }
            Plan::Nothing => Ok(self.tell_of(cache, &[], stood.as_ref(), known.now).await?),
            Plan::Known => {
                Ok(self.tell_of(cache, known.changed.unwrap_or_default(), stood.as_ref(), known.now).await?)
            }
            Plan::SinceItsCursor => {
                let News { now, changes } = reader.since(stood.as_ref()).await.map_err(Untold::Database)?;
                let Some(changes) = changes else { return Ok(self.begin_anew(cache, &now).await?) };
                // Those that are passed over while that is switched off, too: it costs nothing but a miss.
                let told: Vec<Invalidation> = changes.into_iter().map(rows::invalidation).collect();
                self.search(cache, &told).await?;
                Ok(self.tell_of(cache, &told, stood.as_ref(), &now).await?)
            }
        }
    }

    /// Renews what `changed` concerns, and moves the cursor on to `now`.
    async fn tell_of(
        &mut self,
        cache: &Cache,
        changed: &[Invalidation],
        stood: Option<&Cursor>,
        now: &Cursor,
    ) -> Result<(), Away> {
        let tags: BTreeSet<Tag> = changed.iter().flat_map(Invalidation::tags).collect();
        let tags: Vec<Tag> = tags.into_iter().collect();
        if !tags.is_empty() {
            self.tier.renew(&tags).await?;
            // Until then somebody may have read from there what does not stand, and kept it in memory.
            cache.apply_here(changed);
        }
        let before = self.tier.advance(&in_tier(now)).await?;
        let before = before.and_then(|cursor| cursor.text.parse::<Cursor>().ok());
        if went_back(before.as_ref(), stood) {
            return self.begin_anew(cache, now).await;
        }
        // Another node may have moved it further.
        self.seen = match before {
            Some(before) if before.place() > now.place() => Some(before),
            _ => Some(now.clone()),
        };
        Ok(())
    }

    /// Removes what matches the patterns among `changed`. Where that takes too long or cannot be (a Redis cluster), all of
    /// it goes.
    async fn search(&mut self, cache: &Cache, changed: &[Invalidation]) -> Result<(), Away> {
        let patterns: Vec<&str> = changed.iter().filter_map(Invalidation::pattern).collect();
        let searching = async {
            for pattern in &patterns {
                self.tier.remove_matching(pattern).await?;
            }
            Ok::<_, Error>(())
        };
        self.unsearched |= !matches!(timeout(SEARCH_MAX, searching).await, Ok(Ok(())));
        for pattern in patterns {
            // Until then somebody may have read it from there.
            cache.forget_matching(pattern).await;
        }
        if self.unsearched {
            self.tier.renew(&[Tag::All]).await?;
            cache.apply_here(&[Invalidation::All]);
            self.unsearched = false;
        }
        Ok(())
    }

    async fn begin_anew(&mut self, cache: &Cache, now: &Cursor) -> Result<(), Away> {
        tracing::info!(tier = self.tier.name(), "nothing in the cache's second tier stands any more");
        self.tier.renew(&[Tag::All]).await?;
        cache.apply_here(&[Invalidation::All]);
        self.tier.restart(&in_tier(now)).await?;
        self.seen = Some(now.clone());
        Ok(())
    }
}

fn in_tier(cursor: &Cursor) -> tier::Cursor {
    tier::Cursor { place: cursor.place(), text: cursor.to_string() }
}

/// Whether a cursor that was `seen` stands further back now: what holds it was replaced by what it was before.
fn went_back(stands: Option<&Cursor>, seen: Option<&Cursor>) -> bool {
    match (stands, seen) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(stands), Some(seen)) => !stands.has_history_of(seen) || stands.place() < seen.place(),
    }
}

/// What a tier is to be told whose cursor stands at `stood`, and was `seen` by this node before.
fn plan(stood: Option<&Cursor>, seen: Option<&Cursor>, known: Known<'_>) -> Plan {
    let Some(stood) = stood else { return Plan::Everything };
    if !stood.has_history_of(known.now) || went_back(Some(stood), seen) {
        return Plan::Everything;
    }
    if stood == known.now {
        return Plan::Nothing;
    }
    let Some(changed) = known.changed else { return Plan::SinceItsCursor };
    if known.since == Some(stood) {
        return if changed.is_empty() { Plan::Nothing } else { Plan::Known };
    }
    let (Cursor::Postgres(_), Some(since)) = (stood, known.since) else {
        // Nobody else moves the cursor of a tier that is not shared: it is from an earlier run.
        return Plan::SinceItsCursor;
    };
    let ahead = stood.place() >= known.now.place();
    let quiet = changed.is_empty() && stood.place() >= since.place();
    if ahead || quiet { Plan::Nothing } else { Plan::SinceItsCursor }
}

#[cfg(test)]
mod tests;
