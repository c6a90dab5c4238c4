//! Where bytes live: whole blobs under keys, and blobs that are put together from parts.
//!
//! [`BlobStore`] is what every backend can do, [`PartStore`] what uploads need beyond it. The backends stand
//! beside this file. Who may see a blob, and what is known of it, is not decided here: a store knows keys and
//! bytes. Missing things are `Ok(None)`; deleting what is not there is fine.

mod error;
pub mod local;
pub mod object;
mod stores;

use std::fmt;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use uuid::Uuid;

pub use self::error::{BlobError, BlobErrorKind, BlobResult};
pub use self::stores::Stores;
pub use crate::base::{BlobKey, PartsId};
use crate::base::{ByteRange, ByteStream, ChunkIndex, Timestamp};

/// What a store knows of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobMeta {
    /// Its key.
    pub key: BlobKey,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
}

/// A blob, or a part of it, to be read once.
pub struct Blob {
    /// Of the whole blob.
    pub meta: BlobMeta,
    /// The bytes that were asked for; a store that fails in the middle ends them with an error.
    pub bytes: ByteStream,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// What a backend demands of the parts of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLimits {
    /// Every part but the last has at least this many bytes.
    pub min_bytes: u64,
    /// Every part has at most this many bytes.
    pub max_bytes: u64,
    /// A blob has at most this many parts.
    pub count_max: u32,
}

/// Where a part belongs in its blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its number, from 0.
    pub index: ChunkIndex,
    /// Its first byte in the blob.
    pub offset: u64,
    /// How many bytes it has.
    pub len: u64,
}

/// How many bytes a body may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// As many as this: its sender said so.
    Exactly(u64),
    /// Nobody knows; not more than this.
    AtMost(u64),
}

impl Length {
    /// More than this are too many.
    pub fn max(self) -> u64 {
        match self {
            Self::Exactly(bytes) | Self::AtMost(bytes) => bytes,
        }
    }
}

/// Who finds the bytes of a staged blob that nobody came back for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// The store, when it is opened again: it knows them by their names.
    FoundAtStart,
    /// Nobody: a row that says when to delete them must be committed before [`BlobStore::stage`].
    Announced,
}

/// What a store says of a part that it has taken; kept in the journal, given back to [`PartStore::complete`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartTag {
    /// The store's own name for these bytes, where it has one (an S3 `ETag`).
    pub etag: Option<String>,
    /// The bytes survive a loss of power.
    pub synced: bool,
}

/// A blob in the making, as its store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// What it is to become.
    pub key: BlobKey,
    /// The store's name for it.
    pub parts: PartsId,
    /// When it was begun.
    pub begun: Timestamp,
}

/// Blobs under keys.
#[async_trait]
pub trait BlobStore: Send + Sync + fmt::Debug {
    /// The backend's name, for logs and metrics.
    fn name(&self) -> &'static str;

    /// Stores `body` under `key`, all or nothing, in place of what was there; `size` if it is known.
    ///
    /// A key must not be a folder of another one (`a` and `a/b`).
    ///
    /// # Errors
    /// [`BlobErrorKind::BodyCut`] or [`BlobErrorKind::BodyTooLong`] if the body has not `size` bytes.
    async fn put(&self, key: &BlobKey, body: ByteStream, size: Option<u64>) -> BlobResult<BlobMeta>;

    /// Takes `body` in for `key`, where nobody sees it; answers its length. All or nothing, and when dropped in the
    /// middle nothing. [`BlobStore::keep`] and [`BlobStore::reveal`] make it the blob, [`BlobStore::delete`] takes it
    /// back; [`BlobStore::leftovers`] says who does if the process ends before.
    ///
    /// # Errors
    /// Those of [`BlobStore::put`]; [`BlobErrorKind::Full`], if possible before the body is read.
    async fn stage(&self, key: &BlobKey, body: ByteStream, length: Length) -> BlobResult<u64>;

    /// Makes staged blobs survive the loss of power; to be called before anybody is told of them.
    async fn keep(&self, keys: &[BlobKey]) -> BlobResult<()>;

    /// Puts staged blobs where they belong, for good. To be called when what refers to them is committed: a store
    /// finds them for [`BlobStore::get`] before that too. Can be repeated.
    async fn reveal(&self, keys: &[BlobKey]) -> BlobResult<()>;

    /// What becomes of blobs that were staged and never revealed.
    fn leftovers(&self) -> Leftovers;

    /// Opens a blob; `range` must lie within it, anything else is an error.
    ///
    /// What is read is the blob that was opened, even if it is replaced or deleted meanwhile.
    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> BlobResult<Option<Blob>>;

    /// What is known of a blob.
    async fn head(&self, key: &BlobKey) -> BlobResult<Option<BlobMeta>>;

    /// Removes a blob, staged or not; fine if there is none. It does not come back after a loss of power.
    async fn delete(&self, key: &BlobKey) -> BlobResult<()>;

