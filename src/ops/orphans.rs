//! Orphans: what is in a store although no row of the database names it. Nothing here is removed on a hunch.
//!
//! An orphan is at least a day old, and its id is in no row of any table: files, uploads, deletions that wait; of a
//! thumbnail it is the key that is in none, because a file's thumbnails are replaced while the file stays. It is
//! looked for in the store's listing, some at a time, so that memory stays bounded however large the store is; what
//! is to be removed is looked up once more right before it goes. Runs beside a service that writes. What has a name
//! that is none of ours is counted and never touched. Called by `cli` (`cifra storage orphans`).

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::base::{BlobKey, Clock, Error, FileId, Principal, Result, Timestamp};
use crate::blob::{BlobMeta, BlobResult, PartStore, Unfinished};
use crate::db::audit::{self, Action, Entry};
use crate::db::{Db, Urgency, blob_deletions, stores, thumbnails, uploads};

/// What is younger may be on its way, in a process that has not told the database yet.
const AGE_MIN: Duration = Duration::from_hours(24);
/// So many removals are noted in one entry of the audit log.
const REMOVALS_AT_ONCE: usize = 500;
/// A store that shows nothing more for this long is away.
const LISTING_WAIT_MAX: Duration = Duration::from_mins(1);

/// What is to be done about orphans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// They are told.
    Report,
    /// They are told and removed.
    Remove,
}

/// Something that no row names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Orphan {
    /// A blob.
    Blob(BlobMeta),
    /// A blob in the making.
    Unfinished(Unfinished),
}

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Blobs that were looked at.
    pub looked_at: u64,
    /// Orphans among them.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs in the making that no upload names.
    pub unfinished: u64,
    /// What has a name that cifra does not give.
    pub foreign: u64,
    /// How many orphans were removed, of both kinds.
    pub removed: u64,
}

/// Looks for orphans in one store.
#[derive(Debug)]
pub struct Orphans {
    db: Db,
    name: String,
    store: Arc<dyn PartStore>,
    clock: Arc<dyn Clock>,
}

impl Orphans {
    /// Looks in `store`, which rows call `name` and whose identity was made sure of.
    pub fn new(db: Db, name: String, store: Arc<dyn PartStore>, clock: Arc<dyn Clock>) -> Self {
        Self { db, name, store, clock }
    }

    /// Looks through the whole store and calls `tell` for each orphan, which is gone by then if it was to be removed.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator; `Unavailable`, `Internal`: then what was told until then holds.
    pub async fn look(
        &self,
        who: &Principal,
        treatment: Treatment,
        mut tell: impl FnMut(&Orphan),
    ) -> Result<Summary> {
        who.require_operator()?;
        let mut round = Round { who, treatment, summary: Summary::default(), removed: Removed::default() };
        let looked = self.look_at_all(&mut round, &mut tell).await;
        // Also of a round that broke off.
        self.note(&mut round).await?;
        looked.map(|()| round.summary)
    }

    async fn look_at_all(&self, round: &mut Round<'_>, tell: &mut impl FnMut(&Orphan)) -> Result<()> {
        let mut blobs = self.store.list("").await?;
        let mut candidates = Vec::new();
        loop {
            let next = next(&mut blobs).await?;
            let at_end = next.is_none();
            candidates.extend(next.and_then(|meta| self.candidate(meta, &mut round.summary)));
            if candidates.len() == stores::LOOKED_UP_MAX || at_end {
                for meta in self.unknown(std::mem::take(&mut candidates)).await? {
                    self.treat_blob(round, meta, tell).await?;
                }
            }
            if at_end {
                break;
            }
        }
        let mut unfinished = self.store.unfinished().await?;
        while let Some(unfinished) = next(&mut unfinished).await? {
            if self.is_old(unfinished.begun) && !self.is_named(&unfinished).await? {
                self.treat_unfinished(round, unfinished, tell).await?;
            }
        }
        Ok(())
    }

    /// Whether it may be an orphan as far as the listing tells; counts it.
    fn candidate(&self, meta: BlobMeta, summary: &mut Summary) -> Option<BlobMeta> {
        summary.looked_at += 1;
        if meta.key.file().is_none() && meta.key.thumbnail_of().is_none() {
            summary.foreign += 1;
            return None;
        }
        self.is_old(meta.modified).then_some(meta)
    }

    fn is_old(&self, since: Timestamp) -> bool {
        self.clock.now().since(since) >= AGE_MIN
    }

