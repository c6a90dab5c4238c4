//! Sends chunks and hashes those that need not be sent, several at a time; keeps their checksums.
//!
//! A chunk is read and hashed once and sent until it arrives: an attempt that breaks off in the middle counts for
//! nothing. Progress is told as the bytes leave, and taken back when they were in vain.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::plan::{Layout, Work, indexes};
use super::source::{Chunk, Source};
use super::{HASHERS, Session, Uploader, blocking};
use crate::base::crc::{Crc64, Crc64Joiner};
use crate::base::{ChunkIndex, UploadId};
use crate::client::{Event, Observer, Result};

/// How often a chunk is sent again that arrived with other bytes than those that left: a bad line or bad memory.
pub(super) const GARBLED_MAX: u32 = 3;

/// The checksum of each chunk, as far as they are known.
pub(super) struct Checksums(Mutex<Vec<Option<Crc64>>>);

impl Checksums {
    /// None is known of `count` chunks.
    pub(super) fn new(count: u32) -> Self {
        Self(Mutex::new(vec![None; count as usize]))
    }

    fn get(&self, index: u32) -> Option<Crc64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[index as usize]
    }

    /// Remembers a checksum; says whether it agrees with what was known.
    fn agrees(&self, index: u32, crc: Crc64) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all[index as usize].get_or_insert(crc) == crc
    }

    /// The whole file's checksum; `None` while a chunk's is unknown.
    pub(super) fn combined(&self, layout: &Layout) -> Option<Crc64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut whole = Crc64Joiner::new(layout.chunk_size());
        for (index, crc) in (0..layout.chunk_count()).zip(all.iter()) {
            whole.add((*crc)?, layout.range(index).len());
        }
        Some(whole.finish())
    }
}

impl Uploader {
    /// Sends and hashes what `work` says, both at a time.
    pub(super) async fn send_and_hash(&self, session: &Session<'_>, work: &Work) -> Result<()> {
        let send = stream::iter(indexes(&work.send))
            .map(|index| self.send(session, index))
            .buffer_unordered(self.options.parallel.max(1))
            .try_collect::<()>();
        let hash = stream::iter(indexes(&work.hash))
            .filter(|index| std::future::ready(session.checksums.get(*index).is_none()))
            .map(|index| self.hash(session, index))
            .buffer_unordered(HASHERS)
            .try_collect::<()>();
        tokio::try_join!(send, hash).map(drop)
    }

    async fn hash(&self, session: &Session<'_>, index: u32) -> Result<()> {
        let _permit = self.hashers.acquire().await;
        let range = session.layout.range(index);
        let (source, buffers) = (Arc::clone(session.source), self.buffers.clone());
        let crc = blocking(move || source.hash(range, &buffers)).await?;
        (session.observer)(Event::Found(range.len()));
        session.checksums.agrees(index, crc).then_some(()).ok_or_else(|| session.source.changed())
    }

    async fn send(&self, session: &Session<'_>, index: u32) -> Result<()> {
        let _permit = self.permits.acquire().await;
        let range = session.layout.range(index);
        let mut garbled = 0;
        loop {
            let (source, buffers) = (Arc::clone(session.source), self.buffers.clone());
            let chunk = blocking(move || source.load(range, &buffers)).await?;
            if !session.checksums.agrees(index, chunk.crc) {
                return Err(session.source.changed());
            }
            let put = async || {
                let target = (session.upload.upload_id, ChunkIndex::new(index));
                self.put(target, session.source, &chunk, session.observer).await
            };
            match self.client.patiently(session.observer, put).await {
                Err(error) if error.is("checksum-mismatch") && garbled < GARBLED_MAX => {
                    // A chunk that is read twice may have been edited in between.
                    session.source.check_unchanged()?;
                    garbled += 1;
                }
                settled => return settled,
            }
        }
    }

    /// One attempt.
    async fn put(
        &self,
        (id, index): (UploadId, ChunkIndex),
        source: &Arc<Source>,
        chunk: &Chunk,
        observer: &Observer,
    ) -> Result<()> {
        let meter = Meter::new(observer);
        let body = reqwest::Body::wrap_stream(meter.watch(source.stream(chunk)));
        let size = chunk.range.len();
        let sent = self.client.put_chunk(id, index, size, chunk.crc, body).await;
        let moved = meter.moved.load(Ordering::Relaxed);
        match &sent {
            // An answer that came before all bytes had left: it was there already.
            Ok(()) if moved < size => observer(Event::Moved(size - moved)),
            Err(_) if moved > 0 => observer(Event::Lost(moved)),
            _ => {}
        }
        sent
    }
}

/// Tells how many bytes have left in one attempt.
pub(super) struct Meter {
    pub(super) moved: Arc<AtomicU64>,
    observer: Observer,
}

impl Meter {
    /// Nothing has left yet.
    pub(super) fn new(observer: &Observer) -> Self {
        Self { moved: Arc::default(), observer: Arc::clone(observer) }
    }

    /// Counts what is read of `body`.
    pub(super) fn watch(
        &self,
        body: BoxStream<'static, io::Result<Bytes>>,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        let (moved, observer) = (Arc::clone(&self.moved), Arc::clone(&self.observer));
        body.inspect_ok(move |piece| {
            moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
            observer(Event::Moved(piece.len() as u64));
        })
        .boxed()
    }
}
