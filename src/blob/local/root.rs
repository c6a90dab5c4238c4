//! The folder of a store: its lock, its identity, where each thing lies, and what makes a rename last.
//!
//! ```text
//! lock            flock'ed by the one process that owns the folder
//! store_id        a UUID, so that an unmounted volume or a foreign folder is noticed
//! staging/NAME.part     an upload on its way; NAME.failed when the disk lost some of its bytes
//! staging/NAME.whole    a blob that came in one piece, until what refers to it is committed
//! tmp/…           blobs that come in one piece; cleared at each start
//! blobs/KEY       what can be read
//! ```
//! No symbolic link is followed to a file of ours.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use super::lock::{self, NotLocked};
use super::name::StagedName;
use crate::blob::{BlobError, BlobErrorKind, BlobKey, BlobResult};
use crate::config::Durability;

/// At most this many folders are remembered as lasting; more are flushed once more.
const LASTING_MAX: usize = 16_384;

/// The folder of a store, owned until dropped.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    durability: Durability,
    lasting: Mutex<HashSet<PathBuf>>,
    /// Dropping it lets go of the lock.
    lock: File,
}

impl Root {
    /// Takes the folder, made if it is not there, and clears `tmp/`. Blocks.
    ///
    /// # Errors
    /// `Unavailable` if another process owns it; `Internal` if the folder cannot be used.
    pub(super) fn open(path: &Path, durability: Durability) -> BlobResult<Self> {
        make_folder(path)?;
        let lock = lock::take(&path.join("lock")).map_err(|error| match error {
            NotLocked::Held(owner) => {
                let shown = path.display();
                let context =
                    format!("the storage folder `{shown}` is in use by another process ({owner}): one `cifra serve` owns it");
                BlobError::new(BlobErrorKind::Unavailable, context).caused_by(lock::InUse)
            }
            NotLocked::Io(error) => at("locking", &path.join("lock"), error),
        })?;
        let root = Self { path: path.to_owned(), durability, lasting: Mutex::new(HashSet::new()), lock };
        for folder in [root.staging(), root.temporary(), root.blobs()] {
            make_folder(&folder)?;
        }
        let device = |folder: &Path| {
            let metadata = fs::symlink_metadata(folder).map_err(|error| at("reading", folder, error))?;
            if !metadata.is_dir() {
                return Err(wrong(format!("`{}` is not a folder", folder.display())));
            }
            Ok(metadata.dev())
        };
        let blobs = device(&root.blobs())?;
        for folder in [root.staging(), root.temporary()] {
            if device(&folder)? != blobs {
                return Err(wrong(format!(
                    "`{}` and `{}` must be on one filesystem: a finished upload is moved by a rename",
                    folder.display(),
                    root.blobs().display()
                )));
            }
        }
        root.clear_temporary()?;
        if durability != Durability::None {
            flush_folder(path)?;
        }
        // The folder itself may be new.
        root.flush_entry(path)?;
        Ok(root)
    }

    /// Looks into the folder without owning it. Blocks.
    ///
    /// # Errors
    /// `Unavailable` if it is not there, or was never a store.
    pub(super) fn beside(path: &Path, durability: Durability) -> BlobResult<Self> {
        let lock = open_existing(&path.join("lock"))?.ok_or_else(|| {
            let context = format!("the folder `{}` is not there, or was never a store", path.display());
            BlobError::new(BlobErrorKind::Unavailable, context)
        })?;
        Ok(Self { path: path.to_owned(), durability, lasting: Mutex::new(HashSet::new()), lock })
    }

    /// Whether the folder is still where it was: not unmounted, moved away or replaced.
    ///
    /// # Errors
    /// `Unavailable` if it is not.
    pub(super) fn require_present(&self) -> BlobResult<()> {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let held = self.lock.metadata().map_err(|error| BlobError::io("looking at the lock", error))?;
        match fs::symlink_metadata(self.path.join("lock")).map(identity) {
            Ok(found) if found == identity(held) && self.staging().is_dir() && self.blobs().is_dir() => {
                Ok(())
            }
            _ => {
                let context = format!("the store's folder `{}` is not what it was", self.path.display());
                Err(BlobError::new(BlobErrorKind::Unavailable, context))
            }
        }
    }

    /// `outcome`, unless it was nothing or an error because the folder is away: then that is the error.
    pub(super) fn believe<T>(&self, outcome: BlobResult<Option<T>>) -> BlobResult<Option<T>> {
        if !matches!(outcome, Ok(Some(_))) {
            self.require_present()?;
        }
        outcome
    }

    /// Where uploads on their way lie.
    pub(super) fn staging(&self) -> PathBuf {
        self.path.join("staging")
    }

    /// Where blobs lie.
    pub(super) fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Where a blob lies or will lie.
    pub(super) fn blob(&self, key: &BlobKey) -> PathBuf {
        // A key has no `..`, no empty segment and no slash at its ends: it cannot leave.
        self.blobs().join(key.as_str())
    }

    /// Where an upload's bytes lie.
    pub(super) fn staged(&self, name: &StagedName) -> PathBuf {
        self.staging().join(format!("{}.part", name.as_str()))
    }

    /// Where a blob that came in one piece lies until it is revealed.
    pub(super) fn whole(&self, name: &StagedName) -> PathBuf {
        self.staging().join(format!("{}.whole", name.as_str()))
    }

