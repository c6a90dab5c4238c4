//! A piece of writing: a closure to be run in a transaction, and who waits for its answer.
//!
//! It may run more than once (a batch that failed is repeated one by one; PostgreSQL may ask for a repetition),
//! which is why it is `Fn`; only the run whose commit succeeded is answered.

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::conn::Conn;
use crate::base::{Error, Result};

/// Who goes first to the one writer of SQLite; PostgreSQL has many writers and needs no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// A client waits for the acknowledgement of a chunk.
    Receipt,
    /// A client waits.
    Normal,
    /// Nobody waits: sweeping, imports. At most 50 ms of work each; served when nobody else waits, or after it
    /// has waited a second itself.
    Background,
}

/// What a commit survives. Any commit survives the end of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// May be lost with the machine's power, together with those after it, never in part.
    Normal,
    /// Survives the loss of power.
    Durable,
}

/// How long a job may go without an answer on PostgreSQL. In a process (SQLite) nothing gets lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as its caller waits: afterwards nobody learns of it.
    OfACaller,
    /// As long as the server itself lets a statement take, and a little longer.
    ToTheEnd,
}

/// A job whose result type is known to its sender only.
pub(super) struct Job {
    pub(super) commit: Commit,
    pub(super) patience: Patience,
    pub(super) queued_at: std::time::Instant,
    work: Box<dyn Work>,
}

impl Job {
    /// A job, and where its answer will be.
    pub(super) fn new<T, F>(
        commit: Commit,
        patience: Patience,
        run: F,
    ) -> (Self, oneshot::Receiver<Result<T>>)
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send + Sync + 'static,
    {
        let (answer, receiver) = oneshot::channel();
        let work = Box::new(Typed { run, outcome: None, answer });
        (Self { commit, patience, queued_at: std::time::Instant::now(), work }, receiver)
    }

    /// Runs it once, in the transaction that is open on `conn`. A panic is an error like any other.
    pub(super) async fn run(&mut self, conn: &mut Conn) -> Result<()> {
        AssertUnwindSafe(self.work.run(conn))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(Error::internal("the database failed", "a job panicked")))
    }

    /// The transaction is committed: the sender gets the result of the last run.
    pub(super) fn committed(self) {
        self.work.committed();
    }

    /// Nothing was changed: the sender gets the reason.
    pub(super) fn failed(self, error: Error) {
        self.work.failed(error);
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("commit", &self.commit).finish_non_exhaustive()
    }
}

trait Work: Send {
    fn run<'c>(&'c mut self, conn: &'c mut Conn) -> BoxFuture<'c, Result<()>>;
    fn committed(self: Box<Self>);
    fn failed(self: Box<Self>, error: Error);
}

struct Typed<T, F> {
    run: F,
    outcome: Option<T>,
    answer: oneshot::Sender<Result<T>>,
}

impl<T, F> Work for Typed<T, F>
where
    T: Send,
    F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send + Sync,
{
    fn run<'c>(&'c mut self, conn: &'c mut Conn) -> BoxFuture<'c, Result<()>> {
        Box::pin(async move {
            self.outcome = None;
            self.outcome = Some((self.run)(conn).await?);
            Ok(())
        })
    }

    fn committed(self: Box<Self>) {
        let this = *self;
        // Nobody listens any more: their request was given up. What is committed stays.
        let _ = this
            .answer
            .send(this.outcome.ok_or_else(|| Error::internal("the database failed", "a job did not run")));
    }

    fn failed(self: Box<Self>, error: Error) {
        let _ = self.answer.send(Err(error));
    }
}
