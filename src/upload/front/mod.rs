//! The front: the SHA-256 of a file as far as its chunks are there without a gap.
//!
//! A chunk that arrives exactly at the front is hashed on its way in (it *leads*); chunks that came early are
//! read back, from the page cache as a rule, when the front reaches them, and checked against their CRC while
//! they pass. So every byte is hashed once. Every 64 MiB the state is kept as a checkpoint, from which another
//! process goes on. A withdrawn chunk takes the front back to the checkpoint before it; `withdrawals`, counted
//! by the journal, tells a front that was built before from one that was built after.
//!
//! Where the store does not show its parts, nobody follows: the front stops at the first chunk that came early, or on
//! another node. What it has not seen is read from the whole blob when that is there, if anybody needs it.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::read_back::{read_back, read_whole};
use crate::base::digest::Sha256State;
use crate::base::{ChunkIndex, Clock, Code, Error, Result, UploadId};
use crate::blob::Stores;
use crate::db::checkpoints::Checkpoint;
use crate::db::parts::{Receipt, Withdrawn};
use crate::db::uploads::Upload;
use crate::session::Sessions;
use crate::telemetry::{Tasks, failpoint};

/// How far a crash can throw the front back.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// How many receipts the follower asks the journal for at once.
const RECEIPTS_AT_ONCE: u32 = 64;

/// How long to wait for somebody else who has the claim of the chunk at the front.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// The fronts of all uploads on their way.
#[derive(Clone)]
pub(super) struct Fronts {
    by_upload: Arc<Mutex<HashMap<UploadId, Front>>>,
    sessions: Sessions,
    stores: Stores,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
}

/// Where the front of one upload is. `offset` is always at the start of a chunk, or at the end of the file.
#[derive(Debug, Clone, Default)]
struct Front {
    sha256: Sha256State,
    offset: u64,
    withdrawals: u64,
    kept: u64,
    following: Following,
    /// When it was looked at last, as the process has been running.
    used: Duration,
}

/// One follower at most reads an upload's early chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Following {
    #[default]
    No,
    Yes,
    /// Something arrived since the follower looked last.
    YesLookAgain,
}

/// Where a chunk is read from again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// What is staged. A damaged chunk is asked for again; the fence is that of whoever finishes the upload.
    Staged(Option<i64>),
    /// The whole blob, which does not change any more.
    Whole,
}

/// The right of a chunk that begins at the front to be hashed on its way in.
#[derive(Debug, Clone)]
pub(super) struct Lead {
    pub(super) sha256: Sha256State,
    offset: u64,
    withdrawals: u64,
}

impl Lead {
    /// The lead after its chunk's bytes went by.
    pub(super) fn with(self, sha256: Sha256State) -> Self {
        Self { sha256, ..self }
    }
}

impl Fronts {
    pub(super) fn new(sessions: Sessions, stores: Stores, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        Self { by_upload: Arc::default(), sessions, stores, clock, tasks }
    }

    /// A new upload: its front is at its start.
    pub(super) fn begin(&self, id: UploadId) {
        self.lock().insert(id, Front { used: self.clock.uptime(), ..Front::default() });
    }

    /// The upload has ended.
    pub(super) fn forget(&self, id: UploadId) {
        self.lock().remove(&id);
    }

    /// Forgets uploads that this process has not heard of for longer than `idle`: another one may have ended them.
    /// What is needed again is loaded again.
    pub(super) fn forget_idle(&self, idle: Duration) {
        let now = self.clock.uptime();
        self.lock()
            .retain(|_, front| front.following != Following::No || now.saturating_sub(front.used) <= idle);
    }

    /// A lead, if the front stands at `offset`, as far as this process knows.
    pub(super) async fn lead(&self, upload: &Upload, offset: u64) -> Result<Option<Lead>> {
        // Another process may have come this far; it has told nobody of less than a checkpoint. A follower would find
        // it out by itself.
        let may_be_kept = offset == 0 || offset >= CHECKPOINT_BYTES;
        if may_be_kept && !self.reads_staged(upload) && !self.lock().contains_key(&upload.id) {
            self.load(upload).await?;
        }
        let mut fronts = self.lock();
        let Some(front) = fronts.get_mut(&upload.id) else { return Ok(None) };
        front.used = self.clock.uptime();
        let here = front.offset == offset && front.withdrawals == upload.withdrawals;
        Ok(here.then(|| Lead { sha256: front.sha256.clone(), offset, withdrawals: front.withdrawals }))
    }

