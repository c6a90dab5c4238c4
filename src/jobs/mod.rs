//! Jobs: work that is done later, here or on another node, once, however often a process dies.
//!
//! A job is a row ([`crate::db::jobs`]) that a service adds in its own transaction. Here is who takes the rows and who
//! is called for each: `app` registers a handler a kind ([`Jobs::work`]). What a job does is its handler's business; it
//! may be done twice (a process may die between the work and its end), so handlers look at what is there first.

mod running;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use self::running::Running;
use crate::base::{Clock, Result, TenantId};
use crate::db::jobs as rows;
use crate::db::{Db, Urgency};
use crate::telemetry::{Tasks, failpoint};

pub use crate::db::jobs::{Job, JobUrgency, NewJob, THUMBNAILS};

/// Jobs that other nodes added, and those whose time comes, are found this soon.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// What a handler says of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, or there is nothing to do any more: it goes.
    Done,
    /// It has to be tried once more.
    Retry {
        /// Not sooner than this; [`Job::backoff`] where nothing better is known.
        after: Duration,
        /// For the log and the row.
        why: String,
    },
}

/// Does a job. Its future may be dropped at any await: when the node stops and it takes too long, or when another node
/// has the job. If it panics the job is tried again later, and counts as one that its process died of.
pub type Handler = Arc<dyn Fn(Job) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// The jobs of this node. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Jobs {
    db: Db,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    node: Uuid,
    patience: Patience,
    woken: Arc<Mutex<HashMap<&'static str, Arc<Notify>>>>,
}

/// How long a job may be silent, and how long it may take to end.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Of a process that dies, another one goes on with its jobs after this.
    pub lease: Duration,
    /// When the node stops, jobs have this long to come to their end.
    pub stop_grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { lease: Duration::from_secs(30), stop_grace: Duration::from_secs(5) }
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Jobs {
    /// Jobs of `db`. Nothing is done until [`Jobs::work`] says so.
    pub fn new(db: Db, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        let (node, patience, woken) = (Uuid::new_v4(), Patience::default(), Arc::default());
        Self { db, clock, tasks, node, patience, woken }
    }

    /// With another patience than the usual one.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Adds a job in a transaction of its own, and wakes who does it.
    ///
    /// # Errors
    /// Those of [`Db::write`].
    pub async fn add(&self, job: NewJob) -> Result<()> {
        let (kind, now) = (job.kind, self.clock.now());
        self.db
            .write(Urgency::Normal, move |c| {
                let job = job.clone();
                Box::pin(async move { rows::add(c, &job, now).await })
            })
            .await?;
        self.wake(kind);
        Ok(())
    }

    /// There is a new job of `kind`: whoever is free on this node looks at once. To be called after the commit. Other
    /// nodes look each second.
    pub fn wake(&self, kind: &'static str) {
        self.woken(kind).notify_one();
    }

    /// Starts to do jobs of `kind`, at most `at_once` at the same time, until the tasks are asked to stop: then no more
    /// are taken, those under way have a while to end, and what is left is given back. To be called once a kind.
    ///
    /// The most urgent jobs go first, whosever they are; of those the next tenant's; of those the oldest.
    pub fn work(&self, kind: &'static str, at_once: usize, handler: Handler) {
        let jobs = self.clone();
        self.tasks.spawn("jobs", async move { jobs.dispatch(kind, at_once, handler).await });
    }

    /// For a database of one process, at its start: what the process before it held is free again.
    ///
    /// # Errors
    /// Those of [`Db::write`].
    pub async fn free_all(&self) -> Result<()> {
        let now = self.clock.now();
        self.db.write(Urgency::Normal, move |c| Box::pin(rows::free_all(c, now))).await.map(drop)
    }

    async fn dispatch(&self, kind: &'static str, at_once: usize, handler: Handler) {
        let (slots, woken) = (Arc::new(Semaphore::new(at_once)), self.woken(kind));
        let stopping = self.tasks.stopping();
        let mut last: Option<TenantId> = None;
        loop {
            let slot = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                slot = Arc::clone(&slots).acquire_owned() => slot,
            };
            let Ok(slot) = slot else { return };
            match self.take(kind, last.as_ref()).await {
                Ok(Some(job)) => {
                    failpoint::hit("jobs.after_claim");
                    last = Some(job.tenant.clone());
                    if job.died_before() {
                        drop(slot);
                        // None is taken before it has ended, so that no other one can be blamed for it.
                        let handler = alone(&slots, at_once, &handler);
                        drop(self.tasks.spawn("job", Running::new(self, job, handler).run()).await);
                        continue;
                    }
                    let running = Running::new(self, job, Arc::clone(&handler));
                    self.tasks.spawn("job", async move {
                        running.run().await;
                        drop(slot);
                    });
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(kind, %error, "no job of kind {kind} could be taken, tried again soon: {error}");
                }
            }
            drop(slot);
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = woken.notified() => {}
                () = tokio::time::sleep(POLL_EVERY) => {}
            }
        }
    }

    /// Takes the next job, if there is one. Looks before it writes: mostly there is none.
    async fn take(&self, kind: &'static str, after: Option<&TenantId>) -> Result<Option<Job>> {
        // Whose clock is wrong would take what others are working on.
        if self.clock.correction().is_some_and(|correction| !correction.is_certain()) {
            return Ok(None);
        }
        let now = self.clock.now();
        let due = self.db.read(move |c| Box::pin(rows::due(c, kind, now))).await?;
        let urgency = match due {
            None => return Ok(None),
            Some(JobUrgency::Awaited) => Urgency::Normal,
            Some(JobUrgency::New | JobUrgency::Rebuild) => Urgency::Background,
        };
        let (node, after, until) = (self.node, after.cloned(), now.plus(self.patience.lease));
        self.db
            .write(urgency, move |c| {
                let after = after.clone();
                Box::pin(async move { rows::claim(c, kind, node, after.as_ref(), now, until).await })
            })
            .await
    }

    fn woken(&self, kind: &'static str) -> Arc<Notify> {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(woken.entry(kind).or_default())
    }
}

/// Lets `handler` begin when all other jobs have ended.
fn alone(slots: &Arc<Semaphore>, at_once: usize, handler: &Handler) -> Handler {
    let (slots, handler) = (Arc::clone(slots), Arc::clone(handler));
    let all = u32::try_from(at_once).unwrap_or(u32::MAX);
    Arc::new(move |job| {
        let (slots, handler) = (Arc::clone(&slots), Arc::clone(&handler));
        Box::pin(async move {
            let _all = slots.acquire_many(all).await;
            handler(job).await
        })
    })
}

impl Job {
    /// So many processes may die of a job.
    const DEATHS_MAX: u32 = 3;
    /// A job that failed is not tried again sooner than this,
    const BACKOFF_MIN: Duration = Duration::from_secs(1);
    /// nor much later than this.
    const BACKOFF_MAX: Duration = Duration::from_mins(10);

    /// It was taken three times in a row, but for the first time alone, and nothing was heard of it: it is what kills who
    /// takes it. Its handler had better not try, and note that it failed.
    pub fn is_last(&self) -> bool {
        self.unfinished > Self::DEATHS_MAX
    }

    /// A process ended while it was worked on. It may have died of this one, or of one beside it.
    fn died_before(&self) -> bool {
        self.unfinished > 1
    }

    /// How long a job that fails this time had better wait: 1 s, then twice as long each time, at most 10 min.
    pub fn backoff(&self) -> Duration {
        let doubled = self.attempts.saturating_sub(1).min(16);
        Self::BACKOFF_MIN.saturating_mul(1 << doubled).min(Self::BACKOFF_MAX)
    }
}
