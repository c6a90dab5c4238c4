//! Files that come in one request, one or several: taken in unseen, verified, made visible together or not at all.
//!
//! The bytes of each are staged in the store under the key that its file will have. One transaction adds all
//! rows; before it nothing can be seen, and whatever happens before it leaves nothing: a batch that is dropped
//! takes its bytes back, one that died with the process is found at the next start, or was announced before
//! ([`crate::blob::Leftovers`]).

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use super::UploadService;
use super::intake::{Intake, Taken};
use super::plan::too_large;
use crate::base::digest::{Algorithm, ChunkHasher, Declared, Sha256State};
use crate::base::grant::check_content_type;
use crate::base::media_type::{self, HEAD_BYTES};
use crate::base::metadata::{self, Metadata};
use crate::base::principal::Scope;
use crate::base::{ByteStream, Code, Error, FileId, Principal, Result};
use crate::blob::{BlobError, BlobErrorKind, BlobKey, Leftovers, Length};
use crate::config::{ChecksumPolicy, Durability};
use crate::db::Commit;
use crate::files::{File, Incoming};
use crate::idempotency::Answered;
use crate::session::{Announced, Publication};
use crate::telemetry::{failpoint, metrics};

/// Whoever waits for the commit longer than this is told that the database is away; it may still come.
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(4);

/// A file as it comes from a client.
pub struct NewFile {
    /// A label, not a path.
    pub filename: String,
    /// What the client says it is.
    pub content_type: Option<String>,
    /// The client's own pairs.
    pub metadata: Metadata,
    /// Its length, where the client told it.
    pub announced: Option<u64>,
    /// Digests that must hold.
    pub declared: Vec<Declared>,
    /// Its bytes.
    pub body: ByteStream,
}

/// Files that become visible together. Dropped before [`Batch::publish`], it leaves nothing.
pub struct Batch {
    service: Arc<UploadService>,
    who: Principal,
    files: Vec<File>,
    /// Where bytes of this batch are, or are about to be.
    staged: Vec<BlobKey>,
    /// The same, where the store would not find them again: until when nobody else touches them.
    announced: Vec<Announced>,
    /// Their room in the tenant's quota, until they are counted in the database.
    room: Vec<Incoming>,
}

impl UploadService {
    /// Begins to take files in.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn batch(self: &Arc<Self>, who: &Principal) -> Result<Batch> {
        who.require(Scope::Upload)?;
        let (service, who) = (Arc::clone(self), who.clone());
        let (files, staged, announced, room) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Ok(Batch { service, who, files, staged, announced, room })
    }
}

impl Batch {
    /// Takes one file in: reads its body to the end, stores it, and verifies what was declared. Streams; holds a
    /// few hundred KiB of the body at a time.
    ///
    /// # Errors
    /// `InvalidRequest`, `InvalidDigest` if a digest is demanded and none came; `FileTooLarge` `{ max_bytes }`, before
    /// the body is read if its length was announced, and so `QuotaExceeded` `{ limit_bytes, used_bytes }`; `StorageFull`;
    /// `ChecksumMismatch`; `UnsupportedMediaType` where an upload token is for other types. Nothing of this file is left.
    pub async fn add(&mut self, new: NewFile) -> Result<()> {
        let length = self.check(&new)?;
        let grant = self.who.grant().cloned();
        let service = Arc::clone(&self.service);
        let room = service.files.quota().expect(self.who.tenant(), new.announced).await?;
        let now = service.clock.now();
        let id = FileId::new(now);
        let key = BlobKey::of_file(self.who.tenant(), id);
        if service.stores.default_store().leftovers() == Leftovers::Announced {
            let until = now.plus(service.rules.announced_for);
            let store = service.stores.default_name();
            self.announced.push(service.sessions.announce(store, &key, until, now).await?);
        }
        self.staged.push(key.clone());

        let (sha256s, others): (Vec<_>, Vec<_>) =
            new.declared.into_iter().partition(|declared| declared.algorithm() == Algorithm::Sha256);
        let wants_sha256 = service.rules.checksum != ChecksumPolicy::Crc64Nvme || !sha256s.is_empty();
        let sha256 = wants_sha256.then(Sha256State::default);
        let cut = CancellationToken::new();
        let (head, body) = behead(room.watch(new.body));
        let (intake, body) = Intake::watch(body, ChunkHasher::new(others), sha256, &cut);
        let staging = service.stores.default_store().stage(&key, body, length);
        let size = match self.while_announced(staging).await? {
            Ok(size) => size,
            Err(error) => return Err(room.refusal().unwrap_or_else(|| refuse(error, length, &intake))),
        };
        self.room.push(room);
        let Taken { hasher, sha256, .. } = intake.finish();
        let sha256 = sha256.map(|state| state.finish());
        let crc64 = hasher.verify()?;
        let (head, claimed) =
            (head.lock().unwrap_or_else(PoisonError::into_inner).clone(), new.content_type.as_deref());
        let file = File {
            id,
            tenant: self.who.tenant().clone(),
            store: service.stores.default_name().to_owned(),
            key,
            filename: new.filename,
            content_type: media_type::decide(&head, claimed),
            size,
            sha256,
            crc64,
            metadata: grant.as_ref().map_or(Ok(new.metadata.clone()), |grant| grant.merge(&new.metadata))?,
            created_at: now,
            updated_at: now,
            version: 1,
            derived: 0,
        };
        if let Some(allowed) = grant.as_ref().and_then(|grant| grant.content_types.as_ref()) {
            check_content_type(&media_type::decide_strictly(&head, claimed), allowed)?;
        }
        for declared in sha256s.iter().filter_map(Declared::sha256) {
            declared.expect(&file.checksum())?;
        }
        self.files.push(file);
        Ok(())
    }

