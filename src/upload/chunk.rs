//! A chunk's way in: claim, look, write, verify, journal.
//!
//! The order is what makes it safe. The claim comes before the look into the journal, and is held until the
//! receipt's fate is known: so nobody writes where a receipt stands. A repeated chunk is read and compared,
//! never written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::front::Lead;
use super::intake::{Intake, Taken};
use super::plan::{self, OnRepeat};
use super::{UploadService, not_found};
use crate::base::crc::Crc64;
use crate::base::digest::{Checksum, ChunkHasher, Declared};
use crate::base::principal::Scope;
use crate::base::{ByteStream, ChunkIndex, Code, Error, Principal, Result, UploadId};
use crate::blob::{BlobError, BlobErrorKind, PartTag, Span};
use crate::db::parts::{Counts, Receipt, Recorded, Withdrawn};
use crate::db::uploads::Upload;
use crate::session::Claim;
use crate::telemetry::failpoint;
use crate::telemetry::metrics::{self, ChunkStage};

/// Whoever waits for a receipt longer than this is told that the database is away; the receipt may still come.
const JOURNAL_WAIT_MAX: Duration = Duration::from_secs(4);

/// A chunk as it comes from a client.
pub struct ChunkIn {
    /// Which one.
    pub index: ChunkIndex,
    /// The body's length, where the client told it.
    pub announced: Option<u64>,
    /// Digests that must hold.
    pub declared: Vec<Declared>,
    /// What to do if it was accepted before.
    pub on_repeat: OnRepeat,
    /// Its bytes.
    pub body: ByteStream,
}

/// The acknowledgement of a chunk: it is stored, and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkReceipt {
    /// Of this upload.
    pub upload_id: UploadId,
    /// Which chunk.
    pub index: ChunkIndex,
    /// Its bytes.
    pub size: u64,
    /// Its CRC64NVME.
    pub checksum: Checksum,
    /// What is there of the file by now.
    pub received_bytes: u64,
    /// The same, in chunks.
    pub received_chunks: u32,
    /// Of this many.
    pub chunk_count: u32,
}

impl UploadService {
    /// Takes one chunk. It counts when this answers, and only then.
    ///
    /// Chunks may come in any order, several at once, and again: the same bytes get the old receipt. Streams;
    /// holds a few hundred KiB of the body at a time. When the client leaves in the middle nothing is counted.
    ///
    /// # Errors
    /// `UploadNotFound`, `UploadGone`, `UploadFinalized`, `ChunkOutOfRange`, `ChunkSizeMismatch`,
    /// `ChecksumMismatch`; `ChunkConflict` if other bytes were accepted before; `ChunkBusy` while another
    /// request sends this chunk; `InvalidDigest` if a digest is demanded and none came; `StorageFull`.
    pub async fn write_chunk(
        self: &Arc<Self>,
        who: &Principal,
        id: UploadId,
        chunk: ChunkIn,
    ) -> Result<ChunkReceipt> {
        who.require(Scope::Upload)?;
        self.reach(who, id).await?;
        let answer = self.take_chunk(who, id, chunk).await;
        if answer.is_err() {
            metrics::chunk_not_stored("refused");
        }
        answer
    }

    async fn take_chunk(
        self: &Arc<Self>,
        who: &Principal,
        id: UploadId,
        chunk: ChunkIn,
    ) -> Result<ChunkReceipt> {
        let Some(claim) = self.sessions.claim(id, chunk.index).await else {
            plan::takes_chunks(&self.find(who, id).await?, self.clock.now())?;
            return Err(busy(id, chunk.index));
        };
        let (upload, receipt) = self.look(who, &claim).await?;
        let span = plan::check_chunk(&upload, chunk.index, chunk.announced, self.clock.now())?;
        if self.rules.require_chunk_checksum && chunk.declared.is_empty() {
            let detail =
                "this service takes no chunk without a digest: send Content-Digest or X-Checksum-Crc64nvme";
            return Err(Error::new(Code::InvalidDigest, detail));
        }
        match receipt {
            None => self.store_chunk(upload, span, chunk, claim).await,
            Some(_) if chunk.on_repeat == OnRepeat::Replace => {
                let claim = self.withdraw_holding(claim, upload, chunk.index).await?;
                let (upload, receipt) = self.look(who, &claim).await?;
                plan::takes_chunks(&upload, self.clock.now())?;
                if receipt.is_some() {
                    return Err(busy(id, chunk.index)); // it stands after all: nothing may be written
                }
                self.store_chunk(upload, span, chunk, claim).await
            }
            Some(receipt) => self.compare_chunk(&upload, &receipt, chunk, &claim).await,
        }
    }

