//! Bytes of a file on their way out: exactly as many as were asked for, or an error, never a clean end too soon.
//!
//! Called by [`super::FileService::read`]. Whoever passes the bytes on cuts its connection at the error, so that a
//! client knows that it has not got everything.

#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::base::stream::StreamError;
use crate::base::{ByteStream, Error, FileId, Result};
use crate::blob::BlobResult;

/// A store that does not answer for this long is away; a client gets its 503 within 5 s.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(4);

/// What the store answers, if it does in time.
///
/// # Errors
/// `Unavailable`; that of the store.
pub(super) async fn in_time<T>(asking: impl Future<Output = BlobResult<T>>) -> Result<T> {
    within(ANSWER_WAIT_MAX, asking).await
}

async fn within<T>(wait: Duration, asking: impl Future<Output = BlobResult<T>>) -> Result<T> {
    match tokio::time::timeout(wait, asking).await {
        Ok(answer) => Ok(answer?),
        Err(elapsed) => Err(Error::unavailable("the store does not answer", elapsed)),
    }
}

/// `bytes` of file `id`, which must be `len`. Ends with an error if they are not, and if the store goes silent in the
/// middle; a slow reader is no silence of the store.
pub(super) fn exactly(bytes: ByteStream, len: u64, id: FileId) -> ByteStream {
    watched(bytes, len, id, ANSWER_WAIT_MAX)
}

fn watched(bytes: ByteStream, len: u64, id: FileId, wait: Duration) -> ByteStream {
    stream::unfold(Some((bytes, len)), move |state| async move {
        let (mut bytes, left) = state?;
        let wrong = match tokio::time::timeout(wait, bytes.next()).await {
            Ok(None) if left == 0 => return None,
            Ok(Some(Ok(frame))) => match left.checked_sub(frame.len() as u64) {
                Some(left) => return Some((Ok(frame), Some((bytes, left)))),
                None => StreamError::Failed("the store has more bytes than were asked for".to_owned()),
            },
            Ok(None) => StreamError::Failed(format!("the store ended {left} bytes too soon")),
            Ok(Some(Err(error))) => error,
            Err(_) => StreamError::TimedOut,
        };
        tracing::warn!(file.id = %id, error = %wrong, "reading file {id} broke off with {left} bytes to go: {wrong}");
        Some((Err(wrong), None))
    })
    .boxed()
}
