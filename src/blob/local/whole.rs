//! Blobs that come in one piece: staged under a name of their own, and moved to their place once what refers to
//! them is committed.
//!
//! The name in `staging/` is the promise: what lies there after a crash is either known to the database, and is
//! moved then, or it is removed. So nothing has to be noted beforehand, the move itself need not be flushed, and
//! all that are kept at one time share the flush of one folder.

use std::fs::{self, File, OpenOptions};
use std::sync::Arc;

use super::name::StagedName;
use super::receive::{Target, Writeback, in_place};
use super::root::{self, Root, Temporary};
use super::space::Ahead;
use super::staging::Shared;
use crate::base::ByteStream;
use crate::blob::{BlobError, BlobErrorKind, BlobKey, BlobResult, Length, PartsId};
use crate::config::Durability;
use crate::telemetry::failpoint;

/// A blob at least this large is allocated ahead; for a smaller one that costs more than it helps.
const ALLOCATED_FROM: u64 = 1 << 20;

/// Takes a blob in.
pub(super) async fn stage(
    shared: &Arc<Shared>,
    key: &BlobKey,
    body: ByteStream,
    length: Length,
) -> BlobResult<u64> {
    let path = shared.root.whole(&StagedName::of(key)?);
    let made = in_place(|| root::open(OpenOptions::new().write(true).create_new(true), &path));
    if made.as_ref().is_err_and(root::is_missing) {
        shared.root.require_present()?; // it may be away rather than broken
    }
    let file = made.map_err(|error| root::at("making", &path, error))?;
    let staged = Temporary::new(path);
    let ahead = match length {
        Length::Exactly(size) if size >= ALLOCATED_FROM => Ahead::Blocks { size },
        _ => Ahead::Nothing,
    };
    let target = Target::new(file, Arc::clone(&shared.space), ahead, Writeback::before(shared.durability));
    failpoint::hit("blob.stage.before_data");
    let written = target.receive(0, length.max(), body).await?.bytes;
    if let Length::Exactly(size) = length
        && size != written
    {
        let context = format!("{written} bytes came for `{key}`, {size} were announced");
        return Err(BlobError::new(BlobErrorKind::BodyCut, context));
    }
    failpoint::hit("blob.stage.after_data");
    staged.leave();
    Ok(written)
}

/// Flushes staged blobs and their names. Blocks.
pub(super) fn keep(shared: &Shared, keys: &[BlobKey]) -> BlobResult<()> {
    if shared.durability == Durability::None {
        return Ok(());
    }
    for key in keys {
        let path = shared.root.whole(&StagedName::of(key)?);
        // An error that the kernel met before is told to whoever opens the file next (errseq_t).
        let file = File::open(&path).map_err(|error| root::at("opening", &path, error))?;
        (shared.flush)(&file).map_err(|error| root::at("flushing", &path, error))?;
    }
    root::flush_folder(&shared.root.staging())
}

/// Moves staged blobs to their place; those that are there already are skipped. Blocks.
pub(super) fn reveal(shared: &Shared, keys: &[BlobKey]) -> BlobResult<()> {
    for key in keys {
        shared.root.make_parent(key)?;
        failpoint::hit("blob.reveal.before_rename");
        let (from, to) = (shared.root.whole(&StagedName::of(key)?), shared.root.blob(key));
        match fs::rename(&from, &to) {
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
