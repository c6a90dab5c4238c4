//! What a loss of power may have taken: receipts whose bytes were not flushed before the machine went down.
//!
//! The kernel names each of its runs. A receipt of an earlier run that was not flushed is suspect: its bytes
//! are read back and compared before it counts. Done once per upload and process, at the first touch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;

use super::UploadService;
use crate::base::crc::Crc64Hasher;
use crate::base::{ByteRange, Result, UploadId};
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
    /// the caller knows: a chunk was withdrawn, or its end has begun meanwhile. `fence` is that of the caller's claim on the upload's end, if it has one; where somebody else has it, it is for them
    /// to look.
    pub(super) async fn settle_suspects(&self, upload: &Upload, fence: Option<i64>) -> Result<bool> {
        if upload.state != UploadState::Receiving && fence.is_none() {
            return Ok(false);
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
        if self.is_intact(upload, receipt).await? {
            self.sessions.vouch(upload.id, receipt).await?;
            return Ok(Settled::Intact);
        }
        match self.withdraw(upload, receipt.index, fence).await? {
            Withdrawn::Done { .. } | Withdrawn::NoReceipt => Ok(Settled::Withdrawn),
            Withdrawn::Refused(_) | Withdrawn::Missing => Ok(Settled::StateChanged),
        }
    }

    async fn is_intact(&self, upload: &Upload, receipt: &Receipt) -> Result<bool> {
        let start = u64::from(receipt.index.get()) * upload.chunk_size;
        let Some(range) = ByteRange::new(start, start + receipt.size) else { return Ok(true) };
        let Some(mut bytes) = self.store.read_staged(&upload.key, &upload.parts, range).await? else {
            return Ok(false);
        };
        let mut crc64 = Crc64Hasher::default();
        while let Some(frame) = bytes.next().await {
            let Ok(frame) = frame else { return Ok(false) };
            crc64.update(&frame);
            tokio::task::yield_now().await;
        }
        Ok(crc64.finish() == receipt.crc64)
    }
}
