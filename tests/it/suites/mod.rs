//! One suite for each trait with several backends: what every backend must do, called by each one's own file.

pub(crate) mod blob_store;
pub(crate) mod part_store;

use bytes::Bytes;
use cifra::base::ByteStream;
use cifra::base::stream::StreamError;
use cifra::blob::BlobKey;
use futures_util::{StreamExt, TryStreamExt, stream};

/// A key of ours.
pub(crate) fn key(text: &str) -> BlobKey {
    BlobKey::parse(text).unwrap()
}

/// `len` bytes that look like chance and are the same for the same `seed`.
pub(crate) fn bytes(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// A body in frames of `frame_len` bytes.
pub(crate) fn body(bytes: &Bytes, frame_len: usize) -> ByteStream {
    let frames: Vec<_> = (0..bytes.len())
        .step_by(frame_len)
        .map(|start| Ok(bytes.slice(start..bytes.len().min(start + frame_len))))
        .collect();
    stream::iter(frames).boxed()
}

/// A body that fails after its bytes.
pub(crate) fn broken_body(bytes: &Bytes, error: StreamError) -> ByteStream {
    body(bytes, 10_000).chain(stream::once(async { Err(error) })).boxed()
}

/// A body that never ends; the receiver hears when all its bytes were taken.
pub(crate) fn endless_body(bytes: &Bytes) -> (ByteStream, tokio::sync::oneshot::Receiver<()>) {
    let (taken, hear) = tokio::sync::oneshot::channel();
    let wait = async move {
        let _ = taken.send(());
        std::future::pending().await
    };
    (body(bytes, 10_000).chain(stream::once(wait)).boxed(), hear)
}

/// All bytes of a stream.
pub(crate) async fn read(stream: ByteStream) -> Result<Bytes, StreamError> {
    stream
        .try_fold(Vec::new(), |mut all, frame| async move {
            all.extend_from_slice(&frame);
            Ok(all)
        })
        .await
        .map(Bytes::from)
}
