//! Bytes out of a file: up to 256 KiB at a time, into buffers that are used again.
//!
//! Touching fresh memory can cost more than the copy, so a buffer goes back to its pool when the last reader
//! of its bytes lets go. Called for blobs and for staged bytes.

use std::fmt;
use std::fs::File;
use std::io::IoSliceMut;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use futures_util::StreamExt;
use rustix::io::{Errno, ReadWriteFlags};

use super::receive::in_place;
use crate::base::stream::StreamError;
use crate::base::{ByteRange, ByteStream};

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;
/// Less than this is read into memory of just that size: many slow readers of small ranges stay small.
const SMALL_BYTES: usize = 64 << 10;
/// At most this many buffers wait for their next use: 8 MiB.
const IDLE_MAX: usize = 32;

/// Buffers that wait for their next use.
#[derive(Default)]
pub(super) struct Buffers {
    idle: Mutex<Vec<Box<[u8]>>>,
}

impl Buffers {
    fn take(self: &Arc<Self>) -> Buffer {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = idle.unwrap_or_else(|| vec![0; READ_BYTES].into_boxed_slice());
        Buffer { bytes, len: 0, pool: Arc::downgrade(self) }
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers").finish_non_exhaustive()
    }
}

/// A buffer in use; its first `len` bytes are the content.
struct Buffer {
    bytes: Box<[u8]>,
    len: usize,
    pool: Weak<Buffers>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// The bytes of `range`, which `source` has. Should it have fewer after all, they end with an error.
pub(super) fn stream<F>(source: F, range: ByteRange, buffers: Arc<Buffers>) -> ByteStream
where
    F: AsRef<File> + Send + 'static,
{
    let state = (source, range.start(), range.end(), buffers);
    futures_util::stream::unfold(Some(state), |state| async {
        let (source, position, end, buffers) = state.filter(|(_, position, end, _)| position < end)?;
        // What is in the page cache is copied at once; only for what is not does the worker let its tasks go.
        let mut answer = read(source.as_ref(), position, end, &buffers, Wait::Never);
        if matches!(answer, Err(Failure::WouldWait)) {
            answer = in_place(|| read(source.as_ref(), position, end, &buffers, Wait::ForDisk));
        }
        match answer {
            Ok(bytes) => {
                let next = position + bytes.len() as u64;
                Some((Ok(bytes), Some((source, next, end, buffers))))
            }
            Err(failure) => Some((Err(failure.into()), None)),
        }
    })
    .boxed()
}

/// Whether a read may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// No: only what is in the page cache is read.
    Never,
    /// Yes.
    ForDisk,
}

/// Why nothing was read.
#[derive(Debug)]
enum Failure {
    /// The bytes are not in the page cache; or nobody can say whether they are.
    WouldWait,
    /// Anything else.
    Read(String),
}

impl From<Failure> for StreamError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::WouldWait => Self::Failed("the disk did not answer".to_owned()),
            Failure::Read(why) => Self::Failed(why),
        }
    }
}

fn read(file: &File, position: u64, end: u64, buffers: &Arc<Buffers>, wait: Wait) -> Result<Bytes, Failure> {
    let wanted = usize::try_from(end - position).unwrap_or(READ_BYTES).min(READ_BYTES);
    if wanted <= SMALL_BYTES {
        let mut bytes = vec![0; wanted];
        let count = read_at(file, &mut bytes, position, wait)?;
        bytes.truncate(count);
        return Ok(bytes.into());
    }
    let mut buffer = buffers.take();
    buffer.len = read_at(file, &mut buffer.bytes[..wanted], position, wait)?;
    Ok(Bytes::from_owner(buffer))
}

/// At least one byte.
fn read_at(file: &File, into: &mut [u8], position: u64, wait: Wait) -> Result<usize, Failure> {
    // A filesystem that does not know the flag refuses it: OPNOTSUPP.
    let flags = match wait {
        Wait::Never => ReadWriteFlags::NOWAIT,
        Wait::ForDisk => ReadWriteFlags::empty(),
    };
    loop {
        match rustix::io::preadv2(file, &mut [IoSliceMut::new(into)], position, flags) {
            Ok(0) => return Err(Failure::Read(format!("the file ends at {position}, too early"))),
            Ok(count) => return Ok(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) if wait == Wait::Never => {
                return Err(Failure::WouldWait);
            }
            Err(error) => return Err(Failure::Read(format!("reading at {position}: {error}"))),
        }
    }
}
