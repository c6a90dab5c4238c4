//! How an upload becomes a file: claimed, verified, made visible, once.
//!
//! The end is claimed in the database and fenced: a holder that was too slow changes nothing. Every step can be
//! repeated, so that a crash between any two of them is healed by whoever comes next: the client, or the
//! sweeper. The file is visible when the last transaction commits; before that nothing is.

use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::flights::Finished;
use super::plan;
use super::{MISSING_RANGES_MAX, UploadService, not_found};
use crate::base::crc::{Crc64, Crc64Joiner};
use crate::base::digest::{Algorithm, Checksum};
use crate::base::grant::check_content_type;
use crate::base::{ByteRange, Code, Error, Principal, Result, UploadId, media_type};
use crate::blob::{BlobErrorKind, PartTag};
use crate::db::parts::Receipt;
use crate::db::uploads::{FinishClaim, Upload, UploadState};
use crate::files::File;
use crate::session::FINISH_CLAIM_TTL;
use crate::telemetry::{failpoint, metrics};

/// How many receipts are read at once while the file's CRC is combined.
const RECEIPTS_AT_ONCE: u32 = 10_000;

/// What was learned of the whole file.
struct Digests {
    crc64: Crc64,
    sha256: Option<[u8; 32]>,
}

impl UploadService {
    /// Finishes the upload, or finds it finished; `None` while another process has the claim on its end. To be
    /// called by who has the turn ([`super::flights`]).
    pub(super) async fn finish(
        &self,
        who: &Principal,
        id: UploadId,
        declared: Option<Checksum>,
    ) -> Result<Option<Finished>> {
        let upload = self.find(who, id).await?;
        match plan::state_at(&upload, self.clock.now()) {
            UploadState::Completed => {
                let file = self.files.of_upload(who, id).await?.ok_or_else(|| not_found(id))?;
                if let Some(declared) = declared {
                    self.files.verify(who, &file, declared).await?;
                }
                return Ok(Some(Finished { file, created: false }));
            }
            state @ (UploadState::Aborted | UploadState::Expired) => return Err(plan::gone(&upload, state)),
            UploadState::Receiving | UploadState::Finalizing | UploadState::Sealed => {}
        }
        self.require_complete(who, id).await?;

        let claim = self.sessions.claim_finish(who.tenant(), id, declared, self.clock.now());
        let (upload, fence) = match claim.await? {
            FinishClaim::Claimed { fence, upload } => (upload, fence),
            FinishClaim::Held { .. } => return Ok(None),
            FinishClaim::Ended(state) => {
                let ended = Upload { state, ..upload };
                return Err(plan::takes_chunks(&ended, self.clock.now())
                    .err()
                    .unwrap_or_else(|| not_found(id)));
            }
            FinishClaim::Missing => return Err(not_found(id)),
        };
        failpoint::hit("finish.after_claim");
        // Nobody is writing: every chunk has its receipt. Who compares a repeated one may let go now.
        self.sessions.claims().drain(id).await;
        match Box::pin(self.while_renewing(id, fence, self.finish_claimed(who, &upload, fence, declared)))
            .await
        {
            Ok(file) => Ok(Some(Finished { file, created: true })),
            Err(error) => {
                if !self.sessions.release_finish(id, fence, error.detail(), self.clock.now()).await? {
                    return Ok(None); // the end was taken over: what became of it is not ours to tell
                }
                if error.code() == Code::UploadIncomplete {
                    self.require_complete(who, id).await?;
                }
                Err(error)
            }
        }
    }

    /// Everything that happens under the claim.
    async fn finish_claimed(
        &self,
        who: &Principal,
        upload: &Upload,
        fence: i64,
        declared: Option<Checksum>,
    ) -> Result<File> {
        let begun = Instant::now();
        if self.settle_suspects(upload, Some(fence)).await? {
            let detail = format!("chunks of upload `{}` did not survive a loss of power", upload.id);
            return Err(Error::new(Code::UploadIncomplete, detail));
        }
        let (crc64, tags) = self.combine(upload).await?;
        let wanted = [upload.checksum, declared];
        let sha256 = match self.needs_sha256(upload, declared).then_some(self.fronts.finish(upload, fence)) {
            None => None,
            Some(finishing) => match finishing.await {
                // Where one chunk is damaged others may be: the client is asked for all of them at once.
                Err(error) if error.code() == Code::UploadIncomplete => {
                    return self.find_damage(upload, fence).await;
                }
                sha256 => Some(sha256?),
            },
        };
        let digests = Digests { crc64, sha256 };
        for checksum in wanted.iter().flatten() {
            checksum
                .expect(&digests.of(checksum.algorithm()))
                .map_err(|error| error.with("chunks_replaceable", true))?;
        }
        metrics::finalize_stage("digest", begun.elapsed());
        failpoint::hit("finish.after_digests");

        let begun = Instant::now();
        // Before the bytes cannot be changed any more, where the store shows them by then.
        let early = self.look_at(upload).await?;
        match self.store_of(upload)?.complete(&upload.key, &upload.parts, upload.total_size, &tags).await {
            Ok(_) => {}
            Err(error) if error.kind() == BlobErrorKind::Incomplete => {
                return self.find_damage(upload, fence).await;
            }
            Err(error) => return Err(error.into()),
        }
        let content_type = match early {
            Some(found) => found,
            None => self.look_at(upload).await?.ok_or_else(|| gone(upload))?,
        };
        metrics::finalize_stage("store", begun.elapsed());
        failpoint::hit("finish.after_store");

        let begun = Instant::now();
        let now = self.clock.now();
        let file = File {
            id: upload.id.file(),
            tenant: upload.tenant.clone(),
            store: upload.store.clone(),
            key: upload.key.clone(),
            filename: upload.filename.clone(),
            content_type,
            size: upload.total_size,
            sha256: digests.sha256,
            crc64: digests.crc64,
            metadata: upload.metadata.clone(),
            created_at: now,
            updated_at: now,
            version: 1,
            derived: 0,
        };
        if !self.sessions.complete(who, upload.id, fence, &file, now).await? {
            let detail = format!("another node has taken over the end of upload `{}`; ask again", upload.id);
            return Err(Error::new(Code::Unavailable, detail));
        }
        failpoint::hit("finish.after_commit");
        metrics::finalize_stage("journal", begun.elapsed());
        metrics::upload("completed");
        self.fronts.forget(upload.id);
        self.vouched.remove(upload.id);
        tracing::info!(upload.id = %upload.id, bytes = file.size, "upload {} is a file of {} bytes", upload.id, file.size);
        Ok(file)
    }

