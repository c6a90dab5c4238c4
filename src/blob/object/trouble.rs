//! What an error of an object store means: its kind for our callers, and its words for the log.

use std::error::Error as _;

use object_store::Error;
use object_store::client::HttpError;
use reqwest::StatusCode;

use super::transport::Refusal;
use crate::blob::{BlobError, BlobErrorKind};

/// Whether it says that there is no such object. That the bucket is not there is something else.
pub(super) fn is_missing(error: &Error) -> bool {
    match refusal(error) {
        Some(refusal) => matches!(refusal.code.as_str(), "NoSuchKey" | "BlobNotFound" | "NotFound"),
        None => matches!(error, Error::NotFound { .. }),
    }
}

/// Whether it says that there is no such multipart upload.
pub(super) fn is_unknown_upload(error: &Error) -> bool {
    match refusal(error) {
        Some(refusal) => refusal.code == "NoSuchUpload",
        // The store in memory says so in words only.
        None => {
            matches!(error, Error::NotFound { .. }) || error.to_string().contains("MultipartUpload not found")
        }
    }
}

/// An error on the way while doing what `context` says.
pub(super) fn of_http(context: String, error: HttpError) -> BlobError {
    of(context, Error::Generic { store: "S3", source: Box::new(error) })
}

/// An error while doing what `context` says.
pub(super) fn of(context: String, error: Error) -> BlobError {
    let (kind, advice) = match refusal(&error) {
        Some(refusal) => of_refusal(refusal),
        None => match http(&error) {
            // A broken certificate is an error of connecting too: it may pass, and the log says why.
            Some(_) => (BlobErrorKind::Unavailable, ""),
            None => (BlobErrorKind::Internal, ""),
        },
    };
    BlobError::new(kind, context + advice).caused_by(error)
}

fn of_refusal(refusal: &Refusal) -> (BlobErrorKind, &'static str) {
    match refusal.code.as_str() {
        "InvalidPart" | "InvalidPartOrder" => (BlobErrorKind::Incomplete, ""),
        // A block has a name of its own, so it is not another one: it was dropped after its week.
        "NoSuchUpload" | "InvalidBlockList" | "NoSuchLifecycleConfiguration" => (BlobErrorKind::Gone, ""),
        "RequestTimeTooSkewed" => {
            (BlobErrorKind::Unavailable, ": the clocks of this machine and the store differ; set ours right")
        }
        // Keys of a role that were not renewed in time: the next request has others.
        "ExpiredToken" | "TokenRefreshRequired" => (BlobErrorKind::Unavailable, ""),
        "NoSuchBucket" | "ContainerNotFound" => {
            (BlobErrorKind::Unavailable, ": the bucket or container does not exist")
        }
        "QuotaExceeded" | "XMinioStorageFull" => (BlobErrorKind::Full, ""),
        "InternalError" | "SlowDown" | "ServiceUnavailable" | "ServerBusy" | "OperationTimedOut" => {
            (BlobErrorKind::Unavailable, "")
        }
        _ => match refusal.status {
            StatusCode::INSUFFICIENT_STORAGE => (BlobErrorKind::Full, ""),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                (BlobErrorKind::Unavailable, "")
            }
            // Not the client's doing, and over as soon as the operator has seen to it.
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                (BlobErrorKind::Unavailable, ": the store does not allow it; look at its keys and rights")
            }
            StatusCode::NOT_FOUND if refusal.code.is_empty() => {
                (BlobErrorKind::Unavailable, ": something before the store answers in its place")
            }
            _ => (BlobErrorKind::Internal, ""),
        },
    }
}

/// What the store said, if it is that.
fn refusal(error: &Error) -> Option<&Refusal> {
    http(error)?.source()?.downcast_ref()
}

/// What happened on the way, if it is that.
fn http(error: &Error) -> Option<&HttpError> {
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(found) = found.downcast_ref::<HttpError>() {
            return Some(found);
        }
        cause = found.source();
    }
    None
}
