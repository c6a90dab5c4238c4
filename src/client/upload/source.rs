//! The file to upload: read by position, from several chunks at once, and watched for changes.
//!
//! A chunk's checksum stands in a header, before its bytes, so the bytes are needed twice. A chunk of up to
//! [`HELD_BYTES_MAX`] is read once into a buffer, hashed there piece by piece while the piece is in the CPU's cache,
//! and sent from there, also when it must be sent again; buffers are used over and over, because fresh memory is dear.
//! A larger chunk is read twice (the second time from the page cache), so that memory stays bounded: by
//! `parallel` × 16 MiB. Everything here blocks: called in `spawn_blocking`.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use crate::base::ByteRange;
use crate::base::crc::{Crc64, Crc64Hasher};
use crate::client::fingerprint::{Identity, fingerprint};
use crate::client::{Error, Result};

/// The largest chunk that is held in memory while it is sent.
const HELD_BYTES_MAX: u64 = 16 << 20;

/// Bytes read and hashed at a time: they stay in the second-level cache.
const PIECE_BYTES: usize = 256 << 10;

/// An open file, and what it looked like when it was opened.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    path: PathBuf,
    canonical: PathBuf,
    identity: Identity,
}

/// A chunk that is ready to be sent, any number of times.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) crc: Crc64,
    pub(super) range: ByteRange,
    bytes: Option<Bytes>,
}

impl Source {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Local`], also for what is not a regular file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let opened = || {
            let canonical = std::fs::canonicalize(path)?;
            // Opening a FIFO would wait for its other end.
            let metadata = std::fs::metadata(&canonical)?;
            if !metadata.is_file() {
                return Err(io::Error::other("it is not a regular file"));
            }
            let file = File::open(&canonical)?;
            let identity = Identity::of(&file.metadata()?);
            Ok(Self { file, path: path.to_owned(), canonical, identity })
        };
        opened().map_err(Error::local("opening", path))
    }

    /// In bytes, when it was opened.
    pub(super) fn size(&self) -> u64 {
        self.identity.size
    }

    /// See [`fingerprint`].
    pub(super) fn fingerprint(&self, label: &str) -> String {
        fingerprint(self.canonical.as_os_str().as_bytes(), label, &self.identity)
    }

    /// # Errors
    /// [`Error::Changed`] if the file is not what it was when it was opened: its size, its modification time, or
    /// another file stands in its place.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        let now = std::fs::metadata(&self.canonical).map(|metadata| Identity::of(&metadata));
        if now.is_ok_and(|now| now == self.identity) { Ok(()) } else { Err(self.changed()) }
    }

    /// That it has changed.
    pub(super) fn changed(&self) -> Error {
        Error::Changed(self.path.clone())
    }

    /// Reads and hashes a chunk so that it can be sent.
    pub(super) fn load(&self, range: ByteRange, buffers: &Buffers) -> Result<Chunk> {
        if range.len() > HELD_BYTES_MAX {
            return Ok(Chunk { crc: self.hash(range, buffers)?, range, bytes: None });
        }
        let len = usize::try_from(range.len()).expect("INVARIANT: at most HELD_BYTES_MAX");
        let mut buffer = buffers.take(len);
        let mut hasher = Crc64Hasher::default();
        let mut position = range.start();
        for piece in buffer.as_mut().chunks_mut(PIECE_BYTES) {
            self.read(piece, position)?;
            hasher.update(piece);
            position += piece.len() as u64;
        }
        Ok(Chunk { crc: hasher.finish(), range, bytes: Some(Bytes::from_owner(buffer)) })
    }

    /// The checksum of a part of the file, which is not kept.
    pub(super) fn hash(&self, range: ByteRange, buffers: &Buffers) -> Result<Crc64> {
        let mut buffer = buffers.take(PIECE_BYTES);
        let mut hasher = Crc64Hasher::default();
        let mut position = range.start();
        while position < range.end() {
            let piece = &mut buffer.as_mut()[..piece_len(position, range.end())];
            self.read(piece, position)?;
            hasher.update(piece);
            position += piece.len() as u64;
        }
        Ok(hasher.finish())
    }

    /// A chunk's bytes in pieces, for the body of a request.
    pub(super) fn stream(self: &Arc<Self>, chunk: &Chunk) -> BoxStream<'static, io::Result<Bytes>> {
        match chunk.bytes.clone() {
            Some(bytes) => stream::unfold(bytes, |mut rest| async move {
                let piece = rest.split_to(rest.len().min(PIECE_BYTES));
                (!piece.is_empty()).then_some((Ok(piece), rest))
            })
            .boxed(),
            None => Self::stream_from_file(Arc::clone(self), chunk.range).boxed(),
        }
    }

    fn stream_from_file(
        source: Arc<Self>,
        range: ByteRange,
    ) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
        stream::try_unfold(range.start(), move |position| {
            let source = Arc::clone(&source);
            async move {
                if position == range.end() {
                    return Ok(None);
                }
                let read = tokio::task::spawn_blocking(move || {
                    let mut piece = vec![0; piece_len(position, range.end())];
                    source.file.read_exact_at(&mut piece, position).map(|()| piece)
                });
                let piece = read.await.map_err(io::Error::other)??;
                let next = position + piece.len() as u64;
                Ok(Some((Bytes::from(piece), next)))
            }
        })
    }

    fn read(&self, piece: &mut [u8], position: u64) -> Result<()> {
        self.file.read_exact_at(piece, position).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(), // it became shorter
            _ => Error::local("reading", &self.path)(error),
        })
    }
}

#[cfg(test)]
impl Chunk {
    /// Where its bytes are held.
    pub(super) fn address(&self) -> *const u8 {
        self.bytes.as_ref().map_or(std::ptr::null(), |bytes| bytes.as_ptr())
    }
}

fn piece_len(position: u64, end: u64) -> usize {
    usize::try_from(end - position).unwrap_or(usize::MAX).min(PIECE_BYTES)
}

/// Memory that goes from chunk to chunk.
#[derive(Debug, Clone)]
pub(super) struct Buffers(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    free: Mutex<Vec<Vec<u8>>>,
    kept_max: usize,
}

/// One buffer; returns to where it came from when the last request lets go of it.
struct Buffer {
    /// Never shortened: what lies beyond `len` was paid for already.
    bytes: Vec<u8>,
    len: usize,
    pool: Arc<Pool>,
}

impl Buffers {
    /// Keeps at most `kept_max` buffers that nobody uses.
    pub(super) fn new(kept_max: usize) -> Self {
        Self(Arc::new(Pool { free: Mutex::default(), kept_max }))
    }

    /// A buffer of `len` bytes, whatever is in them.
    fn take(&self, len: usize) -> Buffer {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest one that is large enough, else any: sizes differ between files, not within one.
        let best = free.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= len);
        let best = best.min_by_key(|(_, buffer)| buffer.capacity()).map(|(position, _)| position);
        let mut bytes = best.map(|position| free.swap_remove(position)).unwrap_or_default();
        drop(free);
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        Buffer { bytes, len, pool: Arc::clone(&self.0) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.pool.kept_max {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}