    /// How many bytes are hashed: as this process knows, or as whoever hashes them has kept.
    pub(super) async fn position(&self, upload: &Upload) -> Result<u64> {
        let here = self.lock().get(&upload.id).map(|front| front.offset);
        if let Some(here) = here.filter(|_| self.reads_staged(upload)) {
            return Ok(here); // nobody else hashes it
        }
        Ok(self.sessions.progress(upload.id, upload.total_size).await?.max(here.unwrap_or(0)))
    }

    /// A chunk was journalled; it led if `lead` has its bytes. Moves the front on, in the background where
    /// bytes have to be read back.
    pub(super) fn chunk_arrived(&self, upload: &Upload, lead: Option<Lead>) {
        if let Some(lead) = lead {
            let end = (lead.offset + upload.chunk_size).min(upload.total_size);
            self.advance(upload.id, lead.offset, lead.withdrawals, lead.sha256, end);
        }
        if self.reads_staged(upload) {
            self.follow(upload);
        }
    }

    /// Chunks were withdrawn, `withdrawals` in all by now: what was hashed may not hold. The next to need the
    /// front loads it from the checkpoint that the journal has kept.
    pub(super) fn rewind(&self, id: UploadId, withdrawals: u64) {
        let mut fronts = self.lock();
        if fronts.get(&id).is_some_and(|front| front.withdrawals < withdrawals) {
            fronts.remove(&id);
        }
    }

    /// The SHA-256 of the whole file, of which every chunk must be there.
    ///
    /// # Errors
    /// `UploadIncomplete` if a chunk's bytes turned out not to be what its receipt says; it was withdrawn.
    pub(super) async fn finish(&self, upload: &Upload, fence: i64) -> Result<[u8; 32]> {
        loop {
            let front = self.load(upload).await?;
            if front.offset == upload.total_size {
                return Ok(front.sha256.finish());
            }
            // The follower may be at work too; whoever is later finds the front moved on, and starts from there.
            if !self.step(upload, Source::Staged(Some(fence))).await? {
                tokio::time::sleep(LOOK_AGAIN_AFTER).await; // a damaged chunk is claimed by another: no event tells when it is free
            }
        }
    }

    /// The SHA-256 of the whole file, if the front got to its end, here or elsewhere, without anything being read again.
    pub(super) async fn known(&self, upload: &Upload) -> Result<Option<[u8; 32]>> {
        let front = self.load_furthest(upload).await?;
        Ok((front.offset == upload.total_size).then(|| front.sha256.finish()))
    }

    /// The SHA-256 of the whole file, which the store has put together. Reads what no front has seen; can be broken off
    /// anywhere, and goes on from the last checkpoint. What is learned is kept, for whoever comes with another digest.
    ///
    /// # Errors
    /// `Unavailable` if the store breaks off; `Internal` if its bytes are not those of the receipts.
    pub(super) async fn read_whole(&self, upload: &Upload) -> Result<[u8; 32]> {
        let mut front = self.load_furthest(upload).await?;
        while front.offset < upload.total_size {
            self.step(upload, Source::Whole).await?;
            front = self.load(upload).await?;
        }
        let end = Checkpoint { offset: front.offset, state: front.sha256.to_bytes() };
        self.sessions.keep_checkpoint(upload.id, end, front.withdrawals).await?;
        Ok(front.sha256.finish())
    }

