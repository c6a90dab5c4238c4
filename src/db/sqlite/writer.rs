//! The one writer of a SQLite database: takes the jobs that wait, runs them in one transaction, commits once,
//! then answers them all. Sharing a commit is what makes thousands of receipts a second possible.
//!
//! A job that fails cannot hurt the others: its batch is rolled back and each job of it runs alone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::base::{Error, Result};
use crate::db::conn::Conn;
use crate::db::job::{Commit, Job, Urgency};
use crate::db::{Synchronous, closed, overloaded};
use crate::telemetry::Tasks;

/// Jobs that may wait, by urgency; one more is refused at once.
const RECEIPTS_MAX: usize = 2048;
const NORMAL_MAX: usize = 512;
const BACKGROUND_MAX: usize = 64;
/// A batch has at most this many jobs, and as many of them are receipts at most.
const BATCH_MAX: usize = 256;
const BATCH_RECEIPTS_MAX: usize = 192;
/// No further job of a batch is begun after this time; the rest goes into the next one.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// A background job that has waited this long goes before the others, once.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(1);

/// The senders' side.
#[derive(Debug)]
pub(super) struct Writer {
    receipts: Sender<Job>,
    normal: Sender<Job>,
    background: Sender<Job>,
    closing: CancellationToken,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the task that owns `connection`; it ends by [`Writer::close`] only.
    pub(super) fn start(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        durability: Synchronous,
        tasks: &Tasks,
    ) -> Self {
        let (receipts, receipts_queue) = channel(RECEIPTS_MAX);
        let (normal, normal_queue) = channel(NORMAL_MAX);
        let (background, background_queue) = channel(BACKGROUND_MAX);
        let closing = CancellationToken::new();
        let server = Server {
            conn: Conn::Sqlite(Box::new(connection)),
            options,
            durability,
            synchronous: durability,
            receipts: receipts_queue,
            normal: normal_queue,
            background: background_queue,
            waiting: VecDeque::new(),
            waiting_background: None,
            closing: closing.clone(),
        };
        let task = tokio::sync::Mutex::new(Some(tasks.spawn("db writer", server.serve())));
        Self { receipts, normal, background, closing, task }
    }

    /// Queues a job.
    ///
    /// # Errors
    /// `Overloaded` if too many wait; `Unavailable` after [`Writer::close`].
    pub(super) fn submit(&self, urgency: Urgency, job: Job) -> Result<()> {
        let queue = match urgency {
            Urgency::Receipt => &self.receipts,
            Urgency::Normal => &self.normal,
            Urgency::Background => &self.background,
        };
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => overloaded(),
            TrySendError::Closed(_) => closed(),
        })
    }

    /// Takes no more jobs, serves those that wait, closes the connection.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the database writer ended badly: {error}");
        }
    }
}

/// The task's side.
struct Server {
    conn: Conn,
    options: SqliteConnectOptions,
    durability: Synchronous,
    /// What the connection's `synchronous` is set to.
    synchronous: Synchronous,
    receipts: Receiver<Job>,
    normal: Receiver<Job>,
    background: Receiver<Job>,
    /// Taken from the queues, not yet done: first come, first served.
    waiting: VecDeque<Job>,
    waiting_background: Option<Job>,
    closing: CancellationToken,
}

impl Server {
    async fn serve(mut self) {
        while let Some(batch) = self.next_batch().await {
            self.run_together(batch).await;
        }
        self.end().await;
    }

    /// The jobs of the next transaction; `None` when all is done and nothing more can come.
    async fn next_batch(&mut self) -> Option<VecDeque<Job>> {
        if self.waiting_background.is_none() {
            self.waiting_background = self.background.try_recv().ok();
        }
        let impatient = |job: &mut Job| job.queued_at.elapsed() > BACKGROUND_PATIENCE;
        if let Some(job) = self.waiting_background.take_if(impatient) {
            return Some(VecDeque::from([job]));
        }
        let waiting = self.collect();
        if !waiting.is_empty() {
            return Some(waiting);
        }
        match self.waiting_background.take() {
            Some(job) => Some(VecDeque::from([job])),
            None => self.wait().await,
        }
    }

    /// Takes what waits, receipts first.
    fn collect(&mut self) -> VecDeque<Job> {
        while self.waiting.len() < BATCH_RECEIPTS_MAX {
            let Ok(job) = self.receipts.try_recv() else { break };
            self.waiting.push_back(job);
        }
        while self.waiting.len() < BATCH_MAX {
            let Ok(job) = self.normal.try_recv() else { break };
            self.waiting.push_back(job);
        }
        std::mem::take(&mut self.waiting)
    }

