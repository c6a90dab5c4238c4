//! Write-behind: writes that are acknowledged when they are queued in the database, and applied a moment later, by
//! whichever node comes first.
//!
//! Those of one key are applied in the order in which they were acknowledged, each once: in the transaction that takes it
//! out of the queue, so that the end of a process, however sudden, neither loses nor repeats one. What keeps failing waits
//! for longer and longer, and with it whatever came after it of the same key; other keys go on. Called by services that
//! would otherwise write the same row again and again (`files`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::base::{Clock, Code, Error, Result};
use crate::db::write_behind::{self, NewWrite, Queued};
use crate::db::{Conn, Db, Urgency};
use crate::telemetry::{Tasks, failpoint, metrics};

/// Queued at once, and applied at once: what the one writer of SQLite does in a few milliseconds.
const WRITES_AT_ONCE: usize = 200;
/// More of a kind don't wait; where they are applied at all the queue is next to empty.
const QUEUE_LEN_MAX: u32 = 100_000;
/// What a process left that ended, and what waits because it failed, is looked for this often.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// What failed is not tried again sooner than this,
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// nor much later than this.
const BACKOFF_MAX: Duration = Duration::from_mins(10);

/// Applies writes, in their order, in the transaction that is open. If it answers an error nothing has happened.
pub type Apply = Arc<dyn for<'c> Fn(&'c mut Conn, Vec<Queued>) -> BoxFuture<'c, Result<()>> + Send + Sync>;

/// The queue of one kind of write. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct WriteBehind {
    db: Db,
    clock: Arc<dyn Clock>,
    kind: &'static str,
    apply: Apply,
    queued: Arc<Notify>,
}

impl fmt::Debug for WriteBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBehind").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl WriteBehind {
    /// The queue in `db` of the writes that are called `kind`, which `apply` knows how to apply.
    pub fn new(db: Db, clock: Arc<dyn Clock>, kind: &'static str, apply: Apply) -> Self {
        Self { db, clock, kind, apply, queued: Arc::default() }
    }

    /// Queues `writes`, in their order, all or none. Once it answers they will be applied, whatever happens to this
    /// process.
    ///
    /// # Errors
    /// `Overloaded` if too many wait: nothing was queued. `Unavailable` if the connection broke: perhaps they were.
    pub async fn put(&self, writes: Vec<NewWrite>) -> Result<()> {
        let (kind, now, count) = (self.kind, self.clock.now(), writes.len());
        let queued = self.db.write(Urgency::Normal, move |c| {
            let writes = writes.clone();
            Box::pin(async move { write_behind::add(c, kind, &writes, QUEUE_LEN_MAX, now).await })
        });
        if !queued.await? {
            return Err(Error::new(Code::Overloaded, "too many writes wait to be applied"));
        }
        metrics::write_behind(kind, "queued", count);
        failpoint::hit("write_behind.after_queue");
        self.queued.notify_one();
        Ok(())
    }

    /// Begins to apply what is queued, here or elsewhere, until the tasks are asked to stop. What is queued then is applied
    /// after the next start.
    pub fn start(&self, tasks: &Tasks) {
        let (queue, stopping) = (self.clone(), tasks.stopping().clone());
        tasks.spawn("write-behind", async move {
            while !stopping.is_cancelled() {
                if let Err(error) = queue.apply_due().await {
                    let kind = queue.kind;
                    tracing::warn!(kind, %error, "queued writes of kind {kind} are applied later: {error}");
                }
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => return,
                    () = queue.queued.notified() => {}
                    () = tokio::time::sleep(POLL_EVERY) => {}
                }
            }
        });
    }

    /// Applies what can be applied now, until nothing is left of it, and answers how many that were.
    ///
    /// # Errors
    /// `Unavailable`, `Overloaded`: the rest stays queued.
    pub async fn apply_due(&self) -> Result<usize> {
        let mut all = 0;
        loop {
            let (kind, now) = (self.kind, self.clock.now());
            let due = self.db.read(move |c| {
                Box::pin(async move {
                    write_behind::due(c, kind, now, u32::try_from(WRITES_AT_ONCE).unwrap_or(u32::MAX)).await
                })
            });
            let due = due.await?;
            if due.is_empty() {
                return Ok(all);
            }
            let applied = match self.apply_together(&due).await {
                Err(error) if !passes(&error) => self.apply_by_key(due).await?,
                applied => applied?,
            };
            if applied == 0 {
                return Ok(all); // Another node is at it, or they wait now.
            }
            all += applied;
        }
    }

    /// Applies `due` in one transaction; those that somebody else has taken are left out.
    async fn apply_together(&self, due: &[Queued]) -> Result<usize> {
        let (kind, apply, due) = (self.kind, Arc::clone(&self.apply), due.to_vec());
        let applied = self.db.write(Urgency::Background, move |c| {
            let (apply, due) = (Arc::clone(&apply), due.clone());
            Box::pin(async move {
                let taken = write_behind::take(c, kind, &due).await?;
                let count = taken.len();
                if count > 0 {
                    apply(c, taken).await?;
                    failpoint::hit("write_behind.before_commit");
                }
                Ok(count)
            })
        });
        let applied = applied.await?;
        metrics::write_behind(kind, "applied", applied);
        Ok(applied)
    }

    /// One of them cannot be applied: each key for itself, so that the others can.
    async fn apply_by_key(&self, mut due: Vec<Queued>) -> Result<usize> {
        let mut applied = 0;
        // A stable order: those of a key stay in theirs.
        due.sort_by(|a, b| (&a.tenant, &a.key).cmp(&(&b.tenant, &b.key)));
        for of_key in due.chunk_by(Queued::is_beside) {
            match self.apply_together(of_key).await {
                Ok(count) => applied += count,
                Err(error) if passes(&error) => return Err(error),
                Err(error) => self.postpone(&of_key[0], &error).await?,
            }
        }
        Ok(applied)
    }

    async fn postpone(&self, first: &Queued, error: &Error) -> Result<()> {
        let (kind, seq, key) = (self.kind, first.seq, &first.key);
        let doubled = u32::try_from(first.attempts).unwrap_or(u32::MAX).min(16);
        let wait = BACKOFF_MIN.saturating_mul(1 << doubled).min(BACKOFF_MAX);
        tracing::error!(
            kind, seq, key, %error,
            "queued write {seq} of kind {kind} cannot be applied, it is tried again in {} s: {error}",
            wait.as_secs()
        );
        metrics::write_behind(kind, "failed", 1);
        let (until, why) = (self.clock.now().plus(wait), error.to_string());
        self.db
            .write(Urgency::Background, move |c| {
                let why = why.clone();
                Box::pin(async move { write_behind::postpone(c, kind, seq, until, &why).await })
            })
            .await
    }
}

/// Whether an error says nothing of the writes, but of the database.
fn passes(error: &Error) -> bool {
    matches!(error.code(), Code::Unavailable | Code::Overloaded | Code::StorageFull)
}
