//! Uploads by parts, which the store puts together.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::multipart::PartId;
use object_store::{ObjectStoreExt, PutPayload};

use super::s3::ours::{Bucket, StoredPart};
use super::{ObjectStore, tag, trouble, wrong};
use crate::base::{ByteStream, ChunkIndex};
use crate::blob::{
    BlobError, BlobErrorKind, BlobKey, BlobMeta, BlobResult, BlobStore, PartTag, PartsId, Span,
};
use crate::telemetry::failpoint;
use crate::telemetry::metrics::{ChunkStage, chunk_stage};

/// The name of an upload without bytes: there is nothing to be put together.
const NO_PARTS: &str = "none";
/// The name of an upload of blocks.
const BLOCKS: &str = "blocks";
/// Smaller frames are copied together, so that a body of tiny ones costs no more memory than its bytes.
const FRAME_BYTES_MIN: usize = 4 << 10;
/// What small frames are copied into.
const BLOCK_BYTES: usize = 64 << 10;

pub(super) async fn begin(store: &ObjectStore, key: &BlobKey, size: Option<u64>) -> BlobResult<PartsId> {
    if size == Some(0) {
        return Ok(PartsId::new(NO_PARTS));
    }
    let begun = store.inner.objects.create_multipart(&store.path(key)).await;
    let id = begun.map_err(|error| trouble::of(format!("beginning the upload of `{key}`"), error))?;
    // Azure has no name for it: blocks belong to the blob.
    Ok(PartsId::new(if id.is_empty() { BLOCKS.to_owned() } else { id }))
}

pub(super) async fn write(
    store: &ObjectStore,
    key: &BlobKey,
    parts: &PartsId,
    span: Span,
    mut body: ByteStream,
) -> BlobResult<PartTag> {
    let _room = store.inner.budget.reserve(key, span.len).await?;
    let mut collected = Collected::default();
    if !collected.take(&mut body, span.len).await? {
        let context = format!("part {} of `{key}` has more than {} bytes", span.index, span.len);
        return Err(BlobError::new(BlobErrorKind::BodyTooLong, context));
    }
    let len = collected.len;
    if len < span.len {
        // The caller will not count it: it is not worth a request, and stores refuse an empty one.
        return Ok(PartTag { etag: None, synced: true });
    }
    let started = std::time::Instant::now();
    let (path, index) = (store.path(key), span.index.get() as usize);
    let id = parts.as_str().to_owned();
    let put = store.inner.objects.put_part(&path, &id, index, collected.into_payload()).await;
    chunk_stage(ChunkStage::Write, started.elapsed());
    match put {
        Ok(part) => Ok(tag::of(len, &part)),
        Err(error) if trouble::is_unknown_upload(&error) => Err(gone(key).caused_by(error)),
        Err(error) => Err(trouble::of(format!("storing part {} of `{key}`", span.index), error)),
    }
}

pub(super) async fn complete(
    store: &ObjectStore,
    key: &BlobKey,
    parts: &PartsId,
    size: u64,
    tags: &[PartTag],
) -> BlobResult<BlobMeta> {
    let mut bytes = 0_u64;
    let mut ids = Vec::with_capacity(tags.len());
    for tag in tags {
        let (len, name) = tag::read(tag)?;
        bytes = bytes.saturating_add(len);
        ids.push(PartId { content_id: name.to_owned() });
    }
    if bytes != size {
        let context = format!("the parts of `{key}` have {bytes} bytes, {size} were announced");
        return Err(BlobError::new(BlobErrorKind::Incomplete, context));
    }
    // Never an empty list: Azure would empty the blob that an earlier call has put together.
    if ids.is_empty() {
        return complete_empty(store, key, parts).await;
    }
    put_together(store, key, parts, size, ids).await
}

/// Makes one blob of `size` bytes of `ids`, which are some.
pub(super) async fn put_together(
    store: &ObjectStore,
    key: &BlobKey,
    parts: &PartsId,
    size: u64,
    ids: Vec<PartId>,
) -> BlobResult<BlobMeta> {
    let id = parts.as_str().to_owned();
    failpoint::hit("blob.object.before_complete");
    let completed = store.inner.objects.complete_multipart(&store.path(key), &id, ids).await;
    failpoint::hit("blob.object.after_complete");
    let failed = match completed {
        Ok(_) => None,
        Err(error) if trouble::is_unknown_upload(&error) => Some(gone(key).caused_by(error)),
        Err(error) => Some(trouble::of(format!("putting `{key}` together"), error)),
    };
    // Also after an error: the answer to an earlier call, or to this one, may have been lost on its way.
    match (store.head(key).await?, failed) {
        (Some(meta), _) if meta.size == size => Ok(meta),
        (_, Some(error)) => Err(error),
        (found, None) => {
            Err(wrong(format!("`{key}` was put together of {size} bytes, the store has {found:?}")))
        }
    }
}

