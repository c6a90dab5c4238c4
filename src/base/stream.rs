//! Bytes on their way: one boxed stream type between HTTP and the stores.
//!
//! A stream ends either cleanly (`None`) or with a [`StreamError`]; after an error nothing more comes.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

/// Bytes in order, in frames of any size; empty frames are allowed.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StreamError>> + Send>>;

/// Why the bytes stopped before their end.
#[derive(Debug)]
pub enum StreamError {
    /// The sender went away, or broke the protocol.
    Cut(String),
    /// Nothing came for too long.
    TimedOut,
    /// The source (a store) failed.
    Failed(String),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(why) => write!(f, "the sender stopped in the middle: {why}"),
            Self::TimedOut => f.write_str("no bytes came for too long"),
            Self::Failed(why) => write!(f, "reading failed: {why}"),
        }
    }
}

impl std::error::Error for StreamError {}

/// A stream of one frame.
pub fn once(bytes: impl Into<Bytes>) -> ByteStream {
    let bytes = bytes.into();
    futures_util::stream::once(async move { Ok(bytes) }).boxed()
}

/// A stream without bytes.
pub fn empty() -> ByteStream {
    futures_util::stream::empty().boxed()
}
