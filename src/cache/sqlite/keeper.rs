//! Who looks after the file: opens it, has room made, makes it anew after a failure, closes it at the end.
//!
//! [`Keeper::read`] and [`Keeper::write`] are the only ways to it; whatever fails there, but for being busy, ends it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use tokio::sync::Notify;

use super::SqliteOptions;
use super::file::OpenFile;
use super::room::Room;
use crate::base::{Clock, Timestamp};
use crate::cache::tier::Away;
use crate::telemetry::Tasks;

/// Nobody waits for the file for longer. It answers in a thirtieth of a millisecond as a rule.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often lapsed entries are cleared away.
const CLEAR_EVERY: Duration = Duration::from_secs(30);
/// How often one that could not be made is tried again.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// One file after the other, under one name.
#[derive(Debug)]
pub(super) struct Keeper {
    options: SqliteOptions,
    clock: Arc<dyn Clock>,
    open: Mutex<Option<Arc<OpenFile>>>,
    /// Given up, but perhaps in use for a moment.
    given_up: Mutex<Option<Arc<OpenFile>>>,
    room: Room,
    /// There is something to do.
    wanted: Arc<Notify>,
    doubts: AtomicU64,
}

impl Keeper {
    /// Opens the file, and looks after it until the service stops. One that cannot be made now is tried again; until
    /// then it is away.
    pub(super) async fn start(options: SqliteOptions, clock: Arc<dyn Clock>, tasks: &Tasks) -> Arc<Self> {
        let keeper = Arc::new(Self {
            room: Room::new(options.max_bytes - options.log_bytes()),
            options,
            clock,
            open: Mutex::default(),
            given_up: Mutex::default(),
            wanted: Arc::default(),
            doubts: AtomicU64::new(0),
        });
        match OpenFile::open(&keeper.options, &keeper.wanted).await {
            Ok(file) => drop(keeper.set(Some(Arc::new(file)))),
            Err(error) => {
                let file = keeper.options.file.display();
                tracing::warn!("the cache's file {file} cannot be used: {error}");
            }
        }
        keeper.clear_away().await;
        let (kept, stopping) = (Arc::clone(&keeper), tasks.stopping().clone());
        tasks.spawn("look after the cache's file", async move {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = kept.keep() => {}
            }
            kept.close().await;
        });
        keeper
    }

    /// How often there was a reason to doubt what is in it.
    pub(super) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::SeqCst)
    }

    /// One more.
    pub(super) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::SeqCst);
    }

    /// What time it is.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How full it is.
    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// Has room made soon.
    pub(super) fn make_room(&self) {
        self.wanted.notify_one();
    }

    async fn keep(&self) {
        loop {
            let pause = if self.file().is_ok() { CLEAR_EVERY } else { TRY_EVERY };
            let _ = tokio::time::timeout(pause, self.wanted.notified()).await;
            if self.file().is_err() {
                self.make().await;
            }
            self.clear_away().await;
        }
    }

    /// Makes the file anew, when nobody has the old one any more.
    async fn make(&self) {
        self.close().await;
        match OpenFile::make(&self.options, &self.wanted).await {
            Ok(file) => drop(self.set(Some(Arc::new(file)))),
            Err(error) => {
                tracing::debug!("the cache's file cannot be made: {error}");
                tokio::time::sleep(TRY_EVERY).await;
            }
        }
    }

    /// Closes what is open, or was given up, as soon as nobody uses it any more; from now on it is away.
    async fn close(&self) {
        let open = self.set(None);
        let given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner).take();
        for mut file in [open, given_up].into_iter().flatten() {
            loop {
                match Arc::try_unwrap(file) {
                    Ok(file) => break file.close().await,
                    Err(used) => file = used,
                }
                tokio::time::sleep(PATIENCE / 50).await;
            }
        }
    }

    async fn clear_away(&self) {
        let Ok(file) = self.file() else { return };
        file.tidy().await;
        if let Err(error) = self.room.make(&file, self.clock.now()).await {
            self.failed(&file, &error);
        }
    }

    fn file(&self) -> Result<Arc<OpenFile>, Away> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Away)
    }

    /// Answers what it was before.
    fn set(&self, file: Option<Arc<OpenFile>>) -> Option<Arc<OpenFile>> {
        std::mem::replace(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner), file)
    }

    /// Does something with the file, in time.
    async fn patiently<T>(&self, work: impl AsyncFnOnce(&OpenFile) -> sqlx::Result<T>) -> Result<T, Away> {
        let file = self.file()?;
        match tokio::time::timeout(PATIENCE, work(&file)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                self.failed(&file, &error);
                Err(Away)
            }
            Err(_) => Err(Away),
        }
    }

    /// Gives the file up, unless it was only busy.
    fn failed(&self, file: &Arc<OpenFile>, error: &sqlx::Error) {
        if is_busy(error) {
            return;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, file)) {
            *self.given_up.lock().unwrap_or_else(PoisonError::into_inner) = open.take();
            self.doubt();
            tracing::warn!("the cache's file {} is made anew: {error}", self.options.file.display());
            self.wanted.notify_one();
        }
    }

    /// Does something with the one connection that writes, in time.
    pub(super) async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> sqlx::Result<T>,
    ) -> Result<T, Away> {
        self.patiently(async |file| work(&mut *file.writer.lock().await).await).await
    }

    /// Does something with a connection that reads, in time.
    pub(super) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> sqlx::Result<T>,
    ) -> Result<T, Away> {
        self.patiently(async |file| {
            let mut reader = file.reader().await?;
            let done = work(reader.connection()).await?;
            reader.done();
            Ok(done)
        })
        .await
    }
}

/// SQLite's `BUSY` and `LOCKED` (`sqlite.org/rescode.html`): another process writes.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}
