//! Lock files: what one process owns, another one must not touch. Held by the kernel, so gone with the process,
//! however that ends. Taken by the store for its folder, and by `app` for the SQLite database.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::root::open;

/// The process before us may still be ending; so long is waited for it to let go of the lock.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why a lock was not taken.
#[derive(Debug)]
pub enum NotLocked {
    /// Another process has it: `pid 7`, or `unknown`.
    Held(String),
    /// The file cannot be made, opened or locked.
    Io(io::Error),
}

/// What lies behind an error that says so: another process has what this one wants for itself.
#[derive(Debug)]
pub struct InUse;

impl InUse {
    /// Whether that is what lies behind `error`.
    pub fn is_behind(error: &(dyn std::error::Error + 'static)) -> bool {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        causes.any(<dyn std::error::Error>::is::<Self>)
    }
}

impl std::fmt::Display for InUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("another process has its lock")
    }
}

impl std::error::Error for InUse {}

/// Locks the file at `path`, which is made if it is not there, until what is answered is dropped. Blocks, for up to
/// three seconds.
///
/// # Errors
/// See [`NotLocked`].
pub fn take(path: &Path) -> Result<File, NotLocked> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = open(&mut options, path).map_err(NotLocked::Io)?;
    match lock_within(&file, WAIT_MAX) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut owner = String::new();
            let _ = (&mut file).take(20).read_to_string(&mut owner);
            let owner = owner.trim().parse::<u32>().map_or("unknown".to_owned(), |id| format!("pid {id}"));
            return Err(NotLocked::Held(owner));
        }
        Err(error) => return Err(NotLocked::Io(error.into())),
    }
    // For the message above only.
    file.set_len(0)
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        .map_err(NotLocked::Io)?;
    Ok(file)
}

/// Takes the lock as soon as it is free.
fn lock_within(file: &File, limit: Duration) -> Result<(), Errno> {
    let begun = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if begun.elapsed() < limit => std::thread::sleep(LOOK_EVERY),
            answer => return answer,
        }
    }
}
