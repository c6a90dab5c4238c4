//! What a loss of power may have taken: receipts whose bytes were not flushed before the machine went down.
//!
//! The kernel names each of its runs. A receipt of an earlier run that was not flushed is suspect: its bytes
//! are read back and compared before it counts. Done once per upload and process, at the first touch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::UploadService;
use super::read_back::read_back;
use crate::base::{Result, UploadId};
use crate::db::parts::{Receipt, Withdrawn};
use crate::db::uploads::{Upload, UploadState};

/// How many receipts are asked for at once.
const SUSPECTS_AT_ONCE: u32 = 256;

/// Uploads whose receipts need no second look in this process.
#[derive(Debug, Default)]
pub(super) struct Vouched(Mutex<HashMap<UploadId, Arc<tokio::sync::Mutex<bool>>>>);

impl Vouched {
    /// This upload began in this run of the kernel.
    pub(super) fn add(&self, id: UploadId) {
        self.lock().insert(id, Arc::new(tokio::sync::Mutex::new(true)));
    }

    /// The upload has ended.
    pub(super) fn remove(&self, id: UploadId) {
        self.lock().remove(&id);
    }

    fn of(&self, id: UploadId) -> Arc<tokio::sync::Mutex<bool>> {
        Arc::clone(self.lock().entry(id).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<tokio::sync::Mutex<bool>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a receipt that was looked at once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// The bytes are there.
    Intact,
    /// They are not; the client will be asked for them.
    Withdrawn,
    /// They are not, but the receipt could not be withdrawn: the upload's end has begun, or come.
    StateChanged,
}

impl UploadService {
    /// Looks through the upload's suspects, if that was not done yet. Whether the upload is not any more what
    /// the caller knows: a chunk was withdrawn, or its end has begun meanwhile. `fence` is that of the caller's
    /// claim on the upload's end, if it has one; where somebody else has it, it is for them to look.
    pub(super) async fn settle_suspects(&self, upload: &Upload, fence: Option<i64>) -> Result<bool> {
        if upload.state != UploadState::Receiving && fence.is_none() {
            return Ok(false);
        }
        if !self.store_of(upload)?.reads_staged() {
            return Ok(false); // what such a store has answered for, it keeps
        }
        let vouched = self.vouched.of(upload.id);
        let mut vouched = vouched.lock().await;
        if *vouched {
            return Ok(false);
        }
        let mut next = 0;
        let mut withdrawn = 0_u32;
        loop {
            let suspects = self.sessions.suspects(upload.id, next, SUSPECTS_AT_ONCE).await?;
            let Some(last) = suspects.last() else { break };
            next = last.index.get().saturating_add(1);
            for receipt in &suspects {
                match self.settle(upload, receipt, fence).await? {
                    Settled::Intact => {}
                    Settled::Withdrawn => withdrawn += 1,
                    // Whoever changed the upload's state looks through the suspects themselves.
                    Settled::StateChanged => return Ok(true),
                }
            }
        }
        if withdrawn > 0 {
            tracing::warn!(
                upload.id = %upload.id, chunks = withdrawn,
                "{withdrawn} chunks of upload {} did not survive: the client will be asked for them again", upload.id
            );
        }
        *vouched = true;
        Ok(withdrawn > 0)
    }

    /// Reads one chunk back, and withdraws it if its bytes are not what the receipt says. `fence` is that of
    /// the caller's claim on the upload's end, if it has one.
    pub(super) async fn settle(
        &self,
        upload: &Upload,
        receipt: &Receipt,
        fence: Option<i64>,
    ) -> Result<Settled> {
        if read_back(self.store_of(upload)?.as_ref(), upload, receipt, |_| {}).await? {
            self.sessions.vouch(upload.id, receipt).await?;
            return Ok(Settled::Intact);
        }
        match self.withdraw(upload, receipt.index, fence).await? {
            Withdrawn::Done { .. } | Withdrawn::NoReceipt => Ok(Settled::Withdrawn),
            Withdrawn::Refused(_) | Withdrawn::Missing => Ok(Settled::StateChanged),
        }
    }
}