    /// All blobs below the folder `prefix` (`""`: all), in no particular order. Not a snapshot: what is put or
    /// deleted meanwhile may be in it or not.
    async fn list(&self, prefix: &str) -> BlobResult<BoxStream<'static, BlobResult<BlobMeta>>>;

    /// How many bytes it will still take before its reserve is touched, with those that it has set aside for blobs
    /// in the making; `None` if it knows no bound.
    async fn available(&self) -> BlobResult<Option<u64>>;

    /// Which store it says it is; `None` if it has never been used.
    ///
    /// # Errors
    /// [`BlobErrorKind::Internal`] if what it says cannot be read.
    async fn store_id(&self) -> BlobResult<Option<Uuid>>;

    /// Says which store it is, at its first use. The first writer wins: answers what the store is called from now on,
    /// which is `id` only if nobody else was earlier. Of two at the same moment the last one wins where the store knows
    /// no conditional write (Garage): then the other one's next start is refused.
    async fn set_store_id(&self, id: Uuid) -> BlobResult<Uuid>;

    /// Whether no blob is in it.
    async fn is_empty(&self) -> BlobResult<bool> {
        Ok(self.list("").await?.next().await.transpose()?.is_none())
    }

    /// Whether it answers, and is still the one that was opened; quick, and cheap enough for every few seconds.
    ///
    /// # Errors
    /// Why not.
    async fn probe(&self) -> BlobResult<()>;
}

/// Blobs put together from parts that come in any order, on any connection.
#[async_trait]
pub trait PartStore: BlobStore {
    /// What parts must be like here.
    fn limits(&self) -> PartLimits;

    /// Begins a blob of `size` bytes (if known). Nothing is visible under `key` before [`PartStore::complete`].
    async fn begin(&self, key: &BlobKey, size: Option<u64>) -> BlobResult<PartsId>;

    /// Stores one part. Reads `body` to its end; fails if it brings more than `span.len` bytes.
    ///
    /// The caller makes sure that nobody else writes this span, and counts the part only when this returned and
    /// the bytes were what they should be. Fewer bytes are no error: the caller compares. When dropped in the
    /// middle, the span's bytes are anything. Whether the part is `synced` is decided by the store's durability.
    ///
    /// A write that was abandoned meanwhile may succeed all the same, to nowhere: only the journal knows.
    ///
    /// # Errors
    /// [`BlobErrorKind::BodyTooLong`], and nothing behind the span was touched; [`BlobErrorKind::Full`], if
    /// possible before the body is read; `Body…` kinds as the body says; [`BlobErrorKind::Busy`] before the body is
    /// read, if there is no room for it in memory; [`BlobErrorKind::Gone`] if the store has given the upload up;
    /// [`BlobErrorKind::Internal`] once the blob is complete, or the store has lost bytes of it.
    async fn write(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        span: Span,
        body: ByteStream,
    ) -> BlobResult<PartTag>;

    /// Whether what was written can be read before the blob is complete ([`PartStore::read_staged`]). If not, parts
    /// cannot be looked at, and none can be replaced once the blob is.
    fn reads_staged(&self) -> bool {
        true
    }

    /// Reads bytes of parts written before; `None` where the backend cannot, or they are not there.
    async fn read_staged(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        range: ByteRange,
    ) -> BlobResult<Option<ByteStream>>;

    /// Makes the blob of `size` bytes visible, atomically. Can be repeated, also at once: done already is done.
    ///
    /// The caller makes sure that all parts are there and that nobody writes any more. Staged bytes from `size`
    /// on belong to no part (of a body that was cut) and are dropped. It goes on when the caller is dropped.
    ///
    /// # Errors
    /// [`BlobErrorKind::Incomplete`] if the staged bytes are fewer than `size`, or not those of `tags`
    /// ([`PartStore::differing`] says which); [`BlobErrorKind::Gone`] if the store has given the upload up;
    /// [`BlobErrorKind::Internal`] while somebody writes, or for good once the store has lost bytes; then nothing has
    /// changed. After [`BlobErrorKind::Unavailable`] it may be done: repeat it.
    async fn complete(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        size: u64,
        tags: &[PartTag],
    ) -> BlobResult<BlobMeta>;

    /// Which parts the store has not as `tags` (one for each part, in order) say; `None` if it cannot tell: then what
    /// is staged is to be read.
    async fn differing(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        tags: &[PartTag],
    ) -> BlobResult<Option<Vec<ChunkIndex>>>;

    /// All blobs in the making, in no particular order; none where the store does not list them.
    async fn unfinished(&self) -> BlobResult<BoxStream<'static, BlobResult<Unfinished>>> {
        Ok(stream::empty().boxed())
    }

    /// Removes the parts of a blob in the making that nobody will complete; the blob `key` stays, if there is one.
    async fn discard(&self, unfinished: &Unfinished) -> BlobResult<()>;

    /// Removes everything begun under `parts`, and `key` itself if it was completed. Fine if nothing is there.
    async fn abandon(&self, key: &BlobKey, parts: &PartsId) -> BlobResult<()>;
}