async fn complete_empty(store: &ObjectStore, key: &BlobKey, parts: &PartsId) -> BlobResult<BlobMeta> {
    let context = || format!("storing the empty blob `{key}`");
    let put = store.inner.objects.put(&store.path(key), PutPayload::new()).await;
    put.map_err(|error| trouble::of(context(), error))?;
    abort(store, key, parts).await?;
    store.head(key).await?.ok_or_else(|| wrong(context()))
}

/// Which of the parts the bucket has not as their tags say.
pub(super) async fn differing(
    store: &ObjectStore,
    bucket: &Bucket,
    key: &BlobKey,
    parts: &PartsId,
    tags: &[PartTag],
) -> BlobResult<Option<Vec<ChunkIndex>>> {
    let Some(stored) = bucket.parts(&store.path(key), parts.as_str()).await? else { return Err(gone(key)) };
    let mut differing = Vec::new();
    for (tag, index) in tags.iter().zip(0_u32..) {
        let (len, etag) = tag::read(tag)?;
        // In order of their numbers, which begin at 1.
        let found = stored.binary_search_by_key(&(index + 1), |part| part.number);
        let same = |part: &StoredPart| part.size == len && unquoted(&part.etag) == unquoted(etag);
        if !found.is_ok_and(|at| same(&stored[at])) {
            differing.push(ChunkIndex::new(index));
        }
    }
    Ok(Some(differing))
}

/// Some stores put an `ETag` in quotes here and not there.
fn unquoted(etag: &str) -> &str {
    etag.trim_matches('"')
}

pub(super) async fn abandon(store: &ObjectStore, key: &BlobKey, parts: &PartsId) -> BlobResult<()> {
    // First what could still become a blob, then the blob.
    failpoint::hit("blob.object.before_abort");
    abort(store, key, parts).await?;
    failpoint::hit("blob.object.after_abort");
    store.delete(key).await
}

/// Tells the store to forget the parts; fine if it has.
pub(super) async fn abort(store: &ObjectStore, key: &BlobKey, parts: &PartsId) -> BlobResult<()> {
    if parts.as_str() == NO_PARTS {
        return Ok(());
    }
    let id = parts.as_str().to_owned();
    match store.inner.objects.abort_multipart(&store.path(key), &id).await {
        Ok(()) => Ok(()),
        Err(error) if trouble::is_unknown_upload(&error) => Ok(()),
        Err(error) => Err(trouble::of(format!("dropping the parts of `{key}`"), error)),
    }
}

fn gone(key: &BlobKey) -> BlobError {
    BlobError::new(BlobErrorKind::Gone, format!("the store does not know the upload of `{key}` any more"))
}

/// Bytes that are collected to be sent, in the frames that they came in.
#[derive(Debug, Default)]
pub(super) struct Collected {
    frames: Vec<Bytes>,
    /// Small frames, copied together.
    small: BytesMut,
    pub(super) len: u64,
}

impl Collected {
    /// Takes frames of `body` until it ends (`true`) or more than `max` bytes are there (`false`).
    pub(super) async fn take(&mut self, body: &mut ByteStream, max: u64) -> BlobResult<bool> {
        while self.len <= max {
            let Some(frame) = body.next().await else { return Ok(true) };
            self.push(frame?);
        }
        Ok(false)
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        self.len += frame.len() as u64;
        if frame.len() >= FRAME_BYTES_MIN {
            self.seal();
            self.frames.push(frame);
            return;
        }
        if self.small.capacity() - self.small.len() < frame.len() {
            self.seal();
            self.small = BytesMut::with_capacity(BLOCK_BYTES);
        }
        self.small.extend_from_slice(&frame);
    }

    /// Ends the block of small frames.
    fn seal(&mut self) {
        if !self.small.is_empty() {
            // What is left of the block takes the next ones.
            let block = self.small.split().freeze();
            self.frames.push(block);
        }
    }

    /// Takes away what is more than `len` bytes.
    pub(super) fn split_off(&mut self, len: u64) -> Self {
        self.seal();
        let mut rest = Self::default();
        let mut end = 0;
        let frames = std::mem::take(&mut self.frames);
        self.len = self.len.min(len);
        for mut frame in frames {
            let room = usize::try_from(len.saturating_sub(end)).unwrap_or(usize::MAX);
            end += frame.len() as u64;
            if frame.len() > room {
                rest.push(frame.split_off(room));
            }
            if !frame.is_empty() {
                self.frames.push(frame);
            }
        }
        rest
    }

    /// As the store takes it, without a copy.
    pub(super) fn into_payload(mut self) -> PutPayload {
        self.seal();
        self.frames.into_iter().collect()
    }
}