    /// Starts the follower unless it is at work.
    fn follow(&self, upload: &Upload) {
        let (fronts, upload) = (self.clone(), upload.clone());
        match self.lock().get_mut(&upload.id) {
            Some(front) if front.following != Following::No => {
                front.following = Following::YesLookAgain;
                return;
            }
            Some(front) if front.offset == upload.total_size => return,
            Some(front) => front.following = Following::Yes,
            // Not seen in this process yet: of all who ask meanwhile one is to follow.
            None => {
                self.tasks.spawn("load front", async move {
                    match fronts.load(&upload).await {
                        Ok(_) => fronts.follow(&upload),
                        Err(error) => {
                            tracing::warn!(upload.id = %upload.id, %error, "a front was not loaded: {error}");
                        }
                    }
                });
                return;
            }
        }
        self.tasks.spawn("follow front", async move {
            loop {
                let stepped = fronts.step(&upload, Source::Staged(None)).await;
                if let Err(error) = &stepped {
                    tracing::warn!(upload.id = %upload.id, %error, "the front of upload {} stopped", upload.id);
                }
                let moved = matches!(stepped, Ok(moved) if moved) && !fronts.tasks.stopping().is_cancelled();
                let mut all = fronts.lock();
                match all.get_mut(&upload.id) {
                    Some(front) if moved || front.following == Following::YesLookAgain => {
                        front.following = Following::Yes;
                    }
                    Some(front) => {
                        front.following = Following::No;
                        return;
                    }
                    None => return,
                }
            }
        });
    }

    /// Reads back the chunks that stand at the front, as many as one look into the journal tells. Whether the
    /// front moved.
    async fn step(&self, upload: &Upload, source: Source) -> Result<bool> {
        let front = self.load(upload).await?;
        if front.offset >= upload.total_size {
            return Ok(false);
        }
        let first = u32::try_from(front.offset / upload.chunk_size).unwrap_or(u32::MAX);
        let receipts = self.sessions.receipts(upload.id, first, RECEIPTS_AT_ONCE).await?;
        let Front { mut sha256, mut offset, withdrawals, .. } = front;
        let begun_at = offset;
        for (receipt, index) in receipts.iter().zip(first..) {
            if receipt.index != ChunkIndex::new(index) {
                break;
            }
            let (store, see) =
                (self.stores.named(&upload.store)?.as_ref(), |frame: &[u8]| sha256.update(frame));
            match source {
                Source::Staged(fence) => {
                    if !read_back(store, upload, receipt, see).await? {
                        return self.damaged(upload, receipt, withdrawals, fence).await;
                    }
                }
                Source::Whole => {
                    if !read_whole(store, upload, receipt, see).await? {
                        let why =
                            format!("chunk {index} of upload {} is not what its receipt says", upload.id);
                        return Err(Error::internal("the file is damaged in the store", why));
                    }
                }
            }
            let end = offset + receipt.size;
            if !self.advance(upload.id, offset, withdrawals, sha256.clone(), end) {
                return Ok(true); // somebody else moved it: look again from there
            }
            offset = end;
            if source != Source::Staged(None) {
                self.sessions.signals().moved(upload.id, offset);
                failpoint::hit("finish.read_back");
            }
        }
        if source != Source::Staged(None) && offset == begun_at && offset < upload.total_size {
            let detail = format!("chunk {first} of upload `{}` is missing", upload.id);
            return Err(Error::new(Code::UploadIncomplete, detail));
        }
        Ok(offset > begun_at)
    }

    /// A chunk's bytes are not what its receipt says: it was withdrawn while it was read, or the store has
    /// damaged it. The latter is withdrawn here, so that the client is asked for it again; under the chunk's
    /// claim, or the receipt might be that of a sender who has just put it right.
    async fn damaged(
        &self,
        upload: &Upload,
        receipt: &Receipt,
        seen: u64,
        fence: Option<i64>,
    ) -> Result<bool> {
        let Some(_claim) = self.sessions.claim(upload.id, receipt.index).await else {
            return Ok(false); // its next arrival, or the end of the upload, looks again
        };
        let (id, index) = (upload.id, receipt.index);
        let current = self.sessions.load(&upload.tenant, id).await?;
        if current.is_none_or(|current| current.withdrawals != seen) {
            self.rewind(id, seen + 1);
            return Ok(true);
        }
        let withdrawn = self.sessions.withdraw(id, index, fence, self.clock.now()).await?;
        let Withdrawn::Done { withdrawals } = withdrawn else {
            // Who finishes it must not wait for what is not theirs any more.
            let lost = || {
                Error::new(Code::Unavailable, format!("the end of upload `{id}` was taken over; ask again"))
            };
            return if fence.is_some() { Err(lost()) } else { Ok(false) }; // it has ended, and its bytes with it
        };
        self.rewind(id, withdrawals);
        tracing::error!(
            upload.id = %id, chunk.index = %index,
            "chunk {index} of upload {id} is damaged in the store: withdrew it, the client will be asked for it again"
        );
        let detail = format!("chunk {index} of upload `{id}` is damaged in the store; send it again");
        Err(Error::new(Code::UploadIncomplete, detail))
    }

