//! A folder that another process owns, for commands that look at it meanwhile.

use std::fs::File;
use std::sync::Arc;

use super::open_files::OpenFiles;
use super::receive::off_worker;
use super::root::{self, Root};
use super::space::Space;
use super::staging::{Flush, Shared};
use super::whole::Names;
use super::{LocalOptions, LocalStore};
use crate::blob::BlobResult;

impl LocalStore {
    /// Opens the folder without taking it: another process may own it, and work in it. Visible blobs can be read,
    /// listed and deleted; nothing must be written or staged.
    ///
    /// # Errors
    /// `Unavailable` if the folder is not there, or was never a store.
    pub async fn beside(options: LocalOptions) -> BlobResult<Self> {
        let never = |_: &File| Ok(()); // nothing is staged
        off_worker(move || {
            let root = Root::beside(&options.root, options.durability)?;
            Self::over(root, &options, never)
        })
        .await
    }

    pub(super) fn over(root: Root, options: &LocalOptions, flush: Flush) -> BlobResult<Self> {
        let blobs = root.blobs();
        let folder = File::open(&blobs).map_err(|error| root::at("opening", &blobs, error))?;
        let space = Arc::new(Space::of(folder, options.min_free));
        let shared =
            Arc::new(Shared { root, space, durability: options.durability, flush, names: Names::default() });
        let files = Arc::new(OpenFiles::new(Arc::clone(&shared)));
        Ok(Self { shared, files, buffers: Arc::default() })
    }
}