    /// Waits for a job and takes what came with it.
    async fn wait(&mut self) -> Option<VecDeque<Job>> {
        loop {
            let open = !self.receipts.is_closed();
            let job = tokio::select! {
                biased;
                Some(job) = self.receipts.recv() => job,
                Some(job) = self.normal.recv() => job,
                Some(job) = self.background.recv() => return Some(VecDeque::from([job])),
                () = self.closing.cancelled(), if open => {
                    self.receipts.close();
                    self.normal.close();
                    self.background.close();
                    continue;
                }
                else => return None,
            };
            self.waiting.push_back(job);
            return Some(self.collect());
        }
    }

    /// Runs a batch in one transaction and answers it; what there was no time for goes back to the front.
    async fn run_together(&mut self, mut batch: VecDeque<Job>) {
        let durable = batch.iter().any(|job| job.commit == Commit::Durable);
        if let Err(error) = self.begin(durable).await {
            return self.refuse(batch.into(), error).await;
        }
        let begun = Instant::now();
        let mut done = Vec::with_capacity(batch.len());
        while let Some(mut job) = batch.pop_front() {
            let outcome = job.run(&mut self.conn).await;
            done.push(job);
            if let Err(error) = outcome {
                self.put_back(batch);
                return self.run_apart(done, error).await;
            }
            if begun.elapsed() > BATCH_TIME {
                break;
            }
        }
        self.put_back(batch);
        match self.execute("COMMIT").await {
            Ok(()) => done.into_iter().for_each(Job::committed),
            Err(error) => self.refuse(done, error).await,
        }
    }

    /// The last job of `batch` failed: all is undone, and each runs in a transaction of its own.
    async fn run_apart(&mut self, mut batch: Vec<Job>, error: Error) {
        self.rollback().await;
        if batch.len() == 1 {
            // It was alone already.
            return batch.remove(0).failed(error);
        }
        for mut job in batch {
            match self.run_alone(&mut job).await {
                Ok(()) => job.committed(),
                Err(error) => {
                    self.rollback().await;
                    job.failed(error);
                }
            }
        }
    }

    async fn run_alone(&mut self, job: &mut Job) -> Result<()> {
        self.begin(job.commit == Commit::Durable).await?;
        job.run(&mut self.conn).await?;
        self.execute("COMMIT").await
    }

    fn put_back(&mut self, batch: VecDeque<Job>) {
        for job in batch.into_iter().rev() {
            self.waiting.push_front(job);
        }
    }

    /// Answers everybody of a batch whose transaction could not begin or commit.
    async fn refuse(&mut self, batch: Vec<Job>, error: Error) {
        let jobs = batch.len();
        tracing::error!(%error, jobs, "a transaction of {jobs} jobs on the database failed: {error}");
        self.reconnect().await;
        for job in batch {
            job.failed(Error::new(error.code(), error.detail().to_owned()));
        }
    }

    async fn begin(&mut self, durable: bool) -> Result<()> {
        let wanted = if durable { Synchronous::Full } else { self.durability };
        if wanted != self.synchronous {
            // Cannot be changed inside of a transaction.
            self.execute(match wanted {
                Synchronous::Off | Synchronous::Normal => "PRAGMA synchronous = NORMAL",
                Synchronous::Full => "PRAGMA synchronous = FULL",
            })
            .await?;
            self.synchronous = wanted;
        }
        self.execute("BEGIN IMMEDIATE").await
    }

    /// Leaves the connection without a transaction.
    async fn rollback(&mut self) {
        // SQLite rolls back by itself after some errors (a full disk). Then this statement fails, and a new
        // connection is the simplest certainty.
        if self.execute("ROLLBACK").await.is_err() {
            self.reconnect().await;
        }
    }

    async fn reconnect(&mut self) {
        match self.options.connect().await {
            Ok(connection) => {
                self.conn = Conn::Sqlite(Box::new(connection));
                self.synchronous = self.durability;
            }
            Err(error) => tracing::error!(%error, "the database could not be opened again: {error}"),
        }
    }

    async fn execute(&mut self, text: &'static str) -> Result<()> {
        let Conn::Sqlite(connection) = &mut self.conn else {
            return Err(Error::internal(
                "the database failed",
                "the writer of SQLite holds another connection",
            ));
        };
        // A pragma takes effect when it is prepared, not when it is run, so it must be prepared each time.
        let persistent = !text.starts_with("PRAGMA");
        sqlx::query(text).persistent(persistent).execute(&mut **connection).await?;
        Ok(())
    }

    /// Empties the log into the database file, as far as readers let it.
    async fn end(mut self) {
        if let Err(error) = self.execute("PRAGMA wal_checkpoint(TRUNCATE)").await {
            tracing::warn!(%error, "the last checkpoint of the database failed: {error}");
        }
        if let Conn::Sqlite(connection) = self.conn
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "closing the database failed: {error}");
        }
    }
}