    /// The upload and the chunk's receipt, after what a loss of power may have taken has been looked through.
    async fn look(&self, who: &Principal, claim: &Claim) -> Result<(Upload, Option<Receipt>)> {
        let id = claim.upload();
        let load = || self.sessions.load_claimed(who.tenant(), claim);
        let (upload, receipt) = load().await?.ok_or_else(|| not_found(id))?;
        if self.settle_suspects(&upload, None).await? {
            return load().await?.ok_or_else(|| not_found(id));
        }
        Ok((upload, receipt))
    }

    async fn store_chunk(
        self: &Arc<Self>,
        upload: Upload,
        span: Span,
        chunk: ChunkIn,
        claim: Claim,
    ) -> Result<ChunkReceipt> {
        let lead =
            if self.wants_sha256(&upload) { self.fronts.lead(&upload, span.offset).await? } else { None };
        let sha256 = lead.as_ref().map(|lead| lead.sha256.clone());
        let (intake, body) = Intake::watch(chunk.body, ChunkHasher::new(chunk.declared), sha256, claim.cut());
        failpoint::hit("chunk.before_write");
        let written = self.store_of(&upload)?.write(&upload.key, &upload.parts, span, body).await;
        let tag = match written {
            Ok(tag) => tag,
            Err(error) => return Err(self.refuse_body(&upload, span, &intake, &claim, error).await),
        };
        let taken = intake.finish();
        if taken.received != span.len {
            return Err(plan::size_mismatch(&upload, span, taken.received));
        }
        let Taken { hasher, sha256, .. } = taken;
        let crc64 = hasher.verify()?;
        failpoint::hit("chunk.after_write");
        if !claim.stands().await {
            return Err(busy(upload.id, span.index)); // another node writes here by now
        }
        let lead = lead.zip(sha256).map(|(lead, sha256)| lead.with(sha256));
        let service = Arc::clone(self);
        // On its own: whoever gives up waiting must not let the claim go before the receipt's fate is known.
        let journal = self.tasks.spawn("journal chunk", async move {
            let answer = service.journal(&upload, span, crc64, tag, lead).await;
            drop(claim);
            answer
        });
        match tokio::time::timeout(JOURNAL_WAIT_MAX, journal).await {
            Ok(joined) => joined.map_err(|error| Error::internal("journalling broke off", error))?,
            Err(elapsed) => {
                Err(Error::unavailable("the database does not answer; send the chunk again", elapsed))
            }
        }
    }

    /// Writes the receipt, and moves the file's SHA-256 on.
    async fn journal(
        &self,
        upload: &Upload,
        span: Span,
        crc64: Crc64,
        tag: PartTag,
        lead: Option<Lead>,
    ) -> Result<ChunkReceipt> {
        let now = self.clock.now();
        let receipt = Receipt {
            index: span.index,
            size: span.len,
            crc64,
            etag: tag.etag,
            synced: tag.synced,
            boot: Some(self.sessions.boot()),
            received_at: now,
        };
        let expires_at = plan::expires_at(upload.created_at, now, self.rules.idle_ttl, self.rules.max_age);
        let begun = Instant::now();
        let recorded = self.sessions.record(upload.id, receipt.clone(), now, expires_at).await?;
        metrics::chunk_stage(ChunkStage::Journal, begun.elapsed());
        failpoint::hit("chunk.after_journal");
        match recorded {
            Recorded::Counted(counts) => {
                metrics::chunk_accepted(span.len);
                if self.wants_sha256(upload) {
                    self.fronts.chunk_arrived(upload, lead);
                }
                Ok(acknowledge(upload, &receipt, counts))
            }
            Recorded::Refused(state) => {
                let ended = Upload { state, ..upload.clone() };
                Err(plan::takes_chunks(&ended, now).err().unwrap_or_else(|| busy(upload.id, span.index)))
            }
            // Another process was faster; what stands is looked at when the client comes again.
            Recorded::Duplicate => Err(busy(upload.id, span.index)),
            Recorded::Missing => Err(not_found(upload.id)),
        }
    }

