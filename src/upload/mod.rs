//! Uploads: the service that takes files in, chunk by chunk, and decides what may happen to them when.
//!
//! [`UploadService`] is called by `http` (and later by other protocols); its methods stand by subject:
//! here beginning, looking and giving up; in `chunk` a chunk's way in; in `finish` its becoming a file, and in
//! `setback` what becomes of it if that fails, in
//! `flights` the waiting for it; in `front` the SHA-256 of what is there so far; in `suspects` what a loss of
//! power may have taken; in `sweep` what happens when nobody asks; in `events` the telling of it; in `whole` files that come in one request;
//! in `pictures` what follows when a picture is a file.
//! Every decision that is a pure function stands in `plan`.

mod chunk;
mod events;
mod finish;
mod flights;
mod front;
mod intake;
mod pictures;
pub mod plan;
mod read_back;
mod rules;
mod setback;
mod suspects;
mod sweep;
mod whole;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use chunk::{ChunkIn, ChunkReceipt};
pub use events::{Progress, UploadEvent, UploadEvents};
pub use flights::{Finalized, FinishProgress, Finished};
pub use plan::OnRepeat;
pub use rules::Rules;
pub use sweep::Sweeper;
pub use whole::{Batch, NewFile};

use self::flights::Flights;
use self::front::Fronts;
use self::suspects::Vouched;
use crate::base::digest::{Algorithm, Checksum};
use crate::base::metadata::{self, Metadata};
use crate::base::principal::Scope;
use crate::base::range::gaps;
use crate::base::{Clock, Code, Error, Page, Principal, Result, Timestamp, UploadId, page};
use crate::blob::{BlobKey, PartStore, Stores};
use crate::config::ChecksumPolicy;
pub use crate::db::uploads::{Protocol, Upload, UploadFilter, UploadState};

use crate::db::uploads::{EndOutcome, EndState};
use crate::files::{File, FileService};
use crate::idempotency::Answered;
use crate::jobs::Jobs;
use crate::session::Sessions;
use crate::telemetry::{Tasks, failpoint, metrics};

/// At most this many ranges of missing chunks are told at once; the next look tells the next ones.
pub const MISSING_RANGES_MAX: usize = 1_000;

/// What a client asks for when it begins an upload.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// A label, not a path.
    pub filename: String,
    /// Bytes of the whole file.
    pub total_size: u64,
    /// What the client says it is.
    pub content_type: Option<String>,
    /// The wish, in bytes.
    pub chunk_size: Option<u64>,
    /// The whole file's digest, verified before the file is visible.
    pub checksum: Option<Checksum>,
    /// The client's own pairs.
    pub metadata: Metadata,
}

/// An upload as it is now.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its row; the state is what a client may see.
    pub upload: Upload,
    /// Inclusive ranges of chunks that are missing, ascending, at most [`MISSING_RANGES_MAX`].
    pub missing: Vec<(u32, u32)>,
    /// How many bytes are there from the start without a gap.
    pub offset: u64,
    /// While it is being finalized: how far that is.
    pub progress: Option<FinishProgress>,
    /// The file that it became.
    pub file: Option<File>,
}

/// See the module.
pub struct UploadService {
    sessions: Sessions,
    stores: Stores,
    files: Arc<FileService>,
    fronts: Fronts,
    vouched: Vouched,
    flights: Flights,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    rules: Rules,
    /// Of thumbnails, where they are made at once.
    jobs: Option<Jobs>,
}

impl fmt::Debug for UploadService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadService").field("stores", &self.stores).finish_non_exhaustive()
    }
}

impl UploadService {
    /// A service whose sessions are in `sessions`, and whose bytes go to the default one of `stores`.
    pub fn new(
        sessions: Sessions,
        stores: Stores,
        files: Arc<FileService>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        rules: Rules,
    ) -> Self {
        let fronts = Fronts::new(sessions.clone(), stores.clone(), Arc::clone(&clock), tasks.clone());
        let (vouched, flights) = (Vouched::default(), Flights::default());
        Self { sessions, stores, files, fronts, vouched, flights, clock, tasks, rules, jobs: None }
    }

