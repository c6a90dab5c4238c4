//! What an error of an object store means.

use object_store::Error;

use crate::blob::{BlobError, BlobErrorKind};

/// Whether it says that there is no such object.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}

/// Whether it says that there is no such multipart upload.
pub(super) fn is_unknown_upload(error: &Error) -> bool {
    // Only the store in memory says so in words.
    is_missing(error) || error.to_string().contains("MultipartUpload not found")
}

/// An error while doing what `context` says.
pub(super) fn of(context: String, error: Error) -> BlobError {
    BlobError::new(BlobErrorKind::Internal, context).caused_by(error)
}
