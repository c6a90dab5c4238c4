//! Blobs in a folder of this machine: one file each, put together in place from parts.
//!
//! A part is written where it belongs in one sparse staging file per upload; completing it is a flush, a rename
//! and a flush of the folder, however large it is. Each file here is one idea: `root` the folder and its
//! owner, `space` room on the disk, `receive` bytes in, `read` bytes out, `staging` one upload's file,
//! `open_files` those in use, `finish` completing and removing, `whole` blobs that come in one piece, `list` the
//! walk.
//!
//! Needs tokio's multi-thread runtime: bytes are written and read on the worker that has them in its cache.

mod beside;
mod finish;
mod list;
pub mod lock;
mod name;
mod open_files;
mod read;
mod receive;
mod root;
mod space;
mod staging;
#[cfg(test)]
mod tests;
mod whole;
mod writeback;

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use uuid::Uuid;

use self::name::StagedName;
use self::open_files::OpenFiles;
use self::read::Buffers;
use self::receive::{Target, Writeback, in_place, off_worker};
use self::root::Root;
use self::space::Ahead;
use self::staging::{Flush, Phase, Shared, Staging};
use super::{
    Blob, BlobError, BlobErrorKind, BlobKey, BlobMeta, BlobResult, BlobStore, Leftovers, Length, PartLimits,
    PartStore, PartTag, PartsId, Span, Unfinished,
};
use crate::base::{ByteRange, ByteStream, ChunkIndex, Timestamp, stream};
use crate::config::{Durability, MinFree};
use crate::telemetry::failpoint;
use crate::telemetry::metrics::{ChunkStage, chunk_stage};

/// Smaller chunks would cost more in receipts than in bytes.
const CHUNK_BYTES_MIN: u64 = 64 << 10;
/// A larger chunk would be too much to send again.
const CHUNK_BYTES_MAX: u64 = 1 << 30;
/// So many receipts are read in a second or two when an upload is finished.
const CHUNKS_MAX: u32 = 1_000_000;

/// How a local store is opened.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Its folder; made if it is not there.
    pub root: PathBuf,
    /// When bytes are forced to the disk.
    pub durability: Durability,
    /// What is left free on the folder's filesystem.
    pub min_free: MinFree,
}

/// Blobs in a folder. Clones are the same store.
#[derive(Debug, Clone)]
pub struct LocalStore {
    shared: Arc<Shared>,
    files: Arc<OpenFiles>,
    buffers: Arc<Buffers>,
}

impl LocalStore {
    /// Takes the folder for this process until the last clone is dropped, and clears what an earlier process
    /// left in `tmp/`.
    ///
    /// # Errors
    /// `Unavailable` if another process owns the folder (the message names both); `Internal` if it cannot be used.
    pub async fn open(options: LocalOptions) -> BlobResult<Self> {
        Self::open_with(options, |file| Ok(rustix::fs::fdatasync(file)?)).await
    }

    async fn open_with(options: LocalOptions, flush: Flush) -> BlobResult<Self> {
        off_worker(move || Self::over(Root::open(&options.root, options.durability)?, &options, flush)).await
    }

    /// Everything that is staged: what the journal does not know of is to be removed by
    /// [`LocalStore::remove_stray`], before anything is begun.
    pub async fn strays(&self) -> BlobResult<Vec<PartsId>> {
        let shared = Arc::clone(&self.shared);
        off_worker(move || finish::staged(&shared)).await
    }

    /// Removes what is staged under a name; fine if nothing is.
    pub async fn remove_stray(&self, parts: &PartsId) -> BlobResult<()> {
        let staging = self.files.of(&StagedName::parse(parts)?);
        let files = Arc::clone(&self.files);
        off_worker(move || {
            let _turn = staging.turn();
            staging.remove()?;
            files.forget(&staging);
            Ok(())
        })
        .await
    }

    /// Blobs staged in one piece and not revealed: what the database knows is to be revealed, the rest deleted.
    pub async fn unrevealed(&self) -> BlobResult<Vec<BlobKey>> {
        let shared = Arc::clone(&self.shared);
        off_worker(move || whole::unrevealed(&shared)).await
    }

    /// Makes sure that the staging file is open, and there.
    fn open_staged(&self, key: &BlobKey, staging: &Staging) -> BlobResult<()> {
        let _turn = staging.turn();
        if staging.phase() != Phase::Open {
            return Err(root::wrong(format!("the upload of `{key}` has ended: nothing may be written")));
        }
        let size = self.files.announced(staging.name());
        if staging.existing(size)?.is_some() {
            return Ok(());
        }
        if self.find(key)?.is_some() {
            return Err(root::wrong(format!("`{key}` is complete: nothing may be written")));
        }
        staging.existing_or_new(size).map(drop)
    }