    /// Begins an upload. The server decides the size of the chunks; nothing is stored yet.
    /// What `keep` makes of the upload is kept with it, or neither is.
    ///
    /// # Errors
    /// `InvalidRequest`, `FileTooLarge` `{ max_bytes }`, `QuotaExceeded` `{ limit_bytes, used_bytes }`,
    /// `TooManyUploads` `{ open, max }`, `StorageFull`.
    pub async fn create(
        &self,
        who: &Principal,
        new: NewUpload,
        keep: impl Fn(&Status) -> Option<Answered>,
    ) -> Result<Status> {
        who.require(Scope::Upload)?;
        let new = granted(who, new)?;
        metadata::check_filename(&new.filename)?;
        if let Some(content_type) = &new.content_type {
            metadata::check_content_type(content_type)?;
        }
        if new.chunk_size == Some(0) {
            return Err(Error::new(
                Code::InvalidRequest,
                "`chunk_size` must be at least 1; leave it out for ours",
            ));
        }
        if new.total_size > self.rules.max_file_bytes {
            return Err(plan::too_large(new.total_size, self.rules.max_file_bytes));
        }
        let wish = new.chunk_size.unwrap_or(self.rules.chunk_size_bytes);
        let store = self.stores.default_store();
        let cut = plan::cut(new.total_size, wish, store.limits())?;
        let room = store.available().await?;

        let now = self.clock.now();
        let id = UploadId::new(now);
        let key = BlobKey::of_file(who.tenant(), id.file());
        let parts = store.begin(&key, Some(new.total_size)).await?;
        let upload = Upload {
            id,
            tenant: who.tenant().clone(),
            store: self.stores.default_name().to_owned(),
            key,
            parts,
            state: UploadState::Receiving,
            protocol: Protocol::Native,
            filename: new.filename,
            content_type: new.content_type,
            total_size: new.total_size,
            chunk_size: cut.chunk_size,
            chunk_count: cut.chunk_count,
            received_bytes: 0,
            received_chunks: 0,
            withdrawals: 0,
            checksum: new.checksum,
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
            expires_at: plan::expires_at(now, now, self.rules.idle_ttl, self.rules.max_age),
            ended_at: None,
            error: None,
            finish_fence: 0,
            finish_checksum: None,
            sealing: false,
        };
        let quota = self.files.quota();
        let limits = quota.limits_beside_incoming(who.tenant());
        let missing = gaps(&[], upload.chunk_count, MISSING_RANGES_MAX);
        let status = Status { upload, missing, offset: 0, progress: None, file: None };
        failpoint::hit("create.before_commit");
        let (begun, grant) = (status.upload.clone(), who.grant().cloned());
        let created = self.sessions.create(begun, keep(&status), room, limits, grant).await;
        let created = created.and_then(|admission| admission.require(&quota.limits()));
        created.inspect_err(|error| self.never_began(store, &status.upload, error))?;
        failpoint::hit("create.after_commit");
        if store.reads_staged() {
            self.vouched.add(id);
        }
        self.fronts.begin(id);
        metrics::upload("created");
        Ok(status)
    }

    /// The upload, with what is missing.
    ///
    /// # Errors
    /// `UploadNotFound`; `UploadGone` `{ state }` for a day after it was aborted or expired.
    pub async fn status(&self, who: &Principal, id: UploadId) -> Result<Status> {
        who.require_read_of_uploads()?;
        self.reach(who, id).await?;
        self.describe(who, id).await
    }

    async fn describe(&self, who: &Principal, id: UploadId) -> Result<Status> {
        let upload = self.find(who, id).await?;
        match plan::state_at(&upload, self.clock.now()) {
            state @ (UploadState::Aborted | UploadState::Expired) => Err(plan::gone(&upload, state)),
            UploadState::Completed => {
                let file = self.files.of_upload(who, id).await?.ok_or_else(|| not_found(id))?;
                let (offset, missing) = (upload.total_size, Vec::new());
                Ok(Status { upload, missing, offset, progress: None, file: Some(file) })
            }
            UploadState::Receiving | UploadState::Finalizing | UploadState::Sealed => {
                let withdrawn = self.settle_suspects(&upload, None).await?;
                let upload = if withdrawn { self.find(who, id).await? } else { upload };
                let (missing, offset) = self.missing(&upload).await?;
                let progress = match upload.state {
                    UploadState::Finalizing => Some(self.finish_progress(&upload).await?),
                    _ => None,
                };
                Ok(Status { upload, missing, offset, progress, file: None })
            }
        }
    }