    /// Those that are in no row.
    async fn unknown(&self, mut candidates: Vec<BlobMeta>) -> Result<Vec<BlobMeta>> {
        if candidates.is_empty() {
            return Ok(candidates);
        }
        let keys = || candidates.iter().map(|meta| meta.key.clone());
        let files: Vec<(FileId, BlobKey)> =
            keys().filter_map(|key| key.file().map(|(_, id)| (id, key))).collect();
        let thumbnails: Vec<BlobKey> = keys().filter(|key| key.thumbnail_of().is_some()).collect();
        let name = self.name.clone();
        let known = self.db.read(move |c| {
            Box::pin(async move {
                let files = stores::known(c, &name, &files).await?;
                Ok((files, thumbnails::known(c, &name, &thumbnails).await?))
            })
        });
        let (files, thumbnails) = known.await?;
        candidates.retain(|meta| match meta.key.file() {
            Some((_, id)) => !files.contains(&id),
            None => !thumbnails.contains(&meta.key),
        });
        Ok(candidates)
    }

    /// By the row of an upload; or by that of a file which comes in one request, and may take as long as it likes.
    async fn is_named(&self, Unfinished { key, parts, .. }: &Unfinished) -> Result<bool> {
        let (name, key, parts) = (self.name.clone(), key.clone(), parts.clone());
        self.db
            .read(move |c| {
                Box::pin(async move {
                    Ok(uploads::is_staged(c, &name, &parts).await?
                        || blob_deletions::is_noted(c, &name, &key).await?)
                })
            })
            .await
    }

    /// It may have been removed since it was listed: by the service, which then forgets it too.
    async fn treat_blob(
        &self,
        round: &mut Round<'_>,
        listed: BlobMeta,
        tell: &mut impl FnMut(&Orphan),
    ) -> Result<()> {
        let Some(meta) = self.store.head(&listed.key).await? else { return Ok(()) };
        if !self.is_old(meta.modified) {
            return Ok(());
        }
        if round.treatment == Treatment::Remove {
            if self.unknown(vec![meta.clone()]).await?.is_empty() {
                return Ok(());
            }
            self.store.delete(&meta.key).await?;
            round.removed.blobs += 1;
            round.removed.bytes += meta.size;
            self.note_if_many(round).await?;
        }
        round.summary.blobs += 1;
        round.summary.bytes += meta.size;
        tell(&Orphan::Blob(meta));
        Ok(())
    }

    async fn treat_unfinished(
        &self,
        round: &mut Round<'_>,
        unfinished: Unfinished,
        tell: &mut impl FnMut(&Orphan),
    ) -> Result<()> {
        if round.treatment == Treatment::Remove {
            self.store.discard(&unfinished).await?;
            round.removed.unfinished += 1;
            self.note_if_many(round).await?;
        }
        round.summary.unfinished += 1;
        tell(&Orphan::Unfinished(unfinished));
        Ok(())
    }

    async fn note_if_many(&self, round: &mut Round<'_>) -> Result<()> {
        if round.removed.count() < REMOVALS_AT_ONCE as u64 { Ok(()) } else { self.note(round).await }
    }

    /// Writes what was removed into the audit log.
    async fn note(&self, round: &mut Round<'_>) -> Result<()> {
        let removed = std::mem::take(&mut round.removed);
        if removed.count() == 0 {
            return Ok(());
        }
        round.summary.removed += removed.count();
        let entry = Entry::new(round.who, Action::OrphansRemoved, &self.name, self.clock.now())
            .of(None)
            .with("blobs", removed.blobs)
            .with("bytes", removed.bytes)
            .with("unfinished", removed.unfinished);
        self.db
            .write_durable(Urgency::Normal, move |c| {
                let entry = entry.clone();
                Box::pin(async move { audit::insert(c, &entry).await })
            })
            .await
    }
}

/// One look through the store.
struct Round<'a> {
    who: &'a Principal,
    treatment: Treatment,
    summary: Summary,
    removed: Removed,
}

/// What was removed and is not in the audit log yet.
#[derive(Default)]
struct Removed {
    blobs: u64,
    bytes: u64,
    unfinished: u64,
}

impl Removed {
    fn count(&self) -> u64 {
        self.blobs + self.unfinished
    }
}

/// The next of a listing, if the store shows one in time.
async fn next<T>(listing: &mut BoxStream<'static, BlobResult<T>>) -> Result<Option<T>> {
    match tokio::time::timeout(LISTING_WAIT_MAX, listing.next()).await {
        Ok(next) => Ok(next.transpose()?),
        Err(elapsed) => Err(Error::unavailable("the store does not go on with its list", elapsed)),
    }
}
