//! Asking for an upload's end: one works, others wait, and nobody waits for longer than [`Rules::finalize_wait`].
//!
//! The work is in `finish`, in a task of its own: it goes on when whoever asked has left, or was told to ask
//! again. Called by `http` and the sweeper.
//!
//! [`Rules::finalize_wait`]: super::Rules::finalize_wait

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::{Status, UploadService};
use crate::base::digest::{Algorithm, Checksum};
use crate::base::principal::Scope;
use crate::base::{Error, Principal, Result, UploadId};
use crate::config::ChecksumPolicy;
use crate::db::uploads::{Upload, UploadState};
use crate::files::File;

/// A claim on an end that another node has may have lapsed without a signal: it is tried again after this long.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What came of the wish to finalize.
#[derive(Debug, Clone)]
pub enum Finalized {
    /// It is a file.
    Done(Box<Finished>),
    /// Somebody is at work on it; ask again. The upload as it is meanwhile.
    Working(Box<Status>),
}

/// The file that an upload became.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The file.
    pub file: File,
    /// This call made it; `false` when it was there already, or made for one who asked before.
    pub created: bool,
}

/// How far the work on an upload's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishProgress {
    /// Bytes whose digests are known. When all are, what is left is to flush and to publish them.
    pub done_bytes: u64,
    /// Bytes of the file.
    pub total_bytes: u64,
}

/// Who is finishing what in this process. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<UploadId, Arc<tokio::sync::Mutex<()>>>>>);

/// The right to work on an upload's end in this process.
struct Turn {
    _guard: OwnedMutexGuard<()>,
    _place: Place,
}

/// A place in the queue for it; who leaves last takes the queue away.
struct Place {
    flights: Flights,
    id: UploadId,
    queue: Arc<tokio::sync::Mutex<()>>,
}

impl Flights {
    /// Waits for the others to end. Cancel-safe.
    async fn turn(&self, id: UploadId) -> Turn {
        let queue = Arc::clone(self.lock().entry(id).or_default());
        let place = Place { flights: self.clone(), id, queue };
        let guard = Arc::clone(&place.queue).lock_owned().await;
        Turn { _guard: guard, _place: place }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // Only the map and this place hold it: nobody waits.
        if Arc::strong_count(&self.queue) <= 2 {
            flights.remove(&self.id);
        }
    }
}

impl UploadService {
    /// Makes the upload a file: all chunks must be there, every declared digest must hold. Can be repeated, at
    /// the same time too: one file, the same answer. Answers in time; the work goes on in its task. A failure
    /// that nobody waited for is told by the upload's `error`, and by asking again: what was hashed is kept, so
    /// that a digest that differs is told at once then.
    ///
    /// # Errors
    /// `UploadIncomplete` `{ missing, missing_count }`; `ChecksumMismatch` `{ …, chunks_replaceable }`: the session
    /// stays, and either chunks can be replaced, or it is `sealed` and can be finalized with another digest;
    /// `UnsupportedMediaType` where an upload token is for other types; `UploadNotFound`, `UploadGone`.
    pub async fn finalize(
        self: &Arc<Self>,
        who: &Principal,
        id: UploadId,
        declared: Option<Checksum>,
    ) -> Result<Finalized> {
        who.require(Scope::Upload)?;
        self.reach(who, id).await?;
        let finishing = self.finish_anywhere(who, id, declared);
        if let Ok(finished) = tokio::time::timeout(self.rules.finalize_wait, finishing).await {
            return Ok(Finalized::Done(Box::new(finished?)));
        }
        let mut status = self.describe(who, id).await?;
        if let Some(file) = status.file.take() {
            return Ok(Finalized::Done(Box::new(Finished { file, created: false })));
        }
        if status.upload.state != UploadState::Finalizing {
            // It is about to be claimed; or it has failed this moment, which asking again tells.
            status.upload.state = UploadState::Finalizing;
            status.progress = Some(self.finish_progress(&status.upload).await?);
        }
        Ok(Finalized::Working(Box::new(status)))
    }

    /// Goes on with an end that broke off, in a task of its own that has `slot` for as long as it works. Waits for it no
    /// longer than a client would.
    pub(super) async fn go_on(self: &Arc<Self>, upload: &Upload, slot: OwnedSemaphorePermit) -> Result<()> {
        let (service, upload) = (Arc::clone(self), upload.clone());
        let working = self.tasks.spawn("go on with an end", async move {
            let who = Principal::service(upload.tenant);
            let finished = service.finish_in_turn(&who, upload.id, upload.finish_checksum).await;
            drop(slot);
            finished.map(drop)
        });
        match tokio::time::timeout(self.rules.finalize_wait, working).await {
            Ok(joined) => joined.map_err(|error| Error::internal("finalizing broke off", error))?,
            Err(_) => Ok(()),
        }
    }

    /// Where another node is at work on it, waits until that has come to an end, and says what came of it.
    async fn finish_anywhere(
        self: &Arc<Self>,
        who: &Principal,
        id: UploadId,
        declared: Option<Checksum>,
    ) -> Result<Finished> {
        loop {
            if let Some(finished) = self.finish_in_turn(who, id, declared).await? {
                return Ok(finished);
            }
            // Where too many watch already it is looked for all the same.
            let mut watcher = self.sessions.signals().watch(id).ok();
            let begun = Instant::now();
            while begun.elapsed() < TRY_AGAIN_AFTER
                && self.find(who, id).await?.state == UploadState::Finalizing
            {
                let pause = self.sessions.look_every().min(TRY_AGAIN_AFTER);
                match &mut watcher {
                    Some(watcher) => drop(tokio::time::timeout(pause, watcher.changed()).await),
                    None => tokio::time::sleep(pause).await,
                }
            }
        }
    }

    /// Only who has the turn has a task, so that asking again and again makes no more of them.
    async fn finish_in_turn(
        self: &Arc<Self>,
        who: &Principal,
        id: UploadId,
        declared: Option<Checksum>,
    ) -> Result<Option<Finished>> {
        let turn = self.flights.turn(id).await;
        let (service, who) = (Arc::clone(self), who.clone());
        let finishing = self.tasks.spawn("finalize", async move {
            let finished = Box::pin(service.finish(&who, id, declared)).await;
            drop(turn);
            finished
        });
        finishing.await.map_err(|error| Error::internal("finalizing broke off", error))?
    }

    /// How far the work is, whoever does it.
    pub(super) async fn finish_progress(&self, upload: &Upload) -> Result<FinishProgress> {
        let total_bytes = upload.total_size;
        if !self.needs_sha256(upload, upload.finish_checksum)? {
            return Ok(FinishProgress { done_bytes: total_bytes, total_bytes });
        }
        Ok(FinishProgress { done_bytes: self.fronts.position(upload).await?, total_bytes })
    }

    /// Whether the file's SHA-256 must be known to finish it as `declared`. Where all bytes would have to be fetched
    /// again for it, only if somebody asked for it.
    pub(super) fn needs_sha256(&self, upload: &Upload, declared: Option<Checksum>) -> Result<bool> {
        let is_sha256 = |checksum: Checksum| checksum.algorithm() == Algorithm::Sha256;
        Ok(match self.rules.checksum {
            ChecksumPolicy::Sha256 => true,
            ChecksumPolicy::Auto if self.store_of(upload)?.reads_staged() => true,
            _ => upload.checksum.is_some_and(is_sha256) || declared.is_some_and(is_sha256),
        })
    }
}