    /// The tenant's uploads, newest first; completed, aborted and expired ones too, while they are remembered.
    ///
    /// # Errors
    /// `InvalidRequest` for a cursor of another list, and for more pairs of metadata than an upload can have.
    pub async fn list(
        &self,
        who: &Principal,
        filter: UploadFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<Upload>> {
        who.require(Scope::Read)?;
        if filter.metadata.len() > metadata::KEYS_MAX {
            let detail = format!("at most {} pairs of metadata can be asked for", metadata::KEYS_MAX);
            return Err(Error::new(Code::InvalidRequest, detail));
        }
        let (scope, now) = (format!("uploads {} {filter:?}", who.tenant()), self.clock.now());
        let after = cursor.map(|cursor| read_position(&page::decode_cursor(cursor, &scope)?)).transpose()?;
        let mut items = self.sessions.list(who.tenant(), filter, after, limit + 1, now).await?;
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let last = items.last().filter(|_| more);
        let next_cursor = last
            .map(|last| page::encode_cursor(&format!("{} {}", last.created_at.as_micros(), last.id), &scope));
        for upload in &mut items {
            upload.state = plan::state_at(upload, now);
        }
        Ok(Page { items, next_cursor })
    }

    /// Gives an upload up and removes its bytes. Again: the same answer.
    ///
    /// # Errors
    /// `UploadNotFound`; `UploadFinalized` when it is a file already, or about to be one.
    pub async fn abort(self: &Arc<Self>, who: &Principal, id: UploadId) -> Result<()> {
        who.require(Scope::Upload)?;
        self.reach(who, id).await?;
        let now = self.clock.now();
        match self.sessions.end(who, id, EndState::Aborted, now).await? {
            EndOutcome::Ended(upload) => {
                metrics::upload("aborted");
                let service = Arc::clone(self);
                // On its own, so that a client that leaves does not stop it half-way.
                let clearing =
                    self.tasks.spawn("clear aborted upload", async move { service.clear(&upload).await });
                // The upload has ended all the same: what is left of it is the sweeper's.
                match clearing.await.map_err(|error| Error::internal("the clean-up broke off", error)) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) | Err(error) => {
                        tracing::warn!(upload.id = %id, %error, "upload {id} was aborted; its bytes are not removed yet");
                    }
                }
                Ok(())
            }
            EndOutcome::Already(UploadState::Completed) => {
                let detail = format!("upload `{id}` is a file; delete /api/files/{} instead", id.file());
                Err(Error::new(Code::UploadFinalized, detail))
            }
            EndOutcome::Already(_) => Ok(()),
            EndOutcome::Busy => {
                let detail = format!("upload `{id}` is being finalized; delete its file when that is done");
                Err(Error::new(Code::UploadFinalized, detail).retry_after(Duration::from_secs(1)))
            }
            EndOutcome::Missing => Err(not_found(id)),
        }
    }

    /// The store has begun an upload that the database does not know. If it is not known what the database knows, a
    /// lifecycle rule of the store ends it, as it does if this process is killed.
    fn never_began(&self, store: &Arc<dyn PartStore>, upload: &Upload, error: &Error) {
        if error.code() == Code::Unavailable {
            return;
        }
        let (store, key, parts) = (Arc::clone(store), upload.key.clone(), upload.parts.clone());
        self.tasks.spawn("abandon upload that never began", async move {
            if let Err(error) = store.abandon(&key, &parts).await {
                tracing::warn!(%key, %error, "an upload that never began is left in the store: {error}");
            }
        });
    }

    /// Removes what an aborted or expired session left in the store. Can be repeated.
    async fn clear(&self, upload: &Upload) -> Result<()> {
        self.sessions.drain(upload.id).await;
        self.fronts.forget(upload.id);
        self.vouched.remove(upload.id);
        self.store_of(upload)?.abandon(&upload.key, &upload.parts).await?;
        self.sessions.set_cleared(upload.id).await.map(drop)
    }

    /// Whoever has an upload token reaches only what was begun with it.
    async fn reach(&self, who: &Principal, id: UploadId) -> Result<()> {
        let Some(grant) = who.grant() else { return Ok(()) };
        let token = self.sessions.token_of(who.tenant(), id).await?;
        if token == Some(grant.token) { Ok(()) } else { Err(not_found(id)) }
    }

    /// Where the upload's bytes are: the default store as it was when it began.
    fn store_of(&self, upload: &Upload) -> Result<&Arc<dyn PartStore>> {
        self.stores.named(&upload.store)
    }

    async fn find(&self, who: &Principal, id: UploadId) -> Result<Upload> {
        self.sessions.load(who.tenant(), id).await?.ok_or_else(|| not_found(id))
    }

    /// What is missing, and how many bytes are there before the first gap.
    async fn missing(&self, upload: &Upload) -> Result<(Vec<(u32, u32)>, u64)> {
        if upload.received_chunks == upload.chunk_count {
            return Ok((Vec::new(), upload.total_size));
        }
        // One range more than gaps are told: n gaps lie between n + 1 runs.
        let runs_max = u32::try_from(MISSING_RANGES_MAX + 1).unwrap_or(u32::MAX);
        let runs = self.sessions.received(upload.id, runs_max).await?;
        let missing = gaps(&runs, upload.chunk_count, MISSING_RANGES_MAX);
        let first = missing.first().map_or(upload.chunk_count, |&(first, _)| first);
        Ok((missing, (u64::from(first) * upload.chunk_size).min(upload.total_size)))
    }

    /// Whether the file's SHA-256 is to be known when it is finished.
    fn wants_sha256(&self, upload: &Upload) -> bool {
        let declared = upload.checksum.is_some_and(|checksum| checksum.algorithm() == Algorithm::Sha256);
        declared || self.rules.checksum != ChecksumPolicy::Crc64Nvme
    }
}

/// What is asked for, as far as an upload token allows it, and with what it adds.
fn granted(who: &Principal, new: NewUpload) -> Result<NewUpload> {
    let Some(grant) = who.grant() else { return Ok(new) };
    grant.check_size(new.total_size)?;
    Ok(NewUpload { metadata: grant.merge(&new.metadata)?, ..new })
}

fn not_found(id: UploadId) -> Error {
    Error::new(Code::UploadNotFound, format!("there is no upload `{id}`"))
}

fn read_position(position: &str) -> Result<(Timestamp, UploadId)> {
    let parsed = position
        .split_once(' ')
        .and_then(|(micros, id)| Some((Timestamp::from_micros(micros.parse().ok()?), id.parse().ok()?)));
    parsed.ok_or_else(|| Error::new(Code::InvalidRequest, "`cursor` is not one of this list"))
}