    /// How many bytes the staging file has, if there is one; it is open then.
    fn staged_length(&self, staging: &Staging) -> BlobResult<Option<u64>> {
        staging.check()?;
        if let (Some(target), Phase::Open) = (staging.opened(), staging.phase()) {
            return length(&target.file).map(Some);
        }
        let _turn = staging.turn();
        if staging.phase() != Phase::Open {
            return Ok(None);
        }
        let size = self.files.announced(staging.name());
        staging.existing(size)?.map(|target| length(&target.file)).transpose()
    }

    /// What lies under `key`, if it is a blob. Blocks shortly.
    fn find(&self, key: &BlobKey) -> BlobResult<Option<BlobMeta>> {
        self.shared.root.believe(finish::find(&self.shared.root, key))
    }
}

#[async_trait]
impl BlobStore for LocalStore {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn put(&self, key: &BlobKey, body: ByteStream, size: Option<u64>) -> BlobResult<BlobMeta> {
        let (file, temporary) = in_place(|| self.shared.root.temporary_file())?;
        let ahead = size.map_or(Ahead::Nothing, |size| Ahead::Blocks { size });
        let writeback = Writeback::before(self.shared.durability);
        let target = Target::new(file, Arc::clone(&self.shared.space), ahead, writeback);
        let written = target.receive(0, size.unwrap_or(u64::MAX), body).await?.bytes;
        if size.is_some_and(|size| size != written) {
            let context = format!("{written} bytes came for `{key}`, {size:?} were announced");
            return Err(BlobError::new(BlobErrorKind::BodyCut, context));
        }
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        off_worker(move || finish::put(&shared, &key, &target.file, &temporary)).await
    }

    async fn stage(&self, key: &BlobKey, body: ByteStream, length: Length) -> BlobResult<u64> {
        whole::stage(&self.shared, key, body, length).await
    }

    async fn keep(&self, keys: &[BlobKey]) -> BlobResult<()> {
        let (shared, keys) = (Arc::clone(&self.shared), keys.to_vec());
        off_worker(move || whole::keep(&shared, &keys)).await
    }

    async fn reveal(&self, keys: &[BlobKey]) -> BlobResult<()> {
        in_place(|| whole::reveal(&self.shared, keys))
    }

    fn leftovers(&self) -> Leftovers {
        Leftovers::FoundAtStart
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> BlobResult<Option<Blob>> {
        let path = self.shared.root.blob(key);
        let opened = match root::open_cached(&path) {
            Some(file) => Some(file),
            None => in_place(|| self.shared.root.believe(whole::open(&self.shared.root, key)))?,
        };
        let Some(file) = opened else { return Ok(None) };
        let metadata = file.metadata().map_err(|error| root::at("reading", &path, error))?;
        let Some(meta) = finish::blob(&path, key, &metadata)? else { return Ok(None) };
        let range = match range {
            Some(range) if range.end() > meta.size => {
                let context = format!("`{key}` has {} bytes, {range:?} was asked for", meta.size);
                return Err(root::wrong(context));
            }
            Some(range) => Some(range),
            None => {
                // Reads further ahead. Advice may be refused.
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
                ByteRange::new(0, meta.size)
            }
        };
        let buffers = Arc::clone(&self.buffers);
        let bytes = range.map_or_else(stream::empty, |range| read::stream(BlobFile(file), range, buffers));
        Ok(Some(Blob { meta, bytes }))
    }

    async fn head(&self, key: &BlobKey) -> BlobResult<Option<BlobMeta>> {
        in_place(|| self.find(key))
    }

    async fn delete(&self, key: &BlobKey) -> BlobResult<()> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        off_worker(move || {
            shared.root.require_present()?;
            finish::delete(&shared, &key)
        })
        .await
    }

    async fn list(&self, prefix: &str) -> BlobResult<BoxStream<'static, BlobResult<BlobMeta>>> {
        let blobs = self.shared.root.blobs();
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() && BlobKey::parse(prefix).is_none() {
            return Err(root::wrong(format!("`{prefix}` cannot be the beginning of a key")));
        }
        let folder = if prefix.is_empty() { blobs.clone() } else { blobs.join(prefix) };
        in_place(|| list::list(blobs, &folder))
    }

    async fn available(&self) -> BlobResult<Option<u64>> {
        in_place(|| {
            self.shared.root.require_present()?;
            // What is allocated ahead belongs to blobs in the making: they will fill it.
            Ok(self.shared.space.available()?.saturating_add(self.files.ahead()))
        })
        .map(Some)
    }

    async fn store_id(&self) -> BlobResult<Option<Uuid>> {
        let shared = Arc::clone(&self.shared);
        off_worker(move || shared.root.store_id()).await
    }

    async fn set_store_id(&self, id: Uuid) -> BlobResult<Uuid> {
        let shared = Arc::clone(&self.shared);
        off_worker(move || shared.root.set_store_id(id)).await
    }

    async fn probe(&self) -> BlobResult<()> {
        self.available().await.map(drop)
    }
}

