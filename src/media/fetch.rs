//! Bytes from the stores into memory: pictures that are to be made smaller, and thumbnails that were asked for.
//!
//! How many bytes there may be the callers have seen to beforehand.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::base::{ByteRange, ByteStream, Error, Principal, Result};
use crate::blob::{BlobKey, BlobStore};
use crate::files::{File, FileService};
use crate::imaging::HEAD_BYTES;

/// A store that makes no progress for this long is away.
const PROGRESS_WAIT_MAX: Duration = Duration::from_secs(4);

/// The first bytes of a file, as many as say what it is; all of them if there are no more.
pub(super) async fn head(files: &FileService, file: &File) -> Result<Bytes> {
    let len = file.size.min(HEAD_BYTES as u64);
    let range = ByteRange::new(0, len).filter(|_| len < file.size);
    let who = Principal::service(file.tenant.clone());
    collected(files.read(&who, file, range).await?, len).await
}

/// All bytes of a file.
pub(super) async fn whole(files: &FileService, file: &File) -> Result<Bytes> {
    let who = Principal::service(file.tenant.clone());
    collected(files.read(&who, file, None).await?, file.size).await
}

/// A blob of `len` bytes; `None` if it is not there, or is not as long.
pub(super) async fn blob<S: BlobStore + ?Sized>(store: &S, key: &BlobKey, len: u64) -> Result<Option<Bytes>> {
    let blob = tokio::time::timeout(PROGRESS_WAIT_MAX, store.get(key, None));
    let blob = blob.await.map_err(|elapsed| Error::unavailable("the store does not answer", elapsed))??;
    match blob.filter(|blob| blob.meta.size == len) {
        Some(blob) => collected(blob.bytes, len).await.map(Some),
        None => Ok(None),
    }
}

async fn collected(mut bytes: ByteStream, len: u64) -> Result<Bytes> {
    let broken = |why: String| Error::unavailable("the bytes cannot be read from the store", why);
    let len = usize::try_from(len).map_err(|_| broken(format!("{len} bytes are more than fit in memory")))?;
    let mut first = None;
    let mut all = Vec::new();
    loop {
        let frame = tokio::time::timeout(PROGRESS_WAIT_MAX, bytes.next());
        match frame.await.map_err(|elapsed| broken(elapsed.to_string()))? {
            // One frame with everything is not copied.
            Some(Ok(frame)) if first.is_none() && all.is_empty() && frame.len() == len => first = Some(frame),
            Some(Ok(frame)) if all.len() + frame.len() > len || first.is_some() => {
                return Err(broken("there are more than there should be".to_owned()));
            }
            Some(Ok(frame)) => {
                if all.capacity() == 0 {
                    all.reserve_exact(len);
                }
                all.extend_from_slice(&frame);
            }
            Some(Err(error)) => return Err(broken(error.to_string())),
            None => break,
        }
    }
    match first {
        Some(frame) => Ok(frame),
        None if all.len() == len => Ok(all.into()),
        None => Err(broken(format!("they end {} too soon", len - all.len()))),
    }
}
