//! How an upload becomes a file: claimed, verified, made visible, once.
//!
//! The end is claimed in the database and fenced: a holder that was too slow changes nothing. Every step can be
//! repeated, so that a crash between any two of them is healed by whoever comes next: the client, or the
//! sweeper, of any node. The file is visible when the last transaction commits; before that nothing is.
//!
//! What can be known before the store puts the bytes together is verified before: then chunks can still be replaced.
//! Where the store does not show its parts, the rest is learned from the whole blob, which nobody can change any more.
//! What becomes of an end that fails is in `setback`.

use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::flights::Finished;
use super::plan;
use super::setback::{Setback, taken_over};
use super::{MISSING_RANGES_MAX, UploadService, not_found};
use crate::base::crc::{Crc64, Crc64Joiner};
use crate::base::digest::{Algorithm, Checksum};
use crate::base::grant::check_content_type;
use crate::base::stream::StreamError;
use crate::base::{ByteRange, Code, Error, Principal, Result, UploadId, media_type};
use crate::blob::{PartStore, PartTag};
use crate::db::parts::Receipt;
use crate::db::uploads::{FinishClaim, Upload, UploadState};
use crate::files::File;
use crate::session::FINISH_CLAIM_TTL;
use crate::telemetry::{failpoint, metrics};

/// How many receipts are read at once while the file's CRC is combined.
const RECEIPTS_AT_ONCE: u32 = 10_000;

