//! The file on its way: `NAME.part`, locked while a download writes it, renamed when it is whole.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags};

use super::{Existing, Sink};
use crate::client::{Error, Result};

/// Bytes read at a time while hashing what an earlier run left.
const PIECE_BYTES: usize = 256 << 10;

/// An open `.part` file that no other process writes.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    position: u64,
}

impl Part {
    /// Opens or creates the `.part` file of `target`.
    ///
    /// # Errors
    /// [`Error::Exists`] while another download writes it.
    pub(super) fn open(target: &Path) -> Result<Self> {
        let mut path = target.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(Error::local("opening", &path))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => {
                Error::Exists(path.clone(), "is being written by another download")
            }
            error => Error::local("locking", &path)(error.into()),
        })?;
        let part = Self { file, path, position: 0 };
        if part.was_renamed().map_err(Error::local("opening", &part.path))? {
            // Between opening and locking another download finished: this is its result.
            return Err(Error::Exists(target.to_owned(), "was just written by another download"));
        }
        Ok(part)
    }

    fn was_renamed(&self) -> std::io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let there = match std::fs::symlink_metadata(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        let here = self.file.metadata()?;
        Ok((here.dev(), here.ino()) != (there.dev(), there.ino()))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what an earlier run left, for its checksum, and stands at its end; returns how much that is.
    /// What is longer than the file can't be its beginning and is dropped.
    pub(super) fn resume(&mut self, size: u64, mut hash: impl FnMut(&[u8])) -> Result<u64> {
        let length = self.file.metadata().map_err(Error::local("reading", &self.path))?.len();
        if length > size {
            self.restart()?;
            return Ok(0);
        }
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = self.file.read(&mut piece).map_err(Error::local("reading", &self.path))?;
            if read == 0 {
                return Ok(self.position);
            }
            hash(&piece[..read]);
            self.position += read as u64;
        }
    }

    /// Empties it.
    pub(super) fn restart(&mut self) -> Result<()> {
        use std::io::Seek;
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(Error::local("emptying", &self.path))?;
        self.position = 0;
        Ok(())
    }

    /// Gives it its final name; its bytes are on the disk before the name is.
    pub(super) fn publish(self, target: &Path, existing: Existing) -> Result<()> {
        self.file.sync_data().map_err(Error::local("writing", &self.path))?;
        let renamed = match existing {
            Existing::Replace => std::fs::rename(&self.path, target),
            Existing::Keep => rename_to_new(&self.path, target),
        };
        renamed.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::Exists(target.to_owned(), "came into being during the download; --force replaces it")
            }
            _ => Error::local("renaming to", target)(error),
        })
    }

    /// Removes it: its bytes are worth nothing.
    pub(super) fn discard(self) {
        let _ = std::fs::remove_file(&self.path); // if it stays, the next run finds that it does not verify
    }
}

impl Sink for Part {
    fn position(&self) -> u64 {
        self.position
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::local("writing", &self.path))?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// Renames without ever replacing what is there.
fn rename_to_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network file systems can't; a link fails just as well when the name is taken.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}
