//! What happens when nobody asks: sessions that ended are cleaned up, ends that broke off are finished.
//!
//! [`Sweeper::sweep`] is one round, bounded; the app runs it every half minute. Everything it does is a
//! conditional change of a row first and of bytes second, so that it can be killed anywhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::UploadService;
use crate::auth::AuthService;
use crate::base::{Code, Principal, Result, Timestamp};
use crate::db::uploads::{EndOutcome, EndState, Upload};
use crate::idempotency::Idempotency;
use crate::telemetry::{failpoint, metrics};

/// At most this many uploads are ended in one round.
const ENDS_PER_ROUND: u32 = 200;
/// At most this many ends that broke off are gone on with at once, over all rounds: each may read a whole file back.
const ENDS_AT_ONCE: usize = 2;
/// At most this many rows are dropped in one transaction, so that no receipt waits for long.
const ROWS_AT_ONCE: u32 = 2_000;
/// Aborted and expired uploads are remembered this long, so that their clients learn what happened.
const REMEMBERED: Duration = Duration::from_hours(24);
/// A wall clock that ran this much further than time did was set by somebody.
const CLOCK_JUMP: Duration = Duration::from_mins(1);
/// After the clock was set forward nothing expires for this long (or the idle time, if that is shorter):
/// clients that are alive are heard of in the meantime, and their sessions live on.
const GRACE_AFTER_JUMP: Duration = Duration::from_hours(1);

/// A store that was away this often in a row is left alone until the next round.
const AWAY_MAX: u32 = 3;

/// Sweeps, round by round.
#[derive(Debug)]
pub struct Sweeper {
    uploads: Arc<UploadService>,
    idempotency: Idempotency,
    auth: Arc<AuthService>,
    /// One for each end that may be gone on with.
    slots: Arc<Semaphore>,
    watch: Mutex<Watch>,
}

/// What the last round saw of the clocks.
#[derive(Debug, Default)]
struct Watch {
    last: Option<(Timestamp, Duration)>,
    hold_until: Duration,
}

impl Sweeper {
    /// A sweeper of everything that `uploads` stores, of answers that are kept, and of what `auth` noted long ago.
    pub fn new(uploads: Arc<UploadService>, idempotency: Idempotency, auth: Arc<AuthService>) -> Self {
        let slots = Arc::new(Semaphore::new(ENDS_AT_ONCE));
        Self { uploads, idempotency, auth, slots, watch: Mutex::default() }
    }

    /// One round: finishes what was left half-finished, expires what is over, removes what both left behind.
    ///
    /// A failure of one upload is logged and does not keep the others waiting. Several nodes may do it at once: each
    /// step is a conditional change of a row, and who comes second finds nothing left to do. A node whose clock is not
    /// to be believed leaves all of it to the others.
    pub async fn sweep(&self) -> Result<()> {
        let uploads = &self.uploads;
        if uploads.clock.correction().is_some_and(|correction| !correction.is_certain()) {
            // Another node, whose clock is right, does it. Why this one's is not, was logged when it was compared.
            metrics::swept("skip", 1);
            return Ok(());
        }
        let now = uploads.clock.now();
        let may_expire = self.may_expire(now);
        for (store, _) in uploads.stores.iter() {
            self.sweep_store(store, now, may_expire).await?;
        }
        self.forget(now).await?;
        uploads.fronts.forget_idle(uploads.rules.idle_ttl);
        while uploads.sessions.forget_receipts(ROWS_AT_ONCE).await? > 0
            && !uploads.tasks.stopping().is_cancelled()
        {}
        self.idempotency.forget_expired().await?;
        self.auth.prune_grants().await?;
        metrics::swept("audit", self.auth.prune_audit(|| uploads.tasks.stopping().is_cancelled()).await?);
        uploads.files.purge(now).await
    }

