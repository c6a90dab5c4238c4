//! What can go wrong with bytes, and what that means to a client.

use std::fmt;

use crate::base::stream::StreamError;
use crate::base::{Code, Error};

/// What a store answers.
pub type BlobResult<T> = Result<T, BlobError>;

/// Something went wrong in a store: what kind, where, and why.
#[derive(Debug)]
pub struct BlobError {
    kind: BlobErrorKind,
    context: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of trouble; callers match on this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobErrorKind {
    /// The bytes to be stored stopped coming: the sender's doing.
    BodyCut,
    /// The bytes to be stored came too slowly.
    BodyTimedOut,
    /// More bytes came than belong there.
    BodyTooLong,
    /// Fewer bytes are staged than the blob should have, or others.
    Incomplete,
    /// The store has given the upload up: its parts are not there any more.
    Gone,
    /// No room in memory for the bytes, for too long; nothing of them was read.
    Busy,
    /// No room left.
    Full,
    /// Away for the moment.
    Unavailable,
    /// Anything else: a broken disk, wrong rights.
    Internal,
}

impl BlobError {
    /// An error of `kind` while doing what `context` says.
    pub fn new(kind: BlobErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// An operating system's error while doing what `context` says.
    pub fn io(context: impl Into<String>, error: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let kind = match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => BlobErrorKind::Full,
            _ => BlobErrorKind::Internal,
        };
        Self { kind, context: context.into(), source: Some(Box::new(error)) }
    }

    /// Keeps what lies behind, for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of trouble.
    pub fn kind(&self) -> BlobErrorKind {
        self.kind
    }
}

impl From<StreamError> for BlobError {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::Cut(_) => BlobErrorKind::BodyCut,
            StreamError::TimedOut => BlobErrorKind::BodyTimedOut,
            StreamError::Failed(_) => BlobErrorKind::Internal,
        };
        Self { kind, context: "reading the body".to_owned(), source: Some(Box::new(error)) }
    }
}

impl fmt::Display for BlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.context, self.kind)
    }
}

impl std::error::Error for BlobError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        let (code, detail) = match error.kind {
            BlobErrorKind::BodyCut => (Code::InvalidRequest, "the body ended before its announced length"),
            BlobErrorKind::BodyTimedOut => {
                (Code::RequestTimeout, "no bytes came for too long; send the chunk again")
            }
            BlobErrorKind::BodyTooLong => (Code::ChunkSizeMismatch, "the body is longer than it should be"),
            BlobErrorKind::Full => {
                (Code::StorageFull, "the store has no room left; nothing of this request was kept")
            }
            BlobErrorKind::Busy => {
                (Code::Overloaded, "too many bytes are on their way to the store; send the request again")
            }
            BlobErrorKind::Gone => {
                (Code::UploadGone, "the store has dropped the parts of this upload; begin a new one")
            }
            BlobErrorKind::Unavailable => (Code::Unavailable, "the store is away"),
            BlobErrorKind::Incomplete | BlobErrorKind::Internal => (Code::Internal, "the store failed"),
        };
        Self::new(code, detail).caused_by(error)
    }
}
