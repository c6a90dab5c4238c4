//! What is known of an upload on its way: its row, its journal of receipts, and who is writing now.
//!
//! The journal in the database is the truth; the commit of a receipt is the acknowledgement. Claims are kept
//! in the process, and among nodes in Redis: one writer per chunk. Each method here is one read or one transaction. What a state allows
//! is not decided here: that is `upload`'s.

mod claims;
mod copy;
mod ends;
mod nodes;
mod outbox;
mod scripts;
mod sharing;
mod signals;
mod whole;

#[cfg(test)]
mod tests;

pub use claims::{Claim, Claims};
pub use ends::FINISH_CLAIM_TTL;
pub use signals::{Signals, Watcher};
pub use whole::{Announced, Publication};

use std::sync::Arc;

use uuid::Uuid;

use self::nodes::Nodes;

use crate::base::grant::{Grant, TypePattern};
use crate::base::{ChunkIndex, Error, Result, TenantId, Timestamp, TokenId, UploadId};
use crate::db::checkpoints::{self, Checkpoint};
use crate::db::idempotency_keys::{self, Answered};
use crate::db::parts::{self, Receipt, Recorded, Withdrawn};
use crate::db::uploads::{self, Upload, UploadFilter};
use crate::db::usage::{Admission, Limits};
use crate::db::{Commit, Db, Urgency, stores, upload_tokens};

/// The sessions. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Sessions {
    db: Db,
    claims: Claims,
    signals: Signals,
    nodes: Option<Nodes>,
    node: Uuid,
    boot: Uuid,
}

/// A place in the list of uploads: the last one seen.
pub type After = Option<(Timestamp, UploadId)>;

impl Sessions {
    /// Sessions of all stores. `boot` names this run of the kernel: what an earlier one acknowledged without
    /// flushing may be lost.
    pub fn new(db: Db, boot: Uuid) -> Self {
        let (claims, signals) = (Claims::default(), Signals::default());
        Self { db, claims, signals, nodes: None, node: Uuid::new_v4(), boot }
    }

    /// Who waits for news of which upload. Every change here is signaled.
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// This run of the kernel.
    pub fn boot(&self) -> Uuid {
        self.boot
    }

    /// Opens a session and keeps what was `answered`, if its tenant stays within `limits`. `room` is what its store will still take, if it
    /// knows: what open sessions have been promised is taken off it, in the same transaction.
    ///
    /// # Errors
    /// `StorageFull` if the file does not fit beside what was promised to others; `IdempotencyConflict`; `Forbidden` where
    /// an upload token was for fewer files.
    pub async fn create(
        &self,
        upload: Upload,
        answered: Option<Answered>,
        room: Option<u64>,
        limits: Limits,
        grant: Option<Arc<Grant>>,
    ) -> Result<Admission> {
        let begun = upload.clone();
        let created = self
            .db
            .write(Urgency::Normal, move |c| {
                let (upload, answered) = (upload.clone(), answered.clone());
                let grant = grant.clone();
                Box::pin(async move {
                    if let Some(room) = room {
                        // Two that only fit one by one must not both pass.
                        stores::lock(c, &upload.store).await?;
                        let reserved = uploads::reserved_bytes(c, &upload.store).await?;
                        if upload.total_size > room.saturating_sub(reserved) {
                            return Err(no_room(upload.total_size));
                        }
                    }
                    let admission = uploads::insert(c, &upload, &limits).await?;
                    if admission != Admission::Granted {
                        return Ok(admission);
                    }
                    if let Some(answered) = &answered {
                        idempotency_keys::insert(c, answered).await?;
                    }
                    if let Some(grant) = grant {
                        upload_tokens::take(c, &upload.tenant, &grant).await?;
                        upload_tokens::begin(c, &upload.tenant, &grant, upload.id).await?;
                    }
                    Ok(admission)
                })
            })
            .await;
        if let (Some(nodes), Ok(Admission::Granted)) = (&self.nodes, &created) {
            nodes.keep_copy(&begun);
        }
        created
    }

    /// The session, as it is now.
    pub async fn load(&self, tenant: &TenantId, id: UploadId) -> Result<Option<Upload>> {
        let tenant = tenant.clone();
        self.db.read(move |c| Box::pin(async move { uploads::get(c, &tenant, id).await })).await
    }

    /// The token that began this session.
    pub async fn token_of(&self, tenant: &TenantId, id: UploadId) -> Result<Option<TokenId>> {
        let tenant = tenant.clone();
        self.db.read(move |c| Box::pin(async move { upload_tokens::of_upload(c, &tenant, id).await })).await
    }

