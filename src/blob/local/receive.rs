//! Bytes from a body into a file: frames are collected, not copied, and written in batches.
//!
//! Called for parts and for whole blobs. The writes happen on the worker that received the bytes
//! (`block_in_place`), while they are in its cache; that needs tokio's multi-thread runtime.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;

use super::space::{Ahead, Allocation, BLOCK_BYTES, Space};
use super::writeback;
use crate::base::ByteStream;
use crate::blob::{BlobError, BlobErrorKind, BlobResult};
use crate::config::Durability;

/// A batch is written when it has this many bytes: small enough for a core's second-level cache, large enough that
/// handing the worker's other tasks over (some 20 µs of wake-ups on a virtual machine) costs little beside it.
const BATCH_BYTES: usize = 256 << 10;
/// … or this many frames: the kernel takes at most 1,024 (`IOV_MAX`).
const BATCH_FRAMES: usize = 512;
/// After this many bytes the kernel is asked to begin writing, so that a later flush finds little to do.
const WRITEBACK_BYTES: u64 = 32 << 20;

/// Whether the disk is told to begin writing early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writeback {
    /// Yes: a flush will follow.
    Early,
    /// No: when the kernel likes.
    Never,
}

impl Writeback {
    /// What fits to when the bytes are forced to the disk.
    pub(super) fn before(durability: Durability) -> Self {
        match durability {
            Durability::None => Self::Never,
            Durability::Finalize | Durability::Chunk => Self::Early,
        }
    }
}

/// A file that bytes come into, from any number of bodies at once.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) file: File,
    space: Arc<Space>,
    allocation: Allocation,
    writeback: Writeback,
    written: AtomicU64,
}

impl Target {
    /// Writes to `file`, with room taken from `space`.
    pub(super) fn new(file: File, space: Arc<Space>, ahead: Ahead, writeback: Writeback) -> Self {
        let allocation = Allocation::new(ahead);
        Self { file, space, allocation, writeback, written: AtomicU64::new(0) }
    }

    /// Writes `body` from the byte `offset` on; a body shorter than `len_max` is fine.
    ///
    /// Room is made before the first byte is read, then block by block. Nothing is written past `len_max`.
    ///
    /// # Errors
    /// `BodyTooLong`, `Full`, or what the body or the disk says; what came before has been written or not.
    pub(super) async fn receive(
        &self,
        offset: u64,
        len_max: u64,
        mut body: ByteStream,
    ) -> BlobResult<Received> {
        let end_max = offset.saturating_add(len_max);
        let mut run =
            Run { target: self, position: offset, reserved: offset, end_max, disk_time: Duration::ZERO };
        let mut batch = Batch::default();
        if len_max > 0 && !run.has_room() {
            in_place(|| run.reserve(offset))?;
        }
        while let Some(frame) = body.next().await {
            let frame = frame?;
            if frame.is_empty() {
                continue;
            }
            batch.push(frame);
            if batch.bytes > end_max - run.position {
                let context = format!("more than {len_max} bytes came");
                return Err(BlobError::new(BlobErrorKind::BodyTooLong, context));
            }
            if batch.is_full() {
                in_place(|| run.write(&mut batch))?;
            }
        }
        if batch.bytes > 0 {
            in_place(|| run.write(&mut batch))?;
        }
        Ok(Received { bytes: run.position - offset, disk_time: run.disk_time })
    }

    /// How many bytes are allocated and not yet written. What is written twice is counted twice: too few rather
    /// than too many.
    pub(super) fn ahead(&self) -> u64 {
        self.allocation.bytes().saturating_sub(self.written.load(Ordering::Relaxed))
    }

    /// Counts what was written; now and then the disk is told to begin.
    fn count(&self, bytes: u64) {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        let crossed = before / WRITEBACK_BYTES != (before + bytes) / WRITEBACK_BYTES;
        if crossed && self.writeback == Writeback::Early {
            writeback::begin(&self.file);
        }
    }
}

/// What came of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    /// Its length.
    pub(super) bytes: u64,
    /// How long the disk took to take it.
    pub(super) disk_time: Duration,
}

/// A body being written.
struct Run<'a> {
    target: &'a Target,
    position: u64,
    reserved: u64,
    end_max: u64,
    disk_time: Duration,
}

impl Run<'_> {
    /// Writes a batch where the last one ended.
    fn write(&mut self, batch: &mut Batch) -> BlobResult<()> {
        let started = Instant::now();
        let end = self.position + batch.bytes;
        if end > self.reserved {
            self.reserve(end)?;
        }
        write_all_at(&self.target.file, &batch.frames, self.position)
            .map_err(|error| BlobError::io("writing to the disk", error))?;
        self.position = end;
        self.target.count(batch.bytes);
        batch.clear();
        self.disk_time += started.elapsed();
        Ok(())
    }

    /// Whether the first block was allocated before, for another part: then nothing has to be asked of the disk.
    fn has_room(&self) -> bool {
        let first = self.position..self.position.saturating_add(BLOCK_BYTES).min(self.end_max);
        self.target.allocation.covers(&first)
    }

    /// Makes room to `end` at least, and a block's length further if the body may be that long.
    fn reserve(&mut self, end: u64) -> BlobResult<()> {
        let to = self.reserved.saturating_add(BLOCK_BYTES).max(end).min(self.end_max);
        self.target.allocation.reserve(&self.target.space, &self.target.file, self.reserved..to)?;
        self.reserved = to;
        Ok(())
    }
}

/// Frames that wait to be written together.
#[derive(Default)]
struct Batch {
    frames: Vec<Bytes>,
    bytes: u64,
}

impl Batch {
    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len() as u64;
        self.frames.push(frame);
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES as u64 || self.frames.len() >= BATCH_FRAMES
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

/// Runs what blocks for a short while on this worker; the runtime moves its other tasks to another one.
pub(super) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// Runs what may block for long on a thread for that. It goes on when the caller is dropped.
pub(super) async fn off_worker<T: Send + 'static>(
    work: impl FnOnce() -> BlobResult<T> + Send + 'static,
) -> BlobResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(BlobError::new(BlobErrorKind::Unavailable, "the service is stopping")),
    }
}

/// Writes all frames one after the other from `offset` on: goes on after the kernel took only some of them.
pub(super) fn write_all_at(file: &File, frames: &[Bytes], mut offset: u64) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        match rustix::io::pwritev(file, rest, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                IoSlice::advance_slices(&mut rest, count);
                offset += count as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
