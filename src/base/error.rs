//! The one error type of the house, and every code a client can meet.
//!
//! A store has a small error of its own, turned into this one beside its definition. What status a code has
//! is `http::problem`'s business: it maps [`Class`]. The `detail` is for the client; the `source` is for the
//! log and never leaves the service.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// What a fallible call answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Something went wrong: which code, what to tell the client, what to log.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: Cow<'static, str>,
    members: Map<String, Value>,
    retry_after: Option<Duration>,
    source: Option<Source>,
}

impl Error {
    /// An error for the client to read: `detail` names the thing and says what to do; lower case, no full stop.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = code.class().default_retry_after();
        Self(Box::new(Inner { code, detail: detail.into(), members: Map::new(), retry_after, source: None }))
    }

    /// A bug or a broken machine: the client learns nothing but the request id, the log gets `source`.
    pub fn internal(context: &'static str, source: impl Into<Source>) -> Self {
        Self::new(Code::Internal, context).caused_by(source)
    }

    /// A part that the service needs is away for the moment; the client is asked to come back.
    pub fn unavailable(context: &'static str, source: impl Into<Source>) -> Self {
        Self::new(Code::Unavailable, context).caused_by(source)
    }

    /// Adds a machine-readable member to the problem.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Tells the client when to come back.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Keeps what lies behind, for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same once more, for another one who waits for the same.
    #[must_use]
    pub fn again(&self) -> Self {
        let Inner { code, detail, members, retry_after, .. } = self.0.as_ref();
        let (detail, members) = (detail.clone(), members.clone());
        let source = Some(self.to_string().into());
        Self(Box::new(Inner { code: *code, detail, members, retry_after: *retry_after, source }))
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What the client may read.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Machine-readable members beside the standard ones.
    pub fn members(&self) -> &Map<String, Value> {
        &self.0.members
    }

    /// When to come back, for errors that pass.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.detail)?;
        let mut told = self.0.detail.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some libraries' errors tell their causes themselves.
            if !told.contains(&text) {
                write!(f, ": {text}")?;
                told = text;
            }
            source = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// What kind of trouble: about one class an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request is malformed.
    Invalid,
    /// Nobody knows who asks.
    Unauthenticated,
    /// Known, but not allowed.
    Forbidden,
    /// No such thing, as far as this client may know.
    NotFound,
    /// Not with this method.
    MethodNotAllowed,
    /// The request came too slowly.
    TimedOut,
    /// It contradicts what is there; asking for the state tells how.
    Conflict,
    /// It was there.
    Gone,
    /// An `If-…` header does not hold.
    PreconditionFailed,
    /// Larger than is allowed.
    TooLarge,
    /// A body of a kind that is not taken here.
    UnsupportedMediaType,
    /// A range outside of the file.
    RangeNotSatisfiable,
    /// Well-formed, but the bytes are not what was said of them.
    Unprocessable,
    /// More at once than is allowed.
    TooMany,
    /// A bug, or a broken machine.
    Internal,
    /// Away for the moment.
    Unavailable,
    /// No room.
    StorageFull,
}

impl Class {
    /// Errors that pass by themselves ask the client to come back.
    fn default_retry_after(self) -> Option<Duration> {
        match self {
            Self::Unavailable | Self::TooMany => Some(Duration::from_secs(1)),
            Self::StorageFull => Some(Duration::from_mins(1)),
            _ => None,
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

macro_rules! codes {
    ($($variant:ident $code:literal $class:ident $title:literal;)*) => {
        /// Every code that a client can meet; the same words in problems, logs and documentation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The kebab-case code of the problem.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// A short title, the same for every occurrence (RFC 9457 3.1.3).
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What kind of trouble it is.
            pub fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }
        }
    };
}

codes! {
    InvalidRequest "invalid-request" Invalid "The request is malformed";
    InvalidDigest "invalid-digest" Invalid "A digest cannot be read";
    ChunkOutOfRange "chunk-out-of-range" Invalid "The upload has no chunk of this index";
    Unauthenticated "unauthenticated" Unauthenticated "A valid key is needed";
    Forbidden "forbidden" Forbidden "This is not allowed";
    NotFound "not-found" NotFound "There is nothing here";
    TenantNotFound "tenant-not-found" NotFound "There is no such tenant";
    KeyNotFound "key-not-found" NotFound "There is no such key";
    UploadNotFound "upload-not-found" NotFound "There is no such upload";
    FileNotFound "file-not-found" NotFound "There is no such file";
    EntityNotFound "entity-not-found" NotFound "There is no entity of this name";
    RecordNotFound "record-not-found" NotFound "There is no such record";
    UnknownThumbnailSize "unknown-thumbnail-size" NotFound "There is no thumbnail size of this name";
    MethodNotAllowed "method-not-allowed" MethodNotAllowed "This method is not for this path";
    RequestTimeout "request-timeout" TimedOut "The request came too slowly";
    TenantExists "tenant-exists" Conflict "There is a tenant of this name already";
    ChunkConflict "chunk-conflict" Conflict "This chunk was accepted with other bytes";
    ChunkBusy "chunk-busy" Conflict "Another request is sending this chunk";
    UploadIncomplete "upload-incomplete" Conflict "Chunks are missing";
    IdempotencyConflict "idempotency-conflict" Conflict "This `Idempotency-Key` is in use, or was used for another request";
    UploadFinalized "upload-finalized" Conflict "The upload is being finalized, or is a file already";
    UploadGone "upload-gone" Gone "The upload has ended";
    PreconditionFailed "precondition-failed" PreconditionFailed "A precondition does not hold";
    FileTooLarge "file-too-large" TooLarge "The file is too large";
    ImageTooLarge "image-too-large" TooLarge "The picture is too large";
    QuotaExceeded "quota-exceeded" TooLarge "The tenant's quota is used up";
    UnsupportedMediaType "unsupported-media-type" UnsupportedMediaType "A body of this kind is not taken here";
    NotAnImage "not-an-image" UnsupportedMediaType "The file is no picture that has thumbnails";
    RangeNotSatisfiable "range-not-satisfiable" RangeNotSatisfiable "The range lies outside of the file";
    ChunkSizeMismatch "chunk-size-mismatch" Unprocessable "The chunk has not the size that it must have";
    ChecksumMismatch "checksum-mismatch" Unprocessable "The bytes have not the digest that was declared";
    ImageUndecodable "image-undecodable" Unprocessable "The picture cannot be decoded";
    RateLimited "rate-limited" TooMany "There were too many requests";
    TooManyUploads "too-many-uploads" TooMany "Too many uploads are open";
    Internal "internal" Internal "Something went wrong on our side";
    Unavailable "unavailable" Unavailable "A part of the service is away";
    Overloaded "overloaded" Unavailable "The service is busy";
    StorageFull "storage-full" StorageFull "There is no room left";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error that tells its cause, as some libraries' do.
    #[derive(Debug)]
    struct Telling(std::io::Error);

    impl fmt::Display for Telling {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "reading failed: {}", self.0)
        }
    }

    impl std::error::Error for Telling {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn every_cause_is_told_once() {
        let cause = Telling(std::io::Error::other("the cable is cut"));
        let error = Error::unavailable("the store is away", cause);
        assert_eq!(error.to_string(), "unavailable: the store is away: reading failed: the cable is cut");
    }
}
