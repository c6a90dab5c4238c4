//! The hard thinking about uploads, as functions of their arguments: no time of its own, no I/O.
//!
//! How a file is cut into chunks, what a state allows, whether a chunk fits, when a session ends. Called by
//! every other file of this folder; tested by tables.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::base::{ChunkIndex, Code, Error, Result, Timestamp};
use crate::blob::{PartLimits, Span};
use crate::db::uploads::{Upload, UploadState};

/// Why an upload has ended whose bytes the store has dropped.
pub const DROPPED: &str = "the store has dropped what was uploaded";

/// How a file is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Every chunk but the last has this many bytes.
    pub chunk_size: u64,
    /// How many there are; none for an empty file.
    pub chunk_count: u32,
}

/// Cuts a file of `total_size` bytes into chunks of `wish` bytes, as nearly as the store's limits allow.
///
/// # Errors
/// `FileTooLarge` `{ max_bytes }` if it cannot be cut: more than the largest parts times their number.
///
/// # Panics
/// Never: the chunks are made large enough for their number.
pub fn cut(total_size: u64, wish: u64, limits: PartLimits) -> Result<Cut> {
    let most = limits.max_bytes.saturating_mul(u64::from(limits.count_max));
    if total_size > most {
        return Err(too_large(total_size, most));
    }
    let needed = total_size.div_ceil(u64::from(limits.count_max));
    let chunk_size = wish.clamp(limits.min_bytes, limits.max_bytes).max(needed);
    let chunk_count = u32::try_from(total_size.div_ceil(chunk_size))
        .expect("INVARIANT: chunk_size was raised until count_max chunks are enough");
    Ok(Cut { chunk_size, chunk_count })
}

/// `FileTooLarge` `{ max_bytes }`.
pub fn too_large(total_size: u64, max_bytes: u64) -> Error {
    let detail = format!("the file has {total_size} bytes; at most {max_bytes} are taken here");
    Error::new(Code::FileTooLarge, detail).with("max_bytes", max_bytes)
}

/// Where chunk `index` belongs, if this upload still takes chunks.
///
/// `announced` is the body's length where the client told it.
///
/// # Errors
/// `UploadGone`, `UploadFinalized` (see [`takes_chunks`]), `ChunkOutOfRange`, `ChunkSizeMismatch`.
pub fn check_chunk(
    upload: &Upload,
    index: ChunkIndex,
    announced: Option<u64>,
    now: Timestamp,
) -> Result<Span> {
    takes_chunks(upload, now)?;
    let Some(span) = span(upload, index) else {
        let detail = match upload.chunk_count {
            0 => format!("upload `{}` is of an empty file and has no chunks; finalize it", upload.id),
            count => format!("upload `{}` has chunks 0 to {}, not {index}", upload.id, count - 1),
        };
        return Err(Error::new(Code::ChunkOutOfRange, detail).with("chunk_count", upload.chunk_count));
    };
    match announced {
        Some(received) if received != span.len => Err(size_mismatch(upload, span, received)),
        _ => Ok(span),
    }
}

/// `ChunkSizeMismatch` `{ expected_size, received_size }`.
pub fn size_mismatch(upload: &Upload, span: Span, received: u64) -> Error {
    let detail = format!(
        "chunk {} of upload `{}` has {} bytes, the body has {}{received}",
        span.index,
        upload.id,
        span.len,
        if received > span.len { "at least " } else { "" },
    );
    Error::new(Code::ChunkSizeMismatch, detail)
        .with("expected_size", span.len)
        .with("received_size", received)
}

/// Where chunk `index` belongs; `None` past the end.
pub fn span(upload: &Upload, index: ChunkIndex) -> Option<Span> {
    if index.get() >= upload.chunk_count {
        return None;
    }
    let offset = u64::from(index.get()) * upload.chunk_size;
    Some(Span { index, offset, len: upload.chunk_size.min(upload.total_size - offset) })
}

/// Whether the upload is in a state that takes chunks.
///
/// # Errors
/// `UploadGone` `{ state }` when it was aborted or its time is over; `UploadFinalized` when its end has begun.
pub fn takes_chunks(upload: &Upload, now: Timestamp) -> Result<()> {
    match state_at(upload, now) {
        UploadState::Receiving => Ok(()),
        UploadState::Finalizing => {
            Err(Error::new(Code::UploadFinalized, format!("upload `{}` is being finalized", upload.id)))
        }
        UploadState::Sealed => {
            let detail = format!(
                "upload `{}` is put together and its chunks stay as they are; finalize it with the digest that its \
                 bytes have, or delete it",
                upload.id
            );
            Err(Error::new(Code::UploadFinalized, detail))
        }
        UploadState::Completed => {
            let detail = format!("upload `{}` is a file already: /api/files/{}", upload.id, upload.id.file());
            Err(Error::new(Code::UploadFinalized, detail))
        }
        state @ (UploadState::Aborted | UploadState::Expired) => Err(gone(upload, state)),
    }
}

/// `UploadGone` `{ state }`.
pub fn gone(upload: &Upload, state: UploadState) -> Error {
    let how = match (state, &upload.error) {
        (UploadState::Aborted, _) => "was aborted",
        (_, Some(error)) if error == DROPPED => "has ended: the store has dropped what was uploaded",
        _ => "has expired",
    };
    let detail = format!("upload `{}` {how}; begin a new one with POST /api/uploads", upload.id);
    Error::new(Code::UploadGone, detail).with("state", state.as_str())
}

/// The state as a client may see it: a session that waits for its client and whose time is over has expired, whether
/// or not the sweeper has come by.
pub fn state_at(upload: &Upload, now: Timestamp) -> UploadState {
    match upload.state {
        UploadState::Receiving | UploadState::Sealed if upload.expires_at <= now => UploadState::Expired,
        state => state,
    }
}

/// When a session ends that was heard of `now`: after `idle`, at most `max_age` after its creation.
pub fn expires_at(created: Timestamp, now: Timestamp, idle: Duration, max_age: Duration) -> Timestamp {
    now.plus(idle).min(created.plus(max_age))
}

/// What a repeated chunk is to the one accepted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRepeat {
    /// It must be the same bytes.
    Compare,
    /// It takes the accepted one's place.
    Replace,
}
