//! Room on the disk: how much is left, and taking it before bytes are written.
//!
//! A file is allocated in blocks of 64 MiB ahead of its writes (fallocate(2)), so that a full disk is noticed
//! before a body is read and a file lies in few pieces. The reserve (`min_free`) is looked at with each block.

use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use crate::blob::{BlobError, BlobErrorKind, BlobResult};
use crate::config::MinFree;

/// How much is allocated at once.
pub(super) const BLOCK_BYTES: u64 = 64 << 20;

/// The filesystem of a store.
#[derive(Debug)]
pub(super) struct Space {
    folder: File,
    /// What stays free for others: beyond it the store is full.
    min_free: MinFree,
    /// Not every filesystem can allocate; one that cannot is asked once.
    can_allocate: AtomicBool,
    /// Looking and taking are one step, or many files would take the same last bytes.
    taking: Mutex<()>,
}

impl Space {
    /// The filesystem that `folder` is on.
    pub(super) fn of(folder: File, min_free: MinFree) -> Self {
        Self { folder, min_free, can_allocate: AtomicBool::new(true), taking: Mutex::new(()) }
    }

    /// Bytes that may still be taken without touching the reserve.
    pub(super) fn available(&self) -> BlobResult<u64> {
        let stat = fstatvfs(&self.folder)
            .map_err(|error| BlobError::io("asking for the room left on the disk", error.into()))?;
        // Without what is set aside for root: we may run as root, and still leave it alone.
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let total = stat.f_blocks.saturating_mul(stat.f_frsize);
        Ok(free.saturating_sub(self.min_free.of(total)))
    }

    /// Takes room for `range` of `file`, whose length stays as it is.
    fn take(&self, file: &File, range: &Range<u64>) -> BlobResult<()> {
        let _one_at_a_time = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = range.end - range.start;
        let available = self.available()?;
        if available < bytes {
            let context = format!("{bytes} bytes are needed, {available} are left before the reserve");
            return Err(BlobError::new(BlobErrorKind::Full, context));
        }
        while self.can_allocate.load(Ordering::Relaxed) {
            match fallocate(file, FallocateFlags::KEEP_SIZE, range.start, bytes) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.can_allocate.store(false, Ordering::Relaxed),
                Err(error) => return Err(BlobError::io("allocating room on the disk", error.into())),
            }
        }
        Ok(())
    }

    /// Only looks whether a byte more may be written.
    pub(super) fn look(&self) -> BlobResult<()> {
        match self.available()? {
            0 => Err(BlobError::new(BlobErrorKind::Full, "the disk is filled up to its reserve")),
            _ => Ok(()),
        }
    }
}

/// How far ahead of its writes a file is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// It will have this many bytes: in whole blocks, the last one cut there.
    Blocks {
        /// The length that was announced.
        size: u64,
    },
    /// Its length is not known, that of each write is: just these bytes.
    Span,
    /// Nothing is known: nothing is allocated, the reserve is watched.
    Nothing,
}

/// What of one file has been allocated.
#[derive(Debug)]
pub(super) struct Allocation {
    ahead: Ahead,
    blocks: Mutex<HashSet<u64>>,
    /// Bytes of those blocks.
    bytes: AtomicU64,
}

impl Allocation {
    /// Of a file that grows like `ahead` says.
    pub(super) fn new(ahead: Ahead) -> Self {
        Self { ahead, blocks: Mutex::new(HashSet::new()), bytes: AtomicU64::new(0) }
    }

    /// How many bytes were allocated in whole blocks.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether room for all of `range` was made before.
    pub(super) fn covers(&self, range: &Range<u64>) -> bool {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        (range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)).all(|block| blocks.contains(&block))
    }

    /// Makes room for `range`, and ahead of it. Blocks. Allocating again what was allocated is cheap.
    ///
    /// # Errors
    /// `Full` if the disk or its reserve does not have these bytes.
    pub(super) fn reserve(&self, space: &Space, file: &File, range: Range<u64>) -> BlobResult<()> {
        let size = match self.ahead {
            Ahead::Blocks { size } => size.max(range.end),
            Ahead::Span => return space.take(file, &range),
            Ahead::Nothing => return space.look(),
        };
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        for block in range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES) {
            if blocks.contains(&block) {
                continue;
            }
            let start = block * BLOCK_BYTES;
            let whole = start..start.saturating_add(BLOCK_BYTES).min(size);
            match space.take(file, &whole) {
                Ok(()) => {
                    blocks.insert(block);
                    if space.can_allocate.load(Ordering::Relaxed) {
                        self.bytes.fetch_add(whole.end - whole.start, Ordering::Relaxed);
                    }
                }
                // The block may be too much where what is asked for still fits, or be there already since
                // before a restart.
                Err(error) if error.kind() == BlobErrorKind::Full => {
                    space.take(file, &(range.start.max(start)..range.end.min(whole.end)))?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
