//! The arithmetic of an upload by chunks: where each chunk lies, which are to be sent and which only hashed.
//!
//! Pure. A server's answer is checked here before anything is done with it.

use crate::base::ByteRange;
use crate::base::range::gaps;
use crate::client::{Error, Result, Upload};

/// How a file is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    total_size: u64,
    chunk_size: u64,
    chunk_count: u32,
}

impl Layout {
    /// As the server decided for a file of `size` bytes.
    ///
    /// # Errors
    /// [`Error::Foreign`] if the numbers don't fit each other or the file.
    pub(super) fn of(upload: &Upload, size: u64) -> Result<Self> {
        let (Some(total_size), Some(chunk_size), Some(chunk_count)) =
            (upload.total_size, upload.chunk_size, upload.chunk_count)
        else {
            return Err(Error::Foreign("the upload has no sizes".to_owned()));
        };
        let fits = chunk_size > 0 && total_size.div_ceil(chunk_size) == u64::from(chunk_count);
        if total_size != size || !fits {
            return Err(Error::Foreign(format!(
                "an upload of {size} bytes is answered by {chunk_count} chunks of {chunk_size} bytes, \
                 {total_size} in all"
            )));
        }
        Ok(Self { total_size, chunk_size, chunk_count })
    }

    /// Bytes of each chunk but the last.
    pub(super) fn chunk_size(&self) -> u64 {
        self.chunk_size
    }

    /// How many chunks there are.
    pub(super) fn chunk_count(&self) -> u32 {
        self.chunk_count
    }

    /// Where chunk `index` lies in the file.
    pub(super) fn range(&self, index: u32) -> ByteRange {
        let start = u64::from(index) * self.chunk_size;
        let end = (start + self.chunk_size).min(self.total_size);
        ByteRange::new(start, end).expect("INVARIANT: index < chunk_count, so the chunk has bytes")
    }
}

/// What is to be done with which chunks: ranges of first and last, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Work {
    /// Not on the server: to be sent.
    pub(super) send: Vec<(u32, u32)>,
    /// On the server: only their checksums are needed here.
    pub(super) hash: Vec<(u32, u32)>,
    /// Whether that is all; if not, ask again when it is done.
    pub(super) is_all: bool,
}

/// What is to be done when the server says that of `chunk_count` chunks `missing` are missing.
///
/// `missing_count` is larger than `missing` tells when the server shortened the list; then nothing is known of
/// chunks after its last one.
///
/// # Errors
/// [`Error::Foreign`] for ranges that are not ascending, or past the end.
pub(super) fn work(missing: &[(u32, u32)], missing_count: u64, chunk_count: u32) -> Result<Work> {
    let mut listed = 0;
    let mut next = 0;
    for &(first, last) in missing {
        if first < next || last < first || last >= chunk_count {
            return Err(Error::Foreign(format!(
                "of {chunk_count} chunks, {first} to {last} are said to be missing"
            )));
        }
        listed += u64::from(last - first) + 1;
        next = last + 1;
    }
    let is_all = missing_count <= listed;
    let known = if is_all { chunk_count } else { next };
    let hash = gaps(missing, known, usize::MAX);
    Ok(Work { send: missing.to_vec(), hash, is_all })
}

/// Every index in `ranges`, one after the other.
pub(super) fn indexes(ranges: &[(u32, u32)]) -> impl Iterator<Item = u32> {
    ranges.iter().flat_map(|&(first, last)| first..=last)
}
