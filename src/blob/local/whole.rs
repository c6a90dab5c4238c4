//! Blobs that come in one piece: staged under a name of their own, and moved to their place once what refers to
//! them is committed.
//!
//! The name in `staging/` is the promise: what lies there after a crash is either known to the database, and is
//! moved then, or it is removed. So nothing has to be noted beforehand, the move itself need not be flushed, and
//! all that are kept at one time share the flush of one folder.

use std::fs::{self, File, OpenOptions};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::name::StagedName;
use super::receive::{Target, Writeback, in_place, write_all_at};
use super::root::{self, Root, Temporary};
use super::space::Ahead;
use super::staging::Shared;
use crate::base::ByteStream;
use crate::blob::{BlobError, BlobErrorKind, BlobKey, BlobResult, Length, PartsId};
use crate::telemetry::failpoint;

/// A body up to this length is collected first: then one call to the disk makes the file and writes it.
const COLLECTED_BYTES_MAX: u64 = 256 << 10;
/// A blob at least this large is allocated ahead; for a smaller one that costs more than it helps.
const ALLOCATED_FROM: u64 = 1 << 20;

/// Takes a blob in.
pub(super) async fn stage(
    shared: &Arc<Shared>,
    key: &BlobKey,
    mut body: ByteStream,
    length: Length,
) -> BlobResult<u64> {
    let mut frames = Vec::new();
    if !matches!(length, Length::Exactly(size) if size > COLLECTED_BYTES_MAX)
        && collect(&mut frames, &mut body).await?
    {
        return in_place(|| stage_collected(shared, key, &frames, length));
    }
    let (file, staged) = in_place(|| make(shared, key))?;
    let ahead = match length {
        Length::Exactly(size) if size >= ALLOCATED_FROM => Ahead::Blocks { size },
        _ => Ahead::Nothing,
    };
    let target = Target::new(file, Arc::clone(&shared.space), ahead, Writeback::before(shared.durability));
    failpoint::hit("blob.stage.before_data");
    let body = stream::iter(frames.into_iter().map(Ok)).chain(body).boxed();
    let written = target.receive(0, length.max(), body).await?.bytes;
    check_length(key, written, length)?;
    failpoint::hit("blob.stage.after_data");
    staged.leave();
    Ok(written)
}

/// Reads `body` into `frames` until there is more than is to be collected; `true` if that was all.
async fn collect(frames: &mut Vec<Bytes>, body: &mut ByteStream) -> BlobResult<bool> {
    let mut bytes = 0;
    while bytes <= COLLECTED_BYTES_MAX {
        let Some(frame) = body.next().await else { return Ok(true) };
        let frame = frame?;
        bytes += frame.len() as u64;
        frames.push(frame);
    }
    Ok(false)
}

fn stage_collected(shared: &Shared, key: &BlobKey, frames: &[Bytes], length: Length) -> BlobResult<u64> {
    let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
    check_length(key, bytes, length)?;
    shared.space.look()?;
    let (file, staged) = make(shared, key)?;
    failpoint::hit("blob.stage.before_small_data");
    write_all_at(&file, frames, 0).map_err(|error| BlobError::io("writing to the disk", error))?;
    failpoint::hit("blob.stage.after_small_data");
    staged.leave();
    Ok(bytes)
}

fn make(shared: &Shared, key: &BlobKey) -> BlobResult<(File, Temporary)> {
    let path = shared.root.whole(&StagedName::of(key)?);
    let made = root::open(OpenOptions::new().write(true).create_new(true), &path);
    if made.as_ref().is_err_and(root::is_missing) {
        shared.root.require_present()?; // it may be away rather than broken
    }
    let file = made.map_err(|error| root::at("making", &path, error))?;
    Ok((file, Temporary::new(path)))
}

fn check_length(key: &BlobKey, bytes: u64, length: Length) -> BlobResult<()> {
    match length {
        Length::Exactly(size) if bytes < size => {
            let context = format!("{bytes} bytes came for `{key}`, {size} were announced");
            Err(BlobError::new(BlobErrorKind::BodyCut, context))
        }
        _ if bytes > length.max() => {
            Err(BlobError::new(BlobErrorKind::BodyTooLong, format!("more than {} bytes came", length.max())))
        }
        _ => Ok(()),
    }
}

