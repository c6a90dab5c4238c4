//! What the journal keeps of a part: its length and the store's own name for it, as `LENGTH:NAME`. The length is
//! there so that a blob is never put together from too few bytes.

use object_store::multipart::PartId;

use super::wrong;
use crate::blob::{BlobResult, PartTag};

/// The tag of a part of `len` bytes that the store calls `part`.
pub(super) fn of(len: u64, part: &PartId) -> PartTag {
    PartTag { etag: Some(format!("{len}:{}", part.content_id)), synced: true }
}

/// The length and the store's name.
///
/// # Errors
/// `Internal` for a tag of another kind of store.
pub(super) fn read(tag: &PartTag) -> BlobResult<(u64, &str)> {
    let parsed = tag.etag.as_deref().and_then(|text| text.split_once(':'));
    let parsed = parsed.and_then(|(len, name)| Some((len.parse().ok()?, name)));
    parsed.ok_or_else(|| wrong(format!("a part's tag is not one of an object store: {:?}", tag.etag)))
}