    /// The media types that the file of this session may have; `None`: any.
    pub async fn content_types_of(
        &self,
        tenant: &TenantId,
        id: UploadId,
    ) -> Result<Option<Vec<TypePattern>>> {
        let tenant = tenant.clone();
        self.db
            .read(move |c| Box::pin(async move { upload_tokens::content_types(c, &tenant, id).await }))
            .await
    }

    /// The tenant's sessions as they are `now`, newest first.
    pub async fn list(
        &self,
        tenant: &TenantId,
        filter: UploadFilter,
        after: After,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Upload>> {
        let tenant = tenant.clone();
        self.db
            .read(move |c| {
                Box::pin(async move { uploads::list(c, &tenant, &filter, after, limit, now).await })
            })
            .await
    }

    /// Writes the receipt of a chunk: from here on it counts. Answers only when that is certain, however long
    /// it takes: the caller holds the chunk's claim until then.
    pub async fn record(
        &self,
        id: UploadId,
        receipt: Receipt,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Recorded> {
        let recorded = self
            .db
            .write_to_the_end(Urgency::Receipt, Commit::Normal, move |c| {
                let receipt = receipt.clone();
                Box::pin(async move { parts::record(c, id, &receipt, now, expires_at).await })
            })
            .await;
        self.signals.changed(id);
        recorded
    }

    /// Takes the receipt of a chunk back: it is missing from here on. Survives the loss of power, because other
    /// bytes will be written where it stood: a receipt that came back would speak for them.
    pub async fn withdraw(
        &self,
        id: UploadId,
        index: ChunkIndex,
        fence: Option<i64>,
        now: Timestamp,
    ) -> Result<Withdrawn> {
        let withdrawn = self
            .db
            .write_to_the_end(Urgency::Receipt, Commit::Durable, move |c| {
                Box::pin(async move { parts::withdraw(c, id, index, fence, now).await })
            })
            .await;
        self.signals.changed(id);
        withdrawn
    }

    /// The chunks that are there: inclusive ranges, ascending, at most `limit`.
    pub async fn received(&self, id: UploadId, limit: u32) -> Result<Vec<(u32, u32)>> {
        self.db.read(move |c| Box::pin(async move { parts::runs(c, id, limit).await })).await
    }

    /// Receipts from chunk `first` on, ascending, at most `limit`.
    pub async fn receipts(&self, id: UploadId, first: u32, limit: u32) -> Result<Vec<Receipt>> {
        self.db.read(move |c| Box::pin(async move { parts::from(c, id, first, limit).await })).await
    }

    /// Receipts from chunk `first` on whose bytes a loss of power may have taken, ascending, at most `limit`.
    pub async fn suspects(&self, id: UploadId, first: u32, limit: u32) -> Result<Vec<Receipt>> {
        let boot = self.boot;
        self.db
            .read(move |c| {
                Box::pin(async move { parts::unsynced_of_other_boot(c, id, boot, first, limit).await })
            })
            .await
    }

    /// The chunk was read back and is what its receipt says.
    pub async fn vouch(&self, id: UploadId, receipt: &Receipt) -> Result<bool> {
        let (index, crc64) = (receipt.index, receipt.crc64);
        self.db
            .write(Urgency::Background, move |c| {
                Box::pin(async move { parts::set_synced(c, id, index, crc64).await })
            })
            .await
    }

    /// The furthest SHA-256 checkpoint at or before byte `at_most`.
    pub async fn checkpoint(&self, id: UploadId, at_most: u64) -> Result<Option<Checkpoint>> {
        self.db.read(move |c| Box::pin(async move { checkpoints::latest(c, id, at_most).await })).await
    }

    /// Keeps a checkpoint, unless a chunk was withdrawn since `withdrawals` of them were known.
    pub async fn keep_checkpoint(
        &self,
        id: UploadId,
        checkpoint: Checkpoint,
        withdrawals: u64,
    ) -> Result<bool> {
        self.db
            .write(Urgency::Background, move |c| {
                let checkpoint = checkpoint.clone();
                Box::pin(async move { checkpoints::put(c, id, &checkpoint, withdrawals).await })
            })
            .await
    }
}

fn no_room(total_size: u64) -> Error {
    let detail = format!(
        "there is no room for {total_size} bytes beside what open uploads were promised; \
         free some space, finish or delete open uploads, then try again"
    );
    Error::new(crate::base::Code::StorageFull, detail)
}