    /// Where they lie once the disk has failed them.
    pub(super) fn failed(&self, name: &StagedName) -> PathBuf {
        self.staging().join(format!("{}.failed", name.as_str()))
    }

    /// A new file for a blob that comes in one piece; it goes away with the value unless it is moved.
    pub(super) fn temporary_file(&self) -> BlobResult<(File, Temporary)> {
        let path = self.temporary().join(Uuid::new_v4().to_string());
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let file = open(&mut options, &path).map_err(|error| at("making", &path, error))?;
        Ok((file, Temporary(path)))
    }

    /// Moves a flushed file to where `key` is, in place of what was there, so that it lasts.
    ///
    /// `renamed` is called as soon as the blob can be seen.
    pub(super) fn publish(&self, from: &Path, key: &BlobKey, renamed: impl FnOnce()) -> BlobResult<()> {
        let to = self.blob(key);
        self.make_parent(key)?;
        fs::rename(from, &to).map_err(|error| at("moving a file to", &to, error))?;
        renamed();
        self.flush_entry(&to)
    }

    /// Makes the entry of `path` in its folder last, whether it was made or removed (unless nothing is to last).
    pub(super) fn flush_entry(&self, path: &Path) -> BlobResult<()> {
        if self.durability == Durability::None {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.path);
        match File::open(folder) {
            Ok(folder) => folder.sync_all(),
            // Nothing in it can come back.
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|error| at("flushing", folder, error))
    }

    /// Makes the folders above a blob, and makes them last.
    pub(super) fn make_parent(&self, key: &BlobKey) -> BlobResult<()> {
        // Held while flushing: nobody may rely on a folder that another one has made but not flushed yet.
        let mut lasting = self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut folder = self.blobs();
        let (parents, _name) = key.as_str().rsplit_once('/').unwrap_or(("", key.as_str()));
        for segment in parents.split('/').filter(|segment| !segment.is_empty()) {
            folder.push(segment);
            if lasting.contains(&folder) && folder.is_dir() {
                continue;
            }
            make_folder(&folder)?;
            self.flush_entry(&folder)?;
            if lasting.len() >= LASTING_MAX {
                lasting.clear();
            }
            lasting.insert(folder.clone());
        }
        Ok(())
    }

    fn clear_temporary(&self) -> BlobResult<()> {
        let folder = self.temporary();
        let entries = fs::read_dir(&folder).map_err(|error| at("reading", &folder, error))?;
        for entry in entries {
            let path = entry.map_err(|error| at("reading", &folder, error))?.path();
            remove(&path)?;
        }
        Ok(())
    }

    /// Which store this folder says it is; `None` if it has never been used.
    pub(super) fn store_id(&self) -> BlobResult<Option<Uuid>> {
        let path = self.path.join("store_id");
        let mut text = String::new();
        match open(OpenOptions::new().read(true), &path)
            .and_then(|file| file.take(64).read_to_string(&mut text))
        {
            Ok(_) => {}
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(at("reading", &path, error)),
        }
        let id = Uuid::try_parse(text.trim()).map_err(|_| {
            wrong(format!("`{}` does not hold a UUID: restore it from a backup", path.display()))
        })?;
        Ok(Some(id))
    }

    /// Says which store this folder is from now on, unless somebody did. Lasts, whatever the durability.
    pub(super) fn set_store_id(&self, id: Uuid) -> BlobResult<Uuid> {
        // No other process has the folder; of two callers in this one the first wins.
        static NAMING: Mutex<()> = Mutex::new(());
        let _turn = NAMING.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path.join("store_id");
        if let Some(present) = self.store_id()? {
            return Ok(present);
        }
        let (mut file, temporary) = self.temporary_file()?;
        file.write_all(format!("{id}\n").as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(temporary.path(), &path))
            .map_err(|error| at("writing", &path, error))?;
        flush_folder(&self.path)?;
        Ok(id)
    }
}

/// A file that is removed when dropped; once it was moved there is nothing left to remove.
#[derive(Debug)]
pub(super) struct Temporary(PathBuf);

impl Temporary {
    /// A file that was just made.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// It is not removed.
    pub(super) fn leave(mut self) {
        self.0 = PathBuf::new();
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// Flushes a folder's entries.
pub(super) fn flush_folder(folder: &Path) -> BlobResult<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| at("flushing", folder, error))
}

/// Opens a file of ours: never through a symbolic link, never waiting for a pipe's other end.
pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.mode(0o640).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Opens a file to be read, `None` if there is none. Blocks shortly.
pub(super) fn open_existing(path: &Path) -> BlobResult<Option<File>> {
    match open(OpenOptions::new().read(true), path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(at("opening", path, error)),
    }
}

/// [`open_existing`] if the kernel can do it without asking the disk; else `None`, which says nothing.
pub(super) fn open_cached(path: &Path) -> Option<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok().map(File::from)
}

/// Removes a file; fine if there is none.
pub(super) fn remove(path: &Path) -> BlobResult<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(at("removing", path, error)),
    }
}

/// Whether an error says that there is nothing of this name.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// An operating system's error while doing something to `path`.
pub(super) fn at(doing: &str, path: &Path, error: io::Error) -> BlobError {
    BlobError::io(format!("{doing} `{}`", path.display()), error)
}

/// What should not be so.
pub(super) fn wrong(context: String) -> BlobError {
    BlobError::new(BlobErrorKind::Internal, context)
}

fn make_folder(path: &Path) -> BlobResult<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)
        .map_err(|error| at("making the folder", path, error))
}
