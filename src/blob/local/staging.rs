//! One upload's staging file while it is in use: who writes, whether it can still be trusted, its flushes.
//!
//! A flush is shared: one that begins after my bytes were written covers me, whoever asked for it. When a
//! flush fails the kernel forgets which pages were lost and the next flush would succeed; so the file is
//! marked as failed for good, on the disk too, and never completed.

use std::fs::{File, OpenOptions};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::name::StagedName;
use super::receive::{Target, Writeback};
use super::root::{self, Root};
use super::space::{Ahead, Space};
use super::whole::Names;
use crate::blob::{BlobError, BlobErrorKind, BlobResult};
use crate::config::Durability;

/// How a file reaches the disk; a parameter so that a test can let it fail.
pub(super) type Flush = fn(&File) -> io::Result<()>;

/// What all staging files of a store share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) root: Root,
    pub(super) space: Arc<Space>,
    pub(super) durability: Durability,
    pub(super) flush: Flush,
    pub(super) names: Names,
}

/// An upload's staging file; at most one of these for each name at a time.
#[derive(Debug)]
pub(super) struct Staging {
    name: StagedName,
    shared: Arc<Shared>,
    target: OnceLock<Target>,
    /// Held while the file is opened, completed or removed. Only where blocking is allowed.
    turn: Mutex<()>,
    state: Mutex<State>,
    flushed: Notify,
    /// Whether the file's entry in `staging/` lasts.
    entry_lasts: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    writers: usize,
    failed: bool,
    /// Failed, and that is noted on the disk, or the file is gone.
    noted: bool,
    flushing: bool,
    flushes_begun: u64,
    flushes_ended: u64,
}

/// Where a staging file is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Takes bytes.
    #[default]
    Open,
    /// Is being completed: takes none.
    Closing,
    /// Is the blob now.
    Completed,
    /// Is gone.
    Abandoned,
}

/// Somebody writes to the file, until dropped.
#[derive(Debug)]
pub(super) struct Writer<'a>(&'a Staging);

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.state().writers -= 1;
    }
}

impl Staging {
    pub(super) fn new(name: StagedName, shared: Arc<Shared>) -> Self {
        Self {
            name,
            shared,
            target: OnceLock::new(),
            turn: Mutex::new(()),
            state: Mutex::default(),
            flushed: Notify::new(),
            entry_lasts: AtomicBool::new(false),
        }
    }

    /// The name.
    pub(super) fn name(&self) -> &StagedName {
        &self.name
    }

    /// Whether nothing is lost when this value is dropped and made again from the disk.
    pub(super) fn is_forgettable(&self) -> bool {
        let state = self.state();
        !state.failed || state.noted
    }

    /// Waits until nobody opens, completes or removes the file. Blocks.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file if it is open already.
    pub(super) fn opened(&self) -> Option<&Target> {
        self.target.get()
    }

    /// The file, opened if it is there. The caller has the [`Staging::turn`].
    ///
    /// # Errors
    /// `Internal` if the disk has failed it.
    pub(super) fn existing(&self, size: Option<u64>) -> BlobResult<Option<&Target>> {
        if self.target.get().is_some() {
            return Ok(self.target.get());
        }
        let path = self.shared.root.staged(&self.name);
        let file = match root::open(OpenOptions::new().read(true).write(true), &path) {
            Ok(file) => file,
            Err(error) if root::is_missing(&error) => {
                if self.shared.root.failed(&self.name).exists() {
                    self.state().failed = true;
                }
                self.check()?;
                return Ok(None);
            }
            Err(error) => return Err(root::at("opening", &path, error)),
        };
        self.adopt(file, size).map(Some)
    }

    /// The file, made if it is not there. The caller has the [`Staging::turn`].
    pub(super) fn existing_or_new(&self, size: Option<u64>) -> BlobResult<&Target> {
        if self.existing(size)?.is_none() {
            let path = self.shared.root.staged(&self.name);
            let made = root::open(OpenOptions::new().read(true).write(true).create_new(true), &path);
            if made.as_ref().is_err_and(root::is_missing) {
                self.shared.root.require_present()?; // it may be away rather than broken
            }
            let file = made.map_err(|error| root::at("making", &path, error))?;
            return self.adopt(file, size);
        }
        Ok(self.target.get().expect("INVARIANT: `existing` has just opened it"))
    }

    fn adopt(&self, file: File, size: Option<u64>) -> BlobResult<&Target> {
        if !file
            .metadata()
            .map_err(|error| BlobError::io("reading a staging file's length", error))?
            .is_file()
        {
            return Err(root::wrong(format!("the staging file `{}` is not a file", self.name.as_str())));
        }
        let ahead = size.map_or(Ahead::Span, |size| Ahead::Blocks { size });
        let writeback = Writeback::before(self.shared.durability);
        Ok(self.target.get_or_init(|| Target::new(file, Arc::clone(&self.shared.space), ahead, writeback)))
    }

