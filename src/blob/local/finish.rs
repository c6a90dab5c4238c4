//! What makes blobs appear and go away: completing, putting, deleting, abandoning. All of it blocks.
//!
//! Order is everything here. The bytes are on the disk before the name is; the name is on the disk before
//! anybody is told. Whoever is told an error may try again: each step that is done already is skipped.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::name::StagedName;
use super::open_files::OpenFiles;
use super::root::{self, Root, Temporary};
use super::staging::{Phase, Shared, Staging};
use crate::blob::{BlobError, BlobErrorKind, BlobKey, BlobMeta, BlobResult, PartsId};
use crate::config::Durability;
use crate::telemetry::failpoint;

/// More than a file's blocks can differ from its length by rounding and by the filesystem's own records.
const ROUNDING_BYTES: u64 = 64 << 10;

/// Makes the staged bytes the blob `key` of `size` bytes.
pub(super) fn complete(
    shared: &Shared,
    files: &OpenFiles,
    staging: &Arc<Staging>,
    key: &BlobKey,
    size: u64,
) -> BlobResult<BlobMeta> {
    let _turn = staging.turn();
    staging.check()?;
    let there = match staging.phase() {
        Phase::Open | Phase::Closing => staging.existing(Some(size))?.is_some(),
        Phase::Completed | Phase::Abandoned => false,
    };
    if !there {
        if let Some(meta) = find(&shared.root, key)? {
            return completed_before(shared, meta, size);
        }
        if size > 0 || staging.phase() == Phase::Abandoned {
            return Err(incomplete(key, 0, size));
        }
        staging.existing_or_new(Some(0))?;
    }
    if is_unlinked(staging)? {
        // Somebody removed it behind our back. Whoever comes next finds that nothing is staged.
        staging.set_phase(Phase::Abandoned);
        files.forget(staging);
        return Err(incomplete(key, 0, size));
    }
    staging.close()?;
    let result = publish(shared, staging, key, size);
    match staging.phase() {
        Phase::Closing => staging.set_phase(Phase::Open),
        _ => files.forget(staging),
    }
    result
}

fn is_unlinked(staging: &Staging) -> BlobResult<bool> {
    let file = &staging.opened().expect("INVARIANT: `complete` has opened it").file;
    let metadata = file.metadata().map_err(|error| BlobError::io("reading a staging file's links", error))?;
    Ok(metadata.nlink() == 0)
}

fn publish(shared: &Shared, staging: &Staging, key: &BlobKey, size: u64) -> BlobResult<BlobMeta> {
    let file = &staging.opened().expect("INVARIANT: `complete` has opened it").file;
    cut(file, key, size)?;
    failpoint::hit("blob.complete.before_sync");
    if shared.durability != Durability::None {
        staging.flush_bytes()?;
    }
    failpoint::hit("blob.complete.before_rename");
    let from = shared.root.staged(staging.name());
    shared.root.publish(&from, key, || {
        staging.set_phase(Phase::Completed);
        failpoint::hit("blob.complete.after_rename");
    })?;
    let metadata = file.metadata().map_err(|error| BlobError::io("reading a blob's length", error))?;
    Ok(super::meta(key, &metadata))
}

/// Gives a staged file the length of its blob: what lies behind belongs to no part (a body that was cut).
fn cut(file: &File, key: &BlobKey, size: u64) -> BlobResult<()> {
    let metadata =
        file.metadata().map_err(|error| BlobError::io("reading a staging file's length", error))?;
    if metadata.len() < size {
        return Err(incomplete(key, metadata.len(), size));
    }
    // st_blocks counts 512 bytes, whatever the filesystem's blocks are. Room that was allocated ahead and not
    // used is given back by the same call.
    if metadata.len() > size || metadata.blocks().saturating_mul(512) > size + ROUNDING_BYTES {
        file.set_len(size).map_err(|error| BlobError::io("cutting a staging file to its length", error))?;
    }
    Ok(())
}

/// The answer to a repeated `complete`; what a crash may have kept from the disk goes there now.
fn completed_before(shared: &Shared, meta: BlobMeta, size: u64) -> BlobResult<BlobMeta> {
    if meta.size != size {
        return Err(root::wrong(format!(
            "`{}` is complete and has {} bytes, not {size}",
            meta.key, meta.size
        )));
    }
    shared.root.flush_entry(&shared.root.blob(&meta.key))?;
    Ok(meta)
}

fn incomplete(key: &BlobKey, staged: u64, size: u64) -> BlobError {
    BlobError::new(BlobErrorKind::Incomplete, format!("{staged} bytes are staged of `{key}`, not {size}"))
}

/// Removes what was begun, and what came of it.
pub(super) fn abandon(
    shared: &Shared,
    files: &OpenFiles,
    staging: &Arc<Staging>,
    key: &BlobKey,
) -> BlobResult<()> {
    let _turn = staging.turn();
    failpoint::hit("blob.abandon.before_unlink");
    staging.remove()?;
    files.forget(staging);
    let blob = shared.root.blob(key);
    root::remove(&blob)?;
    failpoint::hit("blob.abandon.after_unlink");
    shared.root.flush_entry(&blob)
}

/// Makes a file that came in one piece the blob `key`.
pub(super) fn put(shared: &Shared, key: &BlobKey, file: &File, from: &Temporary) -> BlobResult<BlobMeta> {
    if shared.durability != Durability::None {
        (shared.flush)(file).map_err(|error| root::at("flushing", from.path(), error))?;
    }
    let metadata = file.metadata().map_err(|error| root::at("reading", from.path(), error))?;
    shared.root.publish(from.path(), key, || {})?;
    Ok(super::meta(key, &metadata))
}

/// Removes a blob.
pub(super) fn delete(shared: &Shared, key: &BlobKey) -> BlobResult<()> {
    let path = shared.root.blob(key);
    failpoint::hit("blob.delete.before_unlink");
    // First where it may be moved from, so that it is not moved after it was looked for.
    root::remove(&shared.root.whole(&StagedName::of(key)?))?;
    root::remove(&path)?;
    failpoint::hit("blob.delete.after_unlink");
    shared.root.flush_entry(&path)
}

/// What lies under `key`, if it is a blob.
pub(super) fn find(root: &Root, key: &BlobKey) -> BlobResult<Option<BlobMeta>> {
    let path = root.blob(key);
    match fs::symlink_metadata(&path) {
        Ok(metadata) => blob(&path, key, &metadata),
        Err(error) if root::is_missing(&error) => Ok(None),
        Err(error) => Err(root::at("reading", &path, error)),
    }
}

/// A file is a blob, a folder is nothing; anything else was put there by somebody else and is not touched.
pub(super) fn blob(path: &Path, key: &BlobKey, metadata: &Metadata) -> BlobResult<Option<BlobMeta>> {
    if metadata.is_dir() {
        return Ok(None);
    }
    if !metadata.is_file() {
        return Err(root::wrong(format!("`{}` is neither a file nor a folder", path.display())));
    }
    Ok(Some(super::meta(key, metadata)))
}

/// The names of everything in `staging/`; what has no name of ours is left alone.
pub(super) fn staged(shared: &Shared) -> BlobResult<Vec<PartsId>> {
    let folder = shared.root.staging();
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| root::at("reading", &folder, error))? {
        let entry = entry.map_err(|error| root::at("reading", &folder, error))?.file_name();
        let name =
            entry.to_str().and_then(|name| name.strip_suffix(".part").or(name.strip_suffix(".failed")));
        if let Some(name) = name.and_then(|name| StagedName::parse(&PartsId::new(name)).ok()) {
            found.push(name.parts());
        }
    }
    Ok(found)
}