    /// Does `work`, however long it takes, and gives what was announced more time meanwhile.
    ///
    /// # Errors
    /// Only those of that.
    async fn while_announced<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        let service = Arc::clone(&self.service);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(service.rules.announced_for / 3) => {}
            }
            let until = service.clock.now().plus(service.rules.announced_for);
            for announced in &mut self.announced {
                match service.sessions.renew_announced(announced, until).await {
                    Err(error) if error.code() == Code::Overloaded => return Err(error),
                    // It is tried again; publishing them looks at it once more anyway.
                    Err(error) => {
                        tracing::warn!(key = %announced.key, %error, "announced bytes were not given more time: {error}");
                    }
                    Ok(()) => {}
                }
            }
        }
    }

    /// What can be said before a byte is read.
    fn check(&self, new: &NewFile) -> Result<Length> {
        let rules = &self.service.rules;
        metadata::check_filename(&new.filename)?;
        if let Some(content_type) = &new.content_type {
            metadata::check_content_type(content_type)?;
        }
        if rules.require_chunk_checksum && new.declared.is_empty() {
            let detail =
                "this service takes no bytes without a digest: send Content-Digest or X-Checksum-Crc64nvme";
            return Err(Error::new(Code::InvalidDigest, detail));
        }
        let max =
            self.who.grant().map_or(rules.max_file_bytes, |grant| grant.max_size.min(rules.max_file_bytes));
        match new.announced {
            Some(size) if size > max => Err(too_large(size, max)),
            Some(size) => Ok(Length::Exactly(size)),
            None => Ok(Length::AtMost(max)),
        }
    }

    /// Makes all files visible, in one transaction, and keeps what `keep` makes of them. Goes on when the client leaves.
    ///
    /// # Errors
    /// `QuotaExceeded` `{ limit_bytes, used_bytes }`; `Unavailable` when the database does not answer: it may still
    /// happen.
    pub async fn publish(
        self,
        keep: impl Fn(&[File]) -> Option<Answered> + Send + 'static,
    ) -> Result<Vec<File>> {
        let tasks = self.service.tasks.clone();
        // On its own: whoever gives up waiting must not take back what is about to be seen.
        let publishing = tasks.spawn("publish files", self.commit(keep));
        match tokio::time::timeout(COMMIT_WAIT_MAX, publishing).await {
            Ok(joined) => joined.map_err(|error| Error::internal("publishing broke off", error))?,
            Err(elapsed) => Err(Error::unavailable(
                "the database does not answer; the files may be there in a while",
                elapsed,
            )),
        }
    }

    async fn commit(mut self, keep: impl Fn(&[File]) -> Option<Answered> + Send) -> Result<Vec<File>> {
        let service = Arc::clone(&self.service);
        failpoint::hit("files.before_keep");
        if service.rules.durability != Durability::None {
            service.stores.default_store().keep(&self.staged).await?;
        }
        failpoint::hit("files.before_commit");
        let commit = match service.rules.durability {
            Durability::None => Commit::Normal,
            Durability::Finalize | Durability::Chunk => Commit::Durable,
        };
        let (mut files, now) = (std::mem::take(&mut self.files), service.clock.now());
        for file in &mut files {
            (file.created_at, file.updated_at) = (now, now);
        }
        let (keys, announced) = (std::mem::take(&mut self.staged), std::mem::take(&mut self.announced));
        let (answered, limits) = (keep(&files), service.files.quota().limits());
        let jobs = service.jobs_of(&files, now);
        let published = Publication { files: &files, jobs: &jobs, answered, announced: &announced };
        let published = service.sessions.publish(&self.who, published, commit, limits).await;
        if let Err(error) = published {
            if error.code() != Code::Unavailable {
                // Nothing was changed: they go with this value.
                (self.staged, self.announced) = (keys, announced);
            }
            return Err(error);
        }
        failpoint::hit("files.after_commit");
        service.files.note_change(self.who.tenant(), files.iter().map(|file| file.id)).await;
        service.wake(&jobs);
        if let Err(error) = service.stores.default_store().reveal(&keys).await {
            tracing::error!(%error, "files are not in their place yet, the next start moves them: {error}");
        }
        for file in &files {
            metrics::file_created(file.size);
        }
        Ok(files)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let (staged, announced) = (std::mem::take(&mut self.staged), std::mem::take(&mut self.announced));
        if (staged.is_empty() && announced.is_empty()) || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let service = Arc::clone(&self.service);
        self.service.tasks.spawn("take files back", async move {
            for Announced { store, key, until } in announced {
                // If this fails, it happens when their time is over.
                if let Err(error) = service.files.remove(&store, &key, until).await {
                    tracing::warn!(%key, %error, "blob {key} was not removed yet: {error}");
                }
            }
            if service.stores.default_store().leftovers() == Leftovers::Announced {
                return;
            }
            for key in staged {
                if let Err(error) = service.stores.default_store().delete(&key).await {
                    tracing::warn!(%key, %error, "blob {key} was not removed yet: {error}");
                }
            }
        });
    }
}

/// Keeps the first bytes of a stream as they pass.
fn behead(body: ByteStream) -> (Arc<Mutex<Vec<u8>>>, ByteStream) {
    let head = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&head);
    let body = body.inspect_ok(move |frame| {
        let mut head = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = (HEAD_BYTES - head.len()).min(frame.len());
        head.extend_from_slice(&frame[..missing]);
    });
    (head, body.boxed())
}

/// What to tell a client whose body could not be taken.
fn refuse(error: BlobError, length: Length, intake: &Intake) -> Error {
    match (error.kind(), length) {
        (BlobErrorKind::BodyTooLong, Length::AtMost(max)) => too_large(intake.received(), max),
        _ => error.into(),
    }
}