    /// Registers a writer.
    ///
    /// # Errors
    /// `Internal` if the file has failed, or is a blob by now or about to be.
    pub(super) fn write(&self) -> BlobResult<Writer<'_>> {
        self.check()?;
        let mut state = self.state();
        match state.phase {
            // What is written to an abandoned file goes nowhere; that it was abandoned the journal tells.
            Phase::Open | Phase::Abandoned => state.writers += 1,
            Phase::Closing | Phase::Completed => {
                return Err(root::wrong(format!(
                    "`{}` is complete: nothing may be written",
                    self.name.as_str()
                )));
            }
        }
        drop(state);
        Ok(Writer(self))
    }

    /// Where it is in its life.
    pub(super) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Moves on; the caller has the [`Staging::turn`].
    pub(super) fn set_phase(&self, phase: Phase) {
        self.state().phase = phase;
    }

    /// Lets no writer in any more, until the phase is set to [`Phase::Open`] again.
    ///
    /// # Errors
    /// `Internal` if somebody is writing: the caller has promised that nobody is.
    pub(super) fn close(&self) -> BlobResult<()> {
        let mut state = self.state();
        if state.writers > 0 {
            let context =
                format!("`{}` cannot be completed: {} still write", self.name.as_str(), state.writers);
            return Err(root::wrong(context));
        }
        state.phase = Phase::Closing;
        Ok(())
    }

    /// `Internal` if the disk has lost bytes of this file.
    pub(super) fn check(&self) -> BlobResult<()> {
        if !self.state().failed {
            return Ok(());
        }
        let context = format!("the disk has lost bytes of `{}`: it has to be sent again", self.name.as_str());
        Err(root::wrong(context))
    }

    /// Waits until all that was written before this call is on the disk. One flush serves all who wait.
    ///
    /// # Errors
    /// Any error is for good: the file has failed.
    pub(super) async fn flush(self: &Arc<Self>) -> BlobResult<()> {
        let wanted = self.state().flushes_begun + 1;
        loop {
            let mut ended = pin!(self.flushed.notified());
            ended.as_mut().enable();
            let leads = {
                let mut state = self.state();
                if state.flushes_ended >= wanted {
                    break;
                }
                let leads = !state.flushing;
                if leads {
                    state.flushing = true;
                    state.flushes_begun += 1;
                }
                leads
            };
            if leads {
                // It ends by itself: others wait for it, even if this writer is dropped.
                let this = Arc::clone(self);
                tokio::task::spawn_blocking(move || this.flush_and_tell());
            }
            ended.await;
        }
        self.check()
    }

    fn flush_and_tell(&self) {
        // What they say is kept in the state, for everybody who waits.
        let _ = self.flush_bytes().and_then(|()| self.flush_entry());
        let mut state = self.state();
        state.flushing = false;
        state.flushes_ended = state.flushes_begun;
        drop(state);
        self.flushed.notify_waiters();
    }

    /// Flushes the bytes. Blocks.
    ///
    /// # Errors
    /// Any error is for good: the file has failed.
    pub(super) fn flush_bytes(&self) -> BlobResult<()> {
        self.check()?;
        let Some(target) = self.target.get() else { return Ok(()) };
        (self.shared.flush)(&target.file).map_err(|error| {
            self.fail(&error);
            let context = format!("flushing the staged bytes of `{}`", self.name.as_str());
            BlobError::new(BlobErrorKind::Internal, context).caused_by(error)
        })
    }

    /// Flushes the file's entry in `staging/`, once for each time that it is opened.
    fn flush_entry(&self) -> BlobResult<()> {
        if self.entry_lasts.load(Ordering::Acquire) {
            return Ok(());
        }
        let root = &self.shared.root;
        root::flush_folder(&root.staging()).inspect_err(|error| self.fail(error))?;
        self.entry_lasts.store(true, Ordering::Release);
        Ok(())
    }

    /// Notes for good that bytes may be lost.
    fn fail(&self, error: &(dyn std::error::Error + 'static)) {
        let name = self.name.as_str();
        tracing::error!(upload.parts = name, error, "the disk failed to keep the staged bytes of `{name}`");
        self.state().failed = true;
        let root = &self.shared.root;
        // Should this fail too, the mark stays in memory: see `is_forgettable`.
        let noted = std::fs::rename(root.staged(&self.name), root.failed(&self.name))
            .map_err(|error| root::at("renaming", &root.staged(&self.name), error))
            .and_then(|()| root::flush_folder(&root.staging()));
        self.state().noted = noted.is_ok();
    }

    /// Removes what is on the disk under this name. The caller has the [`Staging::turn`].
    pub(super) fn remove(&self) -> BlobResult<()> {
        let root = &self.shared.root;
        self.set_phase(Phase::Abandoned);
        root::remove(&root.staged(&self.name))?;
        root::remove(&root.failed(&self.name))?;
        root.flush_entry(&root.staged(&self.name))?;
        self.state().noted = true;
        Ok(())
    }
}
