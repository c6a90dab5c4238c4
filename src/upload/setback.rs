//! What becomes of an upload whose end failed: it takes chunks again, stays as it is put together, waits for whoever
//! comes next, or is lost with its bytes.
//!
//! The rule: once the store was told to put the bytes together, nothing leads back to chunks, except the store's own
//! word that it has not done so because some of them differ. Called by `finish`, and by `chunk` for bytes that are lost.

use std::time::Duration;

use super::plan;
use super::suspects::Settled;
use super::{UploadService, not_found};
use crate::base::error::Class;
use crate::base::{ChunkIndex, Code, Error, Result};
use crate::blob::{BlobErrorKind, PartStore, PartTag};
use crate::db::parts::Withdrawn;
use crate::db::uploads::{Released, Upload, UploadState};
use crate::telemetry::metrics;

/// How many receipts are looked at in one go.
const RECEIPTS_AT_ONCE: u32 = 1_000;

/// A store that refuses parts which it says it has is asked once more after this long.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What to think of a store that refuses parts and finds nothing wrong with any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// It may be a moment's fault.
    Ask,
    /// It means it.
    Believe,
}

/// Why an end failed, and so where it leaves the upload.
#[derive(Debug)]
pub(super) enum Setback {
    /// Chunks are asked for again, or can be replaced.
    Reopened(Error),
    /// The bytes are put together and stay as they are, invisible.
    Sealed(Error),
    /// It will pass: the next to come goes on from here.
    Passing(Error),
    /// The store has dropped the bytes.
    Lost,
}

impl Setback {
    /// What `error` leads to; `together` is whether the bytes are, or may be, put together for good.
    pub(super) fn of(error: Error, together: bool) -> Self {
        match error.code() {
            // Receipts are withdrawn under a claim only when the store has said that it put nothing together.
            Code::UploadIncomplete => Self::Reopened(error),
            _ if !together => Self::Reopened(error),
            code if matches!(code.class(), Class::Unavailable | Class::StorageFull) => Self::Passing(error),
            _ => Self::Sealed(error),
        }
    }
}

impl UploadService {
    /// Lets the claim go as `setback` says. What to tell the client; `None` if the claim was somebody else's by then.
    pub(super) async fn step_back(
        &self,
        upload: &Upload,
        fence: i64,
        setback: Setback,
    ) -> Result<Option<Error>> {
        let (id, now) = (upload.id, self.clock.now());
        let expires_at = plan::expires_at(upload.created_at, now, self.rules.idle_ttl, self.rules.max_age);
        let (error, to) = match setback {
            Setback::Reopened(error) => (error, Released::Receiving),
            Setback::Sealed(error) => (error, Released::Sealed { expires_at }),
            Setback::Passing(error) => {
                let mine = self.sessions.yield_finish(id, fence, error.detail(), now).await?;
                return Ok(mine.then_some(error));
            }
            Setback::Lost => return self.lose(upload, Some(fence)).await,
        };
        let mine = self.sessions.release_finish(id, fence, to, error.detail(), now).await?;
        Ok(mine.then_some(error))
    }

    /// Has the store put the bytes together.
    pub(super) async fn put_together(
        &self,
        upload: &Upload,
        fence: i64,
        tags: &[PartTag],
    ) -> Result<(), Setback> {
        let store = self.store_of(upload).map_err(|error| Setback::of(error, upload.sealing))?;
        let for_good = !store.reads_staged();
        if for_good && !upload.sealing {
            let noted = self.sessions.set_sealing(upload.id, fence).await;
            if !noted.map_err(Setback::Reopened)? {
                return Err(Setback::Passing(taken_over(upload)));
            }
        }
        let mut doubt = Doubt::Ask;
        loop {
            let done = store.complete(&upload.key, &upload.parts, upload.total_size, tags).await;
            match done.map_err(|error| (error.kind(), error)) {
                Ok(_) => return Ok(()),
                Err((BlobErrorKind::Incomplete, _)) => {
                    if let Some(setback) = self.ask_again(store.as_ref(), upload, fence, tags, doubt).await {
                        return Err(setback);
                    }
                    tokio::time::sleep(REFUSED_AGAIN_AFTER).await;
                    doubt = Doubt::Believe;
                }
                Err((BlobErrorKind::Gone, _)) => return Err(Setback::Lost),
                Err((_, error)) => return Err(Setback::of(error.into(), for_good)),
            }
        }
    }

