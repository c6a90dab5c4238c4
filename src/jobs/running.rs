//! One job from its taking to its end: its handler runs, its lease is kept, and the row learns what came of it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{Handler, Job, Jobs, Outcome};
use crate::base::Result;
use crate::db::jobs::{self as rows, Unfinished};
use crate::db::{Commit, Urgency};
use crate::telemetry::failpoint;

/// A job that this node took.
pub(super) struct Running {
    jobs: Jobs,
    job: Job,
    handler: Handler,
}

/// How a job ended here.
enum Ending {
    /// As its handler said.
    Said(Outcome),
    /// It panicked.
    Panicked(String),
    /// The node stops.
    GivenBack,
    /// It is another node's, or nobody's any more.
    Lost,
}

impl Running {
    pub(super) fn new(jobs: &Jobs, job: Job, handler: Handler) -> Self {
        Self { jobs: jobs.clone(), job, handler }
    }

    pub(super) async fn run(self) {
        let ending = self.work().await;
        failpoint::hit("jobs.after_work");
        let (kind, subject) = (self.job.kind.clone(), self.job.subject.clone());
        if let Err(error) = self.note(ending).await {
            tracing::warn!(kind, subject, %error, "what became of job {kind} {subject} was not noted, it is done again: {error}");
        }
    }

    /// Lets the handler work, while the job is ours.
    async fn work(&self) -> Ending {
        let (handler, job) = (Arc::clone(&self.handler), self.job.clone());
        let mut handling = std::pin::pin!(AssertUnwindSafe(async move { handler(job).await }).catch_unwind());
        let lease = self.jobs.patience.lease;
        let mut kept_until = Instant::now() + lease;
        let mut renewal = Instant::now() + lease / 3;
        let mut give_back = std::pin::pin!(self.grace_is_over());
        loop {
            tokio::select! {
                biased;
                said = &mut handling => return said.map_or_else(
                    |panic| Ending::Panicked(words(panic.as_ref())),
                    Ending::Said,
                ),
                () = &mut give_back => return Ending::GivenBack,
                () = tokio::time::sleep_until(renewal) => {}
            }
            let asked = Instant::now();
            renewal = asked + lease / 3;
            let until = self.jobs.clock.now().plus(lease);
            match tokio::time::timeout_at(kept_until, self.renew(until)).await {
                Ok(Ok(true)) => kept_until = asked + lease,
                Ok(Ok(false)) => return Ending::Lost,
                Ok(Err(error)) => {
                    let (kind, subject) = (&self.job.kind, &self.job.subject);
                    tracing::warn!(kind, subject, %error, "job {kind} {subject} could not be kept yet: {error}");
                }
                Err(_) => {}
            }
            if Instant::now() >= kept_until {
                return Ending::Lost;
            }
        }
    }

    async fn grace_is_over(&self) {
        self.jobs.tasks.stopping().cancelled().await;
        tokio::time::sleep(self.jobs.patience.stop_grace).await;
    }

    async fn renew(&self, until: crate::base::Timestamp) -> Result<bool> {
        let job = self.job.clone();
        self.jobs
            .db
            .write(Urgency::Normal, move |c| {
                let job = job.clone();
                Box::pin(async move { rows::renew(c, &job, until).await })
            })
            .await
    }

    /// Tells the row.
    async fn note(self, ending: Ending) -> Result<()> {
        let Self { jobs, job, .. } = self;
        let (kind, subject) = (job.kind.clone(), job.subject.clone());
        let (due_in, why, unfinished) = match ending {
            Ending::Lost => {
                tracing::warn!(kind, subject, "job {kind} {subject} is not this node's any more");
                return Ok(());
            }
            Ending::Said(Outcome::Done) => {
                let now = jobs.clock.now();
                let done = jobs.db.write_to_the_end(Urgency::Normal, Commit::Normal, move |c| {
                    let job = job.clone();
                    Box::pin(async move { rows::done(c, &job, now).await })
                });
                return done.await.map(drop);
            }
            Ending::Said(Outcome::Retry { after, why }) => {
                tracing::warn!(
                    kind,
                    subject,
                    why,
                    "job {kind} {subject} is tried again in {} s: {why}",
                    after.as_secs_f64()
                );
                (after, Some(why), Unfinished::Reset)
            }
            Ending::Panicked(why) => {
                tracing::error!(kind, subject, why, "job {kind} {subject} panicked: {why}");
                (job.backoff(), Some(why), Unfinished::Counts)
            }
            Ending::GivenBack => (Duration::ZERO, None, Unfinished::Reset),
        };
        let due_at = jobs.clock.now().plus(due_in);
        jobs.db
            .write_to_the_end(Urgency::Normal, Commit::Normal, move |c| {
                let (job, why) = (job.clone(), why.clone());
                Box::pin(async move {
                    rows::put_back(c, &job, due_at, why.as_deref(), unfinished).await.map(drop)
                })
            })
            .await
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a word"))
}