    /// The sessions of one store, as long as it answers.
    async fn sweep_store(&self, store: &str, now: Timestamp, may_expire: bool) -> Result<()> {
        let uploads = &self.uploads;
        let mut patience = Patience::default();
        for upload in uploads.sessions.abandoned(store, now, ENDS_PER_ROUND).await? {
            // What finds no slot waits for a later round, or another node.
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { break };
            if patience.is_over(&upload, "finish", uploads.go_on(&upload, slot).await) {
                break;
            }
        }
        let mut patience = Patience::default();
        if may_expire {
            for upload in uploads.sessions.expired(store, now, ENDS_PER_ROUND).await? {
                if patience.is_over(&upload, "expire", self.expire(&upload, now).await) {
                    break;
                }
            }
        }
        let mut patience = Patience::default();
        for upload in uploads.sessions.uncleared(store, ENDS_PER_ROUND).await? {
            if patience.is_over(&upload, "clear", uploads.clear(&upload).await) {
                break;
            }
        }
        Ok(())
    }

    async fn expire(&self, upload: &Upload, now: Timestamp) -> Result<()> {
        let uploads = &self.uploads;
        let oldest = upload.created_at.plus(uploads.rules.max_age);
        if now < oldest && uploads.sessions.is_written(upload.id).await {
            return Ok(()); // a chunk is on its way: its receipt gives the session more time
        }
        failpoint::hit("sweep.before_expire");
        let who = Principal::service(upload.tenant.clone());
        let ended = uploads.sessions.end(&who, upload.id, EndState::Expired, now).await?;
        failpoint::hit("sweep.after_expire");
        if let EndOutcome::Ended(upload) = ended {
            tracing::info!(upload.id = %upload.id, "upload {} expired", upload.id);
            metrics::upload("expired");
            uploads.clear(&upload).await?;
        }
        Ok(())
    }

    /// Forgets uploads that ended long ago.
    async fn forget(&self, now: Timestamp) -> Result<()> {
        let (uploads, mut left_nothing) = (&self.uploads, Vec::new());
        for upload in uploads.sessions.forgettable(now.minus(REMEMBERED), ENDS_PER_ROUND).await? {
            // A part that was on its way when the upload ended, on whichever node, may have come after that: S3 asks
            // for AbortMultipartUpload to be repeated then. Nobody is sending any more a day later.
            let abandoned = match uploads.stores.named(&upload.store) {
                Ok(store) if !store.reads_staged() => store.abandon(&upload.key, &upload.parts).await,
                _ => Ok(()),
            };
            if let Err(error) = abandoned {
                tracing::warn!(upload.id = %upload.id, %error, "upload {} is not forgotten yet: {error}", upload.id);
                continue;
            }
            left_nothing.push(upload.id);
        }
        metrics::swept("forget", uploads.sessions.forget(left_nothing).await?);
        Ok(())
    }

    /// Whether the wall clock can be believed. One that was set forward would end every session at once.
    fn may_expire(&self, now: Timestamp) -> bool {
        let uptime = self.uploads.clock.uptime();
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last_now, last_uptime)) = watch.last {
            let jump = now.since(last_now).saturating_sub(uptime.saturating_sub(last_uptime));
            if jump > CLOCK_JUMP {
                watch.hold_until = uptime + GRACE_AFTER_JUMP.min(self.uploads.rules.idle_ttl);
                tracing::warn!(
                    jump_seconds = jump.as_secs(),
                    "the clock was set forward by {} s: nothing expires for a while",
                    jump.as_secs()
                );
            }
        }
        watch.last = Some((now, uptime));
        uptime >= watch.hold_until
    }
}

/// How often in a row a store was found away in this round.
#[derive(Debug, Default)]
struct Patience(u32);

impl Patience {
    /// Notes what became of an upload. Whether the others are better left to the next round: they would only wait for
    /// the same store too, and keep those of other stores waiting.
    fn is_over(&mut self, upload: &Upload, what: &'static str, outcome: Result<()>) -> bool {
        match outcome {
            Ok(()) => {
                metrics::swept(what, 1);
                self.0 = 0;
            }
            Err(error) => {
                let id = upload.id;
                tracing::warn!(upload.id = %id, %error, "the sweeper could not {what} upload {id}");
                self.0 = if error.code() == Code::Unavailable { self.0 + 1 } else { 0 };
            }
        }
        self.0 >= AWAY_MAX
    }
}
