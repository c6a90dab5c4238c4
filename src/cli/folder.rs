//! Finds the files that an upload command names: files as they are, folders with everything below.

use std::io;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use crate::client::upload::Item;

/// What was found, in the order of the arguments, folders sorted by name.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Each with its size in bytes as it was just now.
    pub(super) items: Vec<(Item, u64)>,
    /// What lies in a folder but is neither a file nor a folder, and links to folders: not uploaded.
    pub(super) skipped: Vec<PathBuf>,
}

/// All files of `paths`. Links to files are followed; links to folders only where they are arguments, so that
/// no loop of links is walked forever.
///
/// # Errors
/// [`Exit::Failed`] for what can't be read: nothing is uploaded then.
pub(super) fn find(paths: &[PathBuf]) -> Result<Found, Failure> {
    let mut found = Found::default();
    for path in paths {
        let mut add = || {
            let metadata = std::fs::metadata(path)?;
            if metadata.is_dir() {
                return walk(path, &mut found);
            }
            // `..` and `/` are folders: a file has a name.
            let filename = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.items.push((Item { path: path.clone(), filename, folder_path: None }, metadata.len()));
            Ok(())
        };
        add()
            .map_err(|error: io::Error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))?;
    }
    Ok(found)
}

/// Everything below `root`, without recursion: depth is bounded by the file system, not by our stack.
fn walk(root: &Path, found: &mut Found) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut paths = std::fs::read_dir(&folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
            .map_err(|error| naming(&folder, &error))?;
        paths.sort();
        let mut below = Vec::new();
        for path in paths {
            let link = path.symlink_metadata().map_err(|error| naming(&path, &error))?;
            let Ok(metadata) = std::fs::metadata(&path) else {
                found.skipped.push(path); // a link to nothing
                continue;
            };
            if metadata.is_file() {
                found.items.push((item_of(root, path), metadata.len()));
            } else if link.is_dir() {
                below.push(path);
            } else {
                found.skipped.push(path);
            }
        }
        folders.extend(below.into_iter().rev());
    }
    Ok(())
}

/// The name is the last component, `metadata.path` the whole way from the folder that was named.
fn item_of(root: &Path, path: PathBuf) -> Item {
    let filename = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder_path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
    Item { path, filename, folder_path: Some(folder_path) }
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