    /// The store has not all bytes that the receipts speak of: the receipts that are wrong are withdrawn. `None` if the
    /// store finds none that is, and is to be asked once more.
    async fn ask_again(
        &self,
        store: &dyn PartStore,
        upload: &Upload,
        fence: i64,
        tags: &[PartTag],
        doubt: Doubt,
    ) -> Option<Setback> {
        let mut differing = match store.differing(&upload.key, &upload.parts, tags).await {
            Ok(Some(differing)) => differing,
            Ok(None) => {
                let found = self.find_damage(upload, fence).await;
                return Some(found.map_or_else(Setback::Reopened, Setback::Reopened));
            }
            Err(error) if error.kind() == BlobErrorKind::Gone => return Some(Setback::Lost),
            Err(error) => return Some(Setback::of(error.into(), true)),
        };
        if differing.is_empty() {
            if doubt == Doubt::Ask {
                return None;
            }
            // Garage does so when it stood still in the middle of a part that was then sent a second time. Which one it
            // was nobody tells: parts that are all sent again are all well.
            differing = (0..upload.chunk_count).map(ChunkIndex::new).collect();
        }
        tracing::error!(
            upload.id = %upload.id, chunks = differing.len(),
            "{} chunks of upload {} are not in the store as their receipts say: withdrawing them", differing.len(), upload.id
        );
        for index in differing {
            match self.withdraw(upload, index, Some(fence)).await {
                Ok(Withdrawn::Done { .. } | Withdrawn::NoReceipt) => {}
                Ok(Withdrawn::Refused(_) | Withdrawn::Missing) => {
                    return Some(Setback::Passing(taken_over(upload)));
                }
                Err(error) => return Some(Setback::of(error, true)),
            }
        }
        Some(Setback::Reopened(damaged(upload)))
    }

    /// Every chunk is read back, damaged ones are withdrawn. Answers what to tell the client.
    pub(super) async fn find_damage(&self, upload: &Upload, fence: i64) -> Result<Error> {
        tracing::error!(upload.id = %upload.id, "the staged bytes of upload {} are damaged: reading all of them back", upload.id);
        let mut next = 0;
        loop {
            let receipts = self.sessions.receipts(upload.id, next, RECEIPTS_AT_ONCE).await?;
            let Some(last) = receipts.last() else { break };
            next = last.index.get().saturating_add(1);
            for receipt in &receipts {
                if self.settle(upload, receipt, Some(fence)).await? == Settled::StateChanged {
                    return Ok(taken_over(upload));
                }
            }
        }
        Ok(damaged(upload))
    }

    /// Ends an upload whose bytes the store has dropped; `fence` is that of the caller's claim on its end, if they have
    /// one. What to tell the client; `None` if it has changed meanwhile.
    pub(super) async fn lose(&self, upload: &Upload, fence: Option<i64>) -> Result<Option<Error>> {
        let now = self.clock.now();
        let Some(lost) = self.sessions.lose(upload, fence, plan::DROPPED, now).await? else {
            return Ok(None);
        };
        tracing::error!(
            upload.id = %upload.id, store = upload.store,
            "the store has dropped the parts of upload {}: does a lifecycle rule end uploads too early?", upload.id
        );
        metrics::upload("expired");
        self.fronts.forget(upload.id); // what may be left in the store is the sweeper's
        Ok(Some(plan::gone(&lost, UploadState::Expired)))
    }

    /// What to tell a client whose chunk the store did not take because it does not know the upload any more.
    pub(super) async fn refuse_lost(&self, upload: &Upload) -> Error {
        match self.lose(upload, None).await {
            Ok(Some(error)) | Err(error) => error,
            // Its end came while the chunk was on its way.
            Ok(None) => match self.sessions.load(&upload.tenant, upload.id).await {
                Ok(Some(now)) => {
                    plan::takes_chunks(&now, self.clock.now()).err().unwrap_or_else(|| taken_over(upload))
                }
                Ok(None) => not_found(upload.id),
                Err(error) => error,
            },
        }
    }
}

/// Somebody else has a newer claim.
pub(super) fn taken_over(upload: &Upload) -> Error {
    let detail = format!("another node has taken over the end of upload `{}`; ask again", upload.id);
    Error::new(Code::Unavailable, detail)
}

fn damaged(upload: &Upload) -> Error {
    let detail =
        format!("chunks of upload `{}` were damaged in the store; send what is missing again", upload.id);
    Error::new(Code::UploadIncomplete, detail)
}
