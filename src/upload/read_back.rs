//! Reading a chunk back from the store, and whether it still is what its receipt says.
//!
//! Called by `front` (to hash what was not hashed on its way in) and `suspects` (to look at what may be lost).

use futures_util::StreamExt;

use crate::base::crc::Crc64Hasher;
use crate::base::{ByteRange, Error, Result};
use crate::blob::{BlobStore, PartStore};
use crate::db::parts::Receipt;
use crate::db::uploads::Upload;

/// Gives the staged chunk's bytes to `see`, frame by frame. `false` if they are not all there, or not those of the
/// receipt: then what was seen is worth nothing.
pub(super) async fn read_back(
    store: &dyn PartStore,
    upload: &Upload,
    receipt: &Receipt,
    mut see: impl FnMut(&[u8]) + Send,
) -> Result<bool> {
    let Some(range) = range(upload, receipt) else { return Ok(true) };
    let Some(mut bytes) = store.read_staged(&upload.key, &upload.parts, range).await? else {
        return Ok(false);
    };
    let mut crc64 = Crc64Hasher::default();
    while let Some(frame) = bytes.next().await {
        let Ok(frame) = frame else { return Ok(false) };
        crc64.update(&frame);
        see(&frame);
        // A frame is hashed in a fraction of a millisecond; others come in between.
        tokio::task::yield_now().await;
    }
    Ok(crc64.finish() == receipt.crc64)
}

/// Gives the chunk's bytes to `see`, from the blob that it became a part of. `false` if they are not those of the
/// receipt: then what was seen is worth nothing.
///
/// # Errors
/// `Unavailable` if the store broke off in the middle.
pub(super) async fn read_whole(
    store: &(impl BlobStore + ?Sized),
    upload: &Upload,
    receipt: &Receipt,
    mut see: impl FnMut(&[u8]) + Send,
) -> Result<bool> {
    let Some(range) = range(upload, receipt) else { return Ok(true) };
    let Some(blob) = store.get(&upload.key, Some(range)).await? else { return Ok(false) };
    let (mut crc64, mut bytes) = (Crc64Hasher::default(), blob.bytes);
    while let Some(frame) = bytes.next().await {
        let broke_off = |error| Error::unavailable("the store broke off while the file was read back", error);
        let frame = frame.map_err(broke_off)?;
        crc64.update(&frame);
        see(&frame);
        tokio::task::yield_now().await;
    }
    Ok(crc64.finish() == receipt.crc64)
}

fn range(upload: &Upload, receipt: &Receipt) -> Option<ByteRange> {
    let start = u64::from(receipt.index.get()) * upload.chunk_size;
    ByteRange::new(start, start + receipt.size)
}