    /// What the first bytes say that it is; `None` while the store does not show them. Whoever began the upload with a
    /// token may have been allowed other types only.
    async fn look_at(&self, upload: &Upload) -> Result<Option<String>> {
        let (store, mut head) = (self.store_of(upload)?, Vec::new());
        if let Some(range) = ByteRange::new(0, upload.total_size.min(media_type::HEAD_BYTES as u64)) {
            let mut bytes = match store.read_staged(&upload.key, &upload.parts, range).await? {
                Some(staged) => staged,
                None => match store.get(&upload.key, Some(range)).await? {
                    Some(blob) => blob.bytes,
                    None => return Ok(None),
                },
            };
            while let Some(frame) = bytes.next().await {
                head.extend_from_slice(
                    &frame.map_err(|error| Error::internal("the file cannot be read", error))?,
                );
            }
        }
        let claimed = upload.content_type.as_deref();
        if let Some(allowed) = self.sessions.content_types_of(&upload.tenant, upload.id).await? {
            check_content_type(&media_type::decide_strictly(&head, claimed), &allowed)?;
        }
        Ok(Some(media_type::decide(&head, claimed)))
    }

    /// The whole file's CRC from its chunks', and what the store said of them.
    async fn combine(&self, upload: &Upload) -> Result<(Crc64, Vec<PartTag>)> {
        let (mut whole, mut next, mut tags) = (Crc64Joiner::new(upload.chunk_size), 0, Vec::new());
        while next < upload.chunk_count {
            let receipts = self.sessions.receipts(upload.id, next, RECEIPTS_AT_ONCE).await?;
            let before = next;
            for Receipt { index, size, crc64, etag, synced, .. } in receipts {
                if index.get() != next {
                    break;
                }
                whole.add(crc64, size);
                if etag.is_some() {
                    tags.push(PartTag { etag, synced });
                }
                next += 1;
            }
            if next == before {
                let detail = format!("chunk {next} of upload `{}` is missing", upload.id);
                return Err(Error::new(Code::UploadIncomplete, detail));
            }
        }
        Ok((whole.finish(), tags))
    }

    /// The store has fewer bytes than the receipts say: every chunk is read back, damaged ones are withdrawn.
    async fn find_damage(&self, upload: &Upload, fence: i64) -> Result<File> {
        tracing::error!(upload.id = %upload.id, "the staged bytes of upload {} are damaged: reading all of them back", upload.id);
        let mut next = 0;
        loop {
            let receipts = self.sessions.receipts(upload.id, next, RECEIPTS_AT_ONCE).await?;
            let Some(last) = receipts.last() else { break };
            next = last.index.get().saturating_add(1);
            for receipt in &receipts {
                self.settle(upload, receipt, Some(fence)).await?;
            }
        }
        let detail =
            format!("chunks of upload `{}` were damaged in the store; send what is missing again", upload.id);
        Err(Error::new(Code::UploadIncomplete, detail))
    }

    /// `UploadIncomplete` `{ missing, missing_count }` unless every chunk is there.
    async fn require_complete(&self, who: &Principal, id: UploadId) -> Result<()> {
        let upload = self.find(who, id).await?;
        let missing_count = upload.chunk_count - upload.received_chunks.min(upload.chunk_count);
        if missing_count == 0 {
            return Ok(());
        }
        let (missing, _) = self.missing(&upload).await?;
        let detail = format!(
            "{missing_count} of {} chunks of upload `{id}` are missing; send them, then finalize again \
             (at most {MISSING_RANGES_MAX} ranges are listed)",
            upload.chunk_count
        );
        let ranges: Vec<_> = missing.iter().map(|&(first, last)| vec![first, last]).collect();
        Err(Error::new(Code::UploadIncomplete, detail)
            .with("missing", ranges)
            .with("missing_count", missing_count))
    }

    /// Does `work` and keeps the claim alive meanwhile.
    async fn while_renewing<T>(
        &self,
        id: UploadId,
        fence: i64,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut work = std::pin::pin!(work);
        let every: Duration = FINISH_CLAIM_TTL / 3;
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(every) => {
                    // A renewal that fails is tried again; the last transaction checks the fence anyway.
                    if let Err(error) = self.sessions.renew_finish(id, fence, self.clock.now()).await {
                        tracing::warn!(upload.id = %id, %error, "could not renew the claim on the end of upload {id}");
                    }
                }
            }
        }
    }
}

fn gone(upload: &Upload) -> Error {
    Error::internal("the file cannot be read", format!("blob {} is gone", upload.key))
}

impl Digests {
    fn of(&self, algorithm: Algorithm) -> Checksum {
        match (algorithm, self.sha256) {
            (Algorithm::Sha256, Some(sha256)) => Checksum::Sha256(sha256),
            _ => Checksum::Crc64Nvme(self.crc64),
        }
    }
}