/// Flushes staged blobs and their names. Blocks.
pub(super) fn keep(shared: &Shared, keys: &[BlobKey]) -> BlobResult<()> {
    for key in keys {
        let path = shared.root.whole(&StagedName::of(key)?);
        // An error that the kernel met before is told to whoever opens the file next (errseq_t).
        let file = File::open(&path).map_err(|error| root::at("opening", &path, error))?;
        (shared.flush)(&file).map_err(|error| root::at("flushing", &path, error))?;
    }
    shared.names.flush(|| root::flush_folder(&shared.root.staging()))
}

/// Flushes of the folder of staged blobs: one that begins after my name was made covers me, whoever asked for it.
#[derive(Debug, Default)]
pub(super) struct Names {
    flushes: Mutex<Flushes>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Flushes {
    begun: u64,
    ended: u64,
    running: bool,
    /// The last one that failed.
    failed: u64,
}

impl Names {
    /// Waits until a flush that begins from now on has ended. Blocks.
    ///
    /// # Errors
    /// `Internal` if it failed, whoever ran it.
    fn flush(&self, run: impl FnOnce() -> BlobResult<()>) -> BlobResult<()> {
        let mut flushes = self.lock();
        let wanted = flushes.begun + 1;
        while flushes.running && flushes.ended < wanted {
            flushes = self.ended.wait(flushes).unwrap_or_else(PoisonError::into_inner);
        }
        if flushes.ended >= wanted {
            let failed = || root::wrong("flushing the names of staged blobs failed".to_owned());
            return if flushes.failed >= wanted { Err(failed()) } else { Ok(()) };
        }
        flushes.running = true;
        flushes.begun += 1;
        let mine = flushes.begun;
        drop(flushes);
        let outcome = run();
        let mut flushes = self.lock();
        flushes.running = false;
        flushes.ended = mine;
        if outcome.is_err() {
            flushes.failed = mine;
        }
        drop(flushes);
        self.ended.notify_all();
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Flushes> {
        self.flushes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves staged blobs to their place; those that are there already are skipped. Blocks shortly.
pub(super) fn reveal(shared: &Shared, keys: &[BlobKey]) -> BlobResult<()> {
    for key in keys {
        let (from, to) = (shared.root.whole(&StagedName::of(key)?), shared.root.blob(key));
        failpoint::hit("blob.reveal.before_rename");
        let mut moved = fs::rename(&from, &to);
        if moved.as_ref().is_err_and(root::is_missing) {
            shared.root.make_parent(key)?;
            moved = fs::rename(&from, &to);
        }
        match moved {
            Ok(()) => {}
            // Revealed before, or deleted meanwhile.
            Err(error) if root::is_missing(&error) => {}
            Err(error) => return Err(root::at("moving a file to", &to, error)),
        }
        failpoint::hit("blob.reveal.after_rename");
    }
    Ok(())
}

/// Opens a blob, revealed or not; `None` if there is none. Blocks shortly.
pub(super) fn open(root: &Root, key: &BlobKey) -> BlobResult<Option<File>> {
    let (place, staged) = (root.blob(key), root.whole(&StagedName::of(key)?));
    // Once more in its place: it may have been moved there between the two looks.
    for path in [&place, &staged, &place] {
        if let Some(file) = root::open_existing(path)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// The keys of all staged blobs.
pub(super) fn unrevealed(shared: &Shared) -> BlobResult<Vec<BlobKey>> {
    let folder = shared.root.staging();
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| root::at("reading", &folder, error))? {
        let entry = entry.map_err(|error| root::at("reading", &folder, error))?.file_name();
        let name = entry.to_str().and_then(|name| name.strip_suffix(".whole"));
        if let Some(name) = name.and_then(|name| StagedName::parse(&PartsId::new(name)).ok()) {
            found.push(name.key());
        }
    }
    Ok(found)
}