    /// A chunk that was accepted before: its bytes are read and compared, not written.
    async fn compare_chunk(
        &self,
        upload: &Upload,
        receipt: &Receipt,
        chunk: ChunkIn,
        claim: &Claim,
    ) -> Result<ChunkReceipt> {
        let span = Span { index: receipt.index, offset: 0, len: receipt.size };
        let (intake, mut body) =
            Intake::watch(chunk.body, ChunkHasher::new(chunk.declared), None, claim.cut());
        while let Some(frame) = body.next().await {
            let error = match frame {
                Ok(_) if intake.received() <= span.len => continue,
                Ok(_) => BlobError::new(BlobErrorKind::BodyTooLong, "comparing a chunk"),
                Err(error) => error.into(),
            };
            return Err(self.refuse_body(upload, span, &intake, claim, error).await);
        }
        drop(body);
        let taken = intake.finish();
        if taken.received != span.len {
            return Err(plan::size_mismatch(upload, span, taken.received));
        }
        let crc64 = taken.hasher.verify()?;
        if crc64 != receipt.crc64 {
            return Err(conflict(upload, receipt, crc64));
        }
        metrics::chunk_not_stored("repeated");
        let counts =
            Counts { received_bytes: upload.received_bytes, received_chunks: upload.received_chunks };
        Ok(acknowledge(upload, receipt, counts))
    }

    /// Withdraws under a claim that is not let go before the withdrawal's fate is known, whoever leaves.
    async fn withdraw_holding(
        self: &Arc<Self>,
        claim: Claim,
        upload: Upload,
        index: ChunkIndex,
    ) -> Result<Claim> {
        let service = Arc::clone(self);
        let withdrawing = self.tasks.spawn("withdraw chunk", async move {
            service.withdraw(&upload, index, None).await.map(|_| claim)
        });
        match tokio::time::timeout(JOURNAL_WAIT_MAX, withdrawing).await {
            Ok(joined) => joined.map_err(|error| Error::internal("withdrawing broke off", error))?,
            Err(elapsed) => {
                Err(Error::unavailable("the database does not answer; send the chunk again", elapsed))
            }
        }
    }

    /// Takes a receipt back, and the file's SHA-256 with it. `fence` is that of the caller's claim on the
    /// upload's end, if it has one. The receipt still stands if the answer is [`Withdrawn::Refused`].
    pub(super) async fn withdraw(
        &self,
        upload: &Upload,
        index: ChunkIndex,
        fence: Option<i64>,
    ) -> Result<Withdrawn> {
        let now = self.clock.now();
        failpoint::hit("chunk.before_withdraw");
        let withdrawn = self.sessions.withdraw(upload.id, index, fence, now).await?;
        if let Withdrawn::Done { withdrawals } = withdrawn {
            self.fronts.rewind(upload.id, withdrawals);
            tracing::info!(upload.id = %upload.id, chunk.index = %index, "withdrew chunk {index} of upload {}", upload.id);
        }
        failpoint::hit("chunk.after_withdraw");
        Ok(withdrawn)
    }

    /// What to tell a client whose body could not be taken.
    async fn refuse_body(
        &self,
        upload: &Upload,
        span: Span,
        intake: &Intake,
        claim: &Claim,
        error: BlobError,
    ) -> Error {
        if claim.cut().is_cancelled() {
            let now = self.clock.now();
            if let Ok(Some(upload)) = self.sessions.load(&upload.tenant, upload.id).await
                && let Err(ended) = plan::takes_chunks(&upload, now)
            {
                return ended;
            }
            return busy(claim.upload(), claim.index()); // another node has the claim by now
        }
        match error.kind() {
            BlobErrorKind::BodyTooLong => plan::size_mismatch(upload, span, intake.received()),
            BlobErrorKind::Gone => self.refuse_lost(upload).await,
            _ => error.into(),
        }
    }
}

fn acknowledge(upload: &Upload, receipt: &Receipt, counts: Counts) -> ChunkReceipt {
    ChunkReceipt {
        upload_id: upload.id,
        index: receipt.index,
        size: receipt.size,
        checksum: Checksum::Crc64Nvme(receipt.crc64),
        received_bytes: counts.received_bytes,
        received_chunks: counts.received_chunks,
        chunk_count: upload.chunk_count,
    }
}

fn busy(id: UploadId, index: ChunkIndex) -> Error {
    let detail =
        format!("another request is sending chunk {index} of upload `{id}`; try again when it is done");
    Error::new(Code::ChunkBusy, detail).retry_after(Duration::from_secs(1))
}

fn conflict(upload: &Upload, receipt: &Receipt, actual: Crc64) -> Error {
    let detail = format!(
        "chunk {} of upload `{}` was accepted with other bytes; to put these in their place send it with ?replace=true",
        receipt.index, upload.id
    );
    Error::new(Code::ChunkConflict, detail)
        .with("accepted", Checksum::Crc64Nvme(receipt.crc64).to_string())
        .with("received", Checksum::Crc64Nvme(actual).to_string())
}