/// What was learned of the whole file.
struct Learned {
    crc64: Crc64,
    sha256: Option<[u8; 32]>,
    content_type: Option<String>,
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
                // Perhaps nobody who finished it came to say so here.
                self.files.note_change(who.tenant(), [file.id]).await;
                return Ok(Some(Finished { file, created: false }));
            }
            state @ (UploadState::Aborted | UploadState::Expired) => return Err(plan::gone(&upload, state)),
            UploadState::Receiving => self.require_complete(&upload).await?,
            // Whoever began its end may have withdrawn receipts since, and not have come to let it go.
            UploadState::Finalizing | UploadState::Sealed => {}
        }

        let claim = self.sessions.claim_finish(who.tenant(), id, declared, self.clock.now());
        let (upload, fence) = match claim.await? {
            FinishClaim::Claimed { fence, upload } => (upload, fence),
            // Or another node has finished it since it was looked at: it is looked at again.
            FinishClaim::Held { .. } | FinishClaim::Ended(UploadState::Completed) => return Ok(None),
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
        self.sessions.drain(id).await;
        match Box::pin(self.while_renewing(id, fence, self.finish_claimed(who, &upload, fence, declared)))
            .await
        {
            Ok(file) => Ok(Some(Finished { file, created: true })),
            Err(setback) => {
                let Some(error) = self.step_back(&upload, fence, setback).await? else {
                    return Ok(None); // the end was taken over: what became of it is not ours to tell
                };
                if error.code() == Code::UploadIncomplete {
                    self.require_complete(&self.find(who, id).await?).await?;
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
    ) -> Result<File, Setback> {
        let (learned, tags) = self
            .learn_from_parts(upload, fence, declared)
            .await
            .map_err(|error| Setback::of(error, upload.sealing))?;
        failpoint::hit("finish.after_digests");

        let begun = Instant::now();
        self.put_together(upload, fence, &tags).await?;
        let together = |error| Setback::of(error, true);
        let learned = self.learn_from_whole(upload, declared, learned).await.map_err(together)?;
        metrics::finalize_stage("store", begun.elapsed());
        failpoint::hit("finish.after_store");
        self.publish(who, upload, fence, learned).await.map_err(together)
    }

    /// What receipts and parts tell, and that what was declared of it holds.
    async fn learn_from_parts(
        &self,
        upload: &Upload,
        fence: i64,
        declared: Option<Checksum>,
    ) -> Result<(Learned, Vec<PartTag>)> {
        let begun = Instant::now();
        if self.settle_suspects(upload, Some(fence)).await? {
            let detail = format!("chunks of upload `{}` did not survive a loss of power", upload.id);
            return Err(Error::new(Code::UploadIncomplete, detail));
        }
        let (crc64, tags) = self.combine(upload).await?;
        let (sha256, content_type) = if self.store_of(upload)?.reads_staged() {
            let sha256 =
                match self.needs_sha256(upload, declared)?.then_some(self.fronts.finish(upload, fence)) {
                    None => None,
                    Some(finishing) => match finishing.await {
                        // Where one chunk is damaged others may be: the client is asked for all of them at once.
                        Err(error) if error.code() == Code::UploadIncomplete => {
                            return Err(self.find_damage(upload, fence).await?);
                        }
                        sha256 => Some(sha256?),
                    },
                };
            (sha256, self.look_at(upload).await?)
        } else {
            (self.fronts.known(upload).await?, None)
        };
        let learned = Learned { crc64, sha256, content_type };
        learned.verify([upload.checksum, declared], !upload.sealing)?;
        metrics::finalize_stage("digest", begun.elapsed());
        Ok((learned, tags))
    }

    /// What only the whole blob tells, and that what was declared of it holds.
    async fn learn_from_whole(
        &self,
        upload: &Upload,
        declared: Option<Checksum>,
        mut learned: Learned,
    ) -> Result<Learned> {
        if learned.content_type.is_none() {
            learned.content_type = Some(self.look_at(upload).await?.ok_or_else(|| gone(upload))?);
        }
        if learned.sha256.is_none() && self.needs_sha256(upload, declared)? {
            learned.sha256 = Some(self.fronts.read_whole(upload).await?);
            learned.verify([upload.checksum, declared], false)?;
        }
        Ok(learned)
    }

    /// The last transaction: the file is visible when this answers.
    async fn publish(&self, who: &Principal, upload: &Upload, fence: i64, learned: Learned) -> Result<File> {
        let begun = Instant::now();
        let now = self.clock.now();
        let file = File {
            id: upload.id.file(),
            tenant: upload.tenant.clone(),
            store: upload.store.clone(),
            key: upload.key.clone(),
            filename: upload.filename.clone(),
            content_type: learned.content_type.unwrap_or_default(),
            size: upload.total_size,
            sha256: learned.sha256,
            crc64: learned.crc64,
            metadata: upload.metadata.clone(),
            created_at: now,
            updated_at: now,
            version: 1,
            derived: 0,
        };
        let jobs = self.jobs_of(std::slice::from_ref(&file), now);
        if !self.sessions.complete(who, upload.id, fence, &file, &jobs, now).await? {
            return Err(taken_over(upload));
        }
        failpoint::hit("finish.after_commit");
        self.files.note_change(&file.tenant, [file.id]).await;
        self.wake(&jobs);
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
            let staged = if store.reads_staged() {
                store.read_staged(&upload.key, &upload.parts, range).await?
            } else {
                None
            };
            let mut bytes = match staged {
                Some(staged) => staged,
                None => match store.get(&upload.key, Some(range)).await? {
                    Some(blob) => blob.bytes,
                    None => return Ok(None),
                },
            };
            while let Some(frame) = bytes.next().await {
                head.extend_from_slice(&frame.map_err(|error| broke_off(store.as_ref(), error))?);
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

    /// `UploadIncomplete` `{ missing, missing_count }` unless every chunk is there.
    async fn require_complete(&self, upload: &Upload) -> Result<()> {
        let missing_count = upload.chunk_count - upload.received_chunks.min(upload.chunk_count);
        if missing_count == 0 {
            return Ok(());
        }
        let (missing, _) = self.missing(upload).await?;
        let detail = format!(
            "{missing_count} of {} chunks of upload `{}` are missing; send them, then finalize again \
             (at most {MISSING_RANGES_MAX} ranges are listed)",
            upload.chunk_count, upload.id
        );
        let ranges: Vec<_> = missing.iter().map(|&(first, last)| vec![first, last]).collect();
        Err(Error::new(Code::UploadIncomplete, detail)
            .with("missing", ranges)
            .with("missing_count", missing_count))
    }

    /// Does `work` and keeps the claim alive meanwhile.
    async fn while_renewing<T>(&self, id: UploadId, fence: i64, work: impl Future<Output = T>) -> T {
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

/// A file of our own that cannot be read is broken; another machine that stops in the middle may only be away.
fn broke_off(store: &dyn PartStore, error: StreamError) -> Error {
    if store.reads_staged() {
        return Error::internal("the file cannot be read", error);
    }
    Error::unavailable("the store broke off while the file was read", error)
}

fn gone(upload: &Upload) -> Error {
    Error::internal("the file cannot be read", format!("blob {} is gone", upload.key))
}

impl Learned {
    /// Compares those of the `declared` digests that are known.
    fn verify(&self, declared: [Option<Checksum>; 2], replaceable: bool) -> Result<()> {
        for checksum in declared.iter().flatten() {
            let actual = match (checksum.algorithm(), self.sha256) {
                (Algorithm::Sha256, None) => continue,
                (Algorithm::Sha256, Some(sha256)) => Checksum::Sha256(sha256),
                _ => Checksum::Crc64Nvme(self.crc64),
            };
            checksum.expect(&actual).map_err(|error| error.with("chunks_replaceable", replaceable))?;
        }
        Ok(())
    }
}