    /// The front, from the last checkpoint if this process has not seen it yet, or not since the withdrawals
    /// that `upload` knows of.
    async fn load(&self, upload: &Upload) -> Result<Front> {
        self.rewind(upload.id, upload.withdrawals);
        if let Some(front) = self.lock().get(&upload.id) {
            return Ok(front.clone());
        }
        // Withdrawals are read before the checkpoint: one that happens in between leaves a front that is too
        // old, which the line above removes for whoever knows of it; who finishes the upload always does.
        let current = self.sessions.load(&upload.tenant, upload.id).await?;
        let withdrawals = current.map_or(upload.withdrawals, |current| current.withdrawals);
        let kept = self.sessions.checkpoint(upload.id, upload.total_size).await?;
        let state = kept.and_then(|kept| Some((kept.offset, Sha256State::from_bytes(&kept.state)?)));
        let (offset, sha256) = state.unwrap_or_default();
        let mut fronts = self.lock();
        let following = fronts.get(&upload.id).map_or(Following::No, |front| front.following);
        let front = Front { sha256, offset, withdrawals, kept: offset, following, used: self.clock.uptime() };
        let known = fronts.entry(upload.id).or_insert_with(|| front.clone());
        if known.withdrawals < front.withdrawals {
            *known = front;
        }
        Ok(known.clone())
    }

    /// [`Fronts::load`]; or the checkpoint that another process has kept meanwhile, if that is further.
    async fn load_furthest(&self, upload: &Upload) -> Result<Front> {
        let front = self.load(upload).await?;
        let kept = self.sessions.checkpoint(upload.id, upload.total_size).await?;
        let further = kept.filter(|kept| kept.offset > front.offset);
        let Some((offset, sha256)) =
            further.and_then(|kept| Some((kept.offset, Sha256State::from_bytes(&kept.state)?)))
        else {
            return Ok(front);
        };
        let front = Front { sha256, offset, kept: offset, ..front };
        self.lock().insert(upload.id, front.clone());
        Ok(front)
    }

    /// Moves the front from `from` to `to`, if it still is where it was; keeps a checkpoint every 64 MiB.
    fn advance(&self, id: UploadId, from: u64, withdrawals: u64, sha256: Sha256State, to: u64) -> bool {
        let mut fronts = self.lock();
        let Some(front) = fronts.get_mut(&id) else { return false };
        if front.offset != from || front.withdrawals != withdrawals {
            return false;
        }
        front.offset = to;
        if to - front.kept >= CHECKPOINT_BYTES {
            front.kept = to;
            let checkpoint = Checkpoint { offset: to, state: sha256.to_bytes() };
            let sessions = self.sessions.clone();
            self.tasks.spawn("keep checkpoint", async move {
                if let Err(error) = sessions.keep_checkpoint(id, checkpoint, withdrawals).await {
                    tracing::warn!(upload.id = %id, %error, "a checkpoint of upload {id} was not kept");
                }
            });
        }
        front.sha256 = sha256;
        drop(fronts);
        self.sessions.signals().changed(id);
        true
    }

    /// Whether chunks that came early can be read before the upload's end.
    fn reads_staged(&self, upload: &Upload) -> bool {
        self.stores.named(&upload.store).is_ok_and(|store| store.reads_staged())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Front>> {
        self.by_upload.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
