//! A chunk's body on its way in: counted and hashed as it passes, cut off when the upload ends.
//!
//! The store pulls the stream; afterwards [`Intake::finish`] tells what went by. Every byte is looked at
//! once, while it is in the processor's cache.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::base::ByteStream;
use crate::base::digest::{ChunkHasher, Sha256State};
use crate::base::stream::StreamError;
use crate::telemetry::metrics::{self, ChunkStage};

/// What went by.
#[derive(Debug)]
pub(super) struct Taken {
    /// Bytes.
    pub(super) received: u64,
    /// Their digests.
    pub(super) hasher: ChunkHasher,
    /// The whole file's SHA-256 up to here, if it was given along.
    pub(super) sha256: Option<Sha256State>,
    waited: Duration,
    hashed: Duration,
}

/// Watches a stream that somebody else reads.
pub(super) struct Intake(Arc<Mutex<Taken>>);

impl Intake {
    /// Watches `body`; the stream that comes back is to be read in its place.
    pub(super) fn watch(
        body: ByteStream,
        hasher: ChunkHasher,
        sha256: Option<Sha256State>,
        cut: &CancellationToken,
    ) -> (Self, ByteStream) {
        let taken = Taken { received: 0, hasher, sha256, waited: Duration::ZERO, hashed: Duration::ZERO };
        let taken = Arc::new(Mutex::new(taken));
        let watched =
            stream::unfold((body, Arc::clone(&taken), cut.clone()), |(mut body, taken, cut)| async move {
                let begun = Instant::now();
                let frame = tokio::select! {
                    biased;
                    () = cut.cancelled() => Some(Err(StreamError::Cut("the upload has ended".to_owned()))),
                    frame = body.next() => frame,
                }?;
                if let Ok(bytes) = &frame {
                    taken.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, begun.elapsed());
                }
                Some((frame, (body, taken, cut)))
            });
        (Self(taken), watched.boxed())
    }

    /// How many bytes went by so far.
    pub(super) fn received(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).received
    }

    /// What went by. To be called when the stream has been read to its end and dropped.
    pub(super) fn finish(self) -> Taken {
        let taken = Arc::into_inner(self.0).expect("INVARIANT: the store drops the stream before it answers");
        let taken = taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        metrics::chunk_stage(ChunkStage::Receive, taken.waited);
        metrics::chunk_stage(ChunkStage::Hash, taken.hashed);
        taken
    }
}

impl Taken {
    fn take(&mut self, bytes: &Bytes, waited: Duration) {
        let begun = Instant::now();
        self.received += bytes.len() as u64;
        self.hasher.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        self.waited += waited;
        self.hashed += begun.elapsed();
    }
}
