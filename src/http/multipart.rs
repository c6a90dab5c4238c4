//! Several ranges of a file in one answer: `multipart/byteranges` (RFC 9110 14.6).
//!
//! [`Parts`] is pure: the text between the ranges, and the exact length of all. [`body`] adds the bytes.

use std::sync::Arc;

use axum::http::HeaderValue;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::base::stream::{StreamError, empty, once};
use crate::base::{ByteRange, ByteStream, Principal, Result};
use crate::files::{File, FileService};

/// Ranges with what stands between them.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    boundary: String,
    /// Each range with the text before it.
    ranges: Vec<(Bytes, ByteRange)>,
    end: Bytes,
}

impl Parts {
    /// `ranges` of a file of `size` bytes; `boundary` must not occur in it: a random one does not.
    pub(super) fn new(boundary: String, content_type: &str, size: u64, ranges: &[ByteRange]) -> Self {
        let head = |range: &ByteRange| {
            let (first, last) = (range.start(), range.end() - 1);
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n"
            );
            (Bytes::from(head), *range)
        };
        let ranges = ranges.iter().map(head).collect();
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        Self { boundary, ranges, end }
    }

    /// Bytes of the whole body.
    pub(super) fn len(&self) -> u64 {
        let parts = self.ranges.iter().map(|(head, range)| head.len() as u64 + range.len());
        parts.sum::<u64>() + self.end.len() as u64
    }

    /// The answer's own type.
    pub(super) fn content_type(&self) -> HeaderValue {
        let value = format!("multipart/byteranges; boundary={}", self.boundary);
        HeaderValue::from_str(&value).expect("INVARIANT: a boundary of ours is hex")
    }
}

/// The body. One range is open at a time; if one cannot be read the stream ends with an error, never cleanly.
///
/// # Errors
/// Those of [`FileService::read`], for the first range.
pub(super) async fn body(
    files: &Arc<FileService>,
    who: Principal,
    file: File,
    parts: Parts,
) -> Result<ByteStream> {
    let mut ranges = parts.ranges.into_iter();
    let Some((head, range)) = ranges.next() else { return Ok(empty()) };
    let first = once(head).chain(files.read(&who, &file, Some(range)).await?);
    let files = Arc::clone(files);
    let rest = stream::iter(ranges)
        .then(move |(head, range)| {
            let (files, who, file) = (Arc::clone(&files), who.clone(), file.clone());
            async move {
                let bytes = files.read(&who, &file, Some(range)).await;
                let bytes = bytes.map_err(|error| StreamError::Failed(error.to_string()))?;
                Ok::<_, StreamError>(once(head).chain(bytes))
            }
        })
        .try_flatten();
    Ok(first.chain(rest).chain(once(parts.end)).boxed())
}