#[async_trait]
impl PartStore for LocalStore {
    fn limits(&self) -> PartLimits {
        PartLimits { min_bytes: CHUNK_BYTES_MIN, max_bytes: CHUNK_BYTES_MAX, count_max: CHUNKS_MAX }
    }

    async fn begin(&self, key: &BlobKey, size: Option<u64>) -> BlobResult<PartsId> {
        let name = StagedName::of(key)?;
        let parts = name.parts();
        if let Some(size) = size {
            self.files.announce(name, size);
        }
        Ok(parts)
    }

    async fn write(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        span: Span,
        body: ByteStream,
    ) -> BlobResult<PartTag> {
        let staging = self.files.of(&StagedName::parse(parts)?);
        if staging.opened().is_none() {
            in_place(|| self.open_staged(key, &staging))?;
        }
        let target = staging.opened().expect("INVARIANT: it has just been opened");
        let _writer = staging.write()?;
        failpoint::hit("blob.write.before_data");
        let received = target.receive(span.offset, span.len, body).await?;
        chunk_stage(ChunkStage::Write, received.disk_time);
        failpoint::hit("blob.write.after_data");
        let synced = self.shared.durability == Durability::Chunk;
        if synced {
            let started = Instant::now();
            staging.flush().await?;
            chunk_stage(ChunkStage::Flush, started.elapsed());
        }
        Ok(PartTag { etag: None, synced })
    }

    async fn read_staged(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        range: ByteRange,
    ) -> BlobResult<Option<ByteStream>> {
        let staging = self.files.of(&StagedName::parse(parts)?);
        let found = in_place(|| self.staged_length(&staging))?;
        match found {
            Some(size) if range.end() > size => Ok(None),
            Some(_) => Ok(Some(read::stream(StagedFile(staging), range, Arc::clone(&self.buffers)))),
            None => match self.head(key).await? {
                Some(meta) if range.end() <= meta.size => {
                    Ok(self.get(key, Some(range)).await?.map(|blob| blob.bytes))
                }
                _ => Ok(None),
            },
        }
    }

    async fn complete(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        size: u64,
        _tags: &[PartTag],
    ) -> BlobResult<BlobMeta> {
        let staging = self.files.of(&StagedName::parse(parts)?);
        let (shared, files, key) = (Arc::clone(&self.shared), Arc::clone(&self.files), key.clone());
        off_worker(move || {
            shared.root.require_present()?;
            finish::complete(&shared, &files, &staging, &key, size)
        })
        .await
    }

    async fn differing(
        &self,
        _key: &BlobKey,
        _parts: &PartsId,
        _tags: &[PartTag],
    ) -> BlobResult<Option<Vec<ChunkIndex>>> {
        Ok(None)
    }

    async fn discard(&self, unfinished: &Unfinished) -> BlobResult<()> {
        self.remove_stray(&unfinished.parts).await
    }

    async fn abandon(&self, key: &BlobKey, parts: &PartsId) -> BlobResult<()> {
        let staging = self.files.of(&StagedName::parse(parts)?);
        let (shared, files, key) = (Arc::clone(&self.shared), Arc::clone(&self.files), key.clone());
        off_worker(move || {
            shared.root.require_present()?;
            finish::abandon(&shared, &files, &staging, &key)
        })
        .await
    }
}

/// What a reader holds on to.
struct BlobFile(File);

impl AsRef<File> for BlobFile {
    fn as_ref(&self) -> &File {
        &self.0
    }
}

/// What a reader of staged bytes holds on to.
struct StagedFile(Arc<Staging>);

impl AsRef<File> for StagedFile {
    fn as_ref(&self) -> &File {
        &self.0.opened().expect("INVARIANT: it was opened before the reader was made").file
    }
}

fn length(file: &File) -> BlobResult<u64> {
    let metadata = file.metadata().map_err(|error| BlobError::io("reading a file's length", error))?;
    Ok(metadata.len())
}

/// What a file's metadata say of a blob.
fn meta(key: &BlobKey, metadata: &Metadata) -> BlobMeta {
    let micros = metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1_000);
    BlobMeta { key: key.clone(), size: metadata.len(), modified: Timestamp::from_micros(micros) }
}
