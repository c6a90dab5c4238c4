//! Walking the folder of blobs, some entries at a time: memory stays bounded, and no thread waits for the caller.

use std::collections::VecDeque;
use std::fs::{self, ReadDir};
use std::path::{Path, PathBuf};

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};

use super::receive::off_worker;
use super::root;
use crate::blob::{BlobKey, BlobMeta, BlobResult};

/// So many entries are looked at in one go.
const ENTRIES: usize = 256;

/// A walk: the folders that are being read, the deepest last.
struct Walk {
    blobs: PathBuf,
    open: Vec<ReadDir>,
}

/// All blobs in `folder`, which is `blobs` or below it, and in the folders below it.
pub(super) fn list(blobs: PathBuf, folder: &Path) -> BlobResult<BoxStream<'static, BlobResult<BlobMeta>>> {
    let open = match fs::read_dir(folder) {
        Ok(entries) => vec![entries],
        Err(error) if root::is_missing(&error) => Vec::new(),
        Err(error) => return Err(root::at("reading", folder, error)),
    };
    let start = (Some(Walk { blobs, open }), VecDeque::new());
    Ok(stream::unfold(start, |(mut walk, mut found)| async move {
        loop {
            if let Some(next) = found.pop_front() {
                return Some((next, (walk, found)));
            }
            let mut taken = walk.take()?;
            let step = off_worker(move || {
                let found = taken.step();
                Ok((taken, found))
            });
            match step.await {
                Ok((taken, more)) => {
                    // An empty stack is the end; whatever was found last is still given out.
                    walk = (!taken.open.is_empty()).then_some(taken);
                    found = more;
                }
                Err(error) => return Some((Err(error), (None, VecDeque::new()))),
            }
        }
    })
    .boxed())
}

impl Walk {
    fn step(&mut self) -> VecDeque<BlobResult<BlobMeta>> {
        let mut found = VecDeque::new();
        for _ in 0..ENTRIES {
            let Some(folder) = self.open.last_mut() else { break };
            let entry = match folder.next() {
                None => {
                    self.open.pop();
                    continue;
                }
                Some(Ok(entry)) => entry.path(),
                Some(Err(error)) => {
                    found.push_back(Err(root::at("reading below", &self.blobs, error)));
                    self.open.clear();
                    break;
                }
            };
            if let Some(result) = self.look(&entry).transpose() {
                found.push_back(result);
            }
        }
        found
    }

    /// A blob, if that is what it is; a folder is opened to be read next. Anything else is not ours.
    fn look(&mut self, path: &Path) -> BlobResult<Option<BlobMeta>> {
        let key = path.strip_prefix(&self.blobs).ok().and_then(Path::to_str).and_then(BlobKey::parse);
        let Some(key) = key else { return Ok(None) };
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            // Deleted since.
            Err(error) if root::is_missing(&error) => return Ok(None),
            Err(error) => return Err(root::at("reading", path, error)),
        };
        if metadata.is_dir() {
            match fs::read_dir(path) {
                Ok(entries) => self.open.push(entries),
                Err(error) if root::is_missing(&error) => {}
                Err(error) => return Err(root::at("reading", path, error)),
            }
        }
        Ok(metadata.is_file().then(|| super::meta(&key, &metadata)))
    }
}
