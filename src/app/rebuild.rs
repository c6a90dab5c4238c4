//! Thumbnails made again: what `cifra thumbnails rebuild` works with. Where this process can own database and stores it
//! does the jobs itself; else it adds them beside the service that does, and watches.

use std::sync::Arc;
use std::time::Duration;

use super::{App, DATABASE_WAIT_MAX};
use crate::base::principal::Actor;
use crate::base::{Clock, Code, Error, Principal, Result, SystemClock, TenantId};
use crate::blob::local::lock::InUse;
use crate::config::Config;
use crate::db::{Db, DbOptions};
use crate::ops::rebuild::{Looked, Rebuild, Wish};
use crate::telemetry::Tasks;

/// How often it is looked how far the jobs are.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// When nothing is left but what failed, it is waited for a while (20 s, four tries), not for ever.
const LOOKS_AT_FAILED_MAX: u32 = 40;

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebuilding {
    /// Another process has the database or a store, and does the jobs.
    Beside,
    /// Pictures are looked at.
    Looking(Looked),
    /// So many pictures wait or are worked on; so many of them failed before and are tried again.
    Waiting {
        /// All of them.
        pictures: u64,
        /// Those that failed before.
        failed_before: u64,
    },
}

/// Has thumbnails made again, and returns when they are. Dropped before, what was added is done by whoever serves next.
///
/// # Errors
/// Those of [`Rebuild::add_jobs`]; `Unavailable` if some could not be made for a while; what keeps the database from being opened, in words for its operator.
pub async fn rebuild(config: &Config, wish: &Wish, mut tell: impl FnMut(Rebuilding)) -> Result<Looked> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let sizes = &config.thumbnails.sizes;
    match App::build(config, Arc::clone(&clock)).await {
        Ok(app) => {
            let rebuild = Rebuild::new(app.db.clone(), clock, sizes);
            let mut outcome = None;
            app.run(async {}, async { outcome = Some(follow(&rebuild, wish, &mut tell).await) }).await;
            outcome.unwrap_or_else(|| Ok(Looked::default()))
        }
        Err(error) if InUse::is_behind(&error) => {
            tell(Rebuilding::Beside);
            let tasks = Tasks::default();
            let db = Db::connect(&config.database.url, &DbOptions::of(config), &tasks).await?;
            let followed = follow(&Rebuild::new(db.clone(), clock, sizes), wish, &mut tell).await;
            db.close().await;
            tasks.finish(DATABASE_WAIT_MAX).await;
            followed
        }
        Err(error) => Err(error),
    }
}

async fn follow(rebuild: &Rebuild, wish: &Wish, tell: &mut impl FnMut(Rebuilding)) -> Result<Looked> {
    let who = Principal::operator(TenantId::default_tenant(), Actor::CommandLine);
    let looked = rebuild.add_jobs(&who, wish, |looked| tell(Rebuilding::Looking(looked))).await?;
    let mut only_failed = 0;
    loop {
        let waiting = rebuild.waiting().await?;
        tell(Rebuilding::Waiting { pictures: waiting.jobs, failed_before: waiting.failed_before });
        if waiting.jobs == 0 {
            rebuild.forget_position(wish).await?;
            return Ok(looked);
        }
        only_failed = if waiting.jobs == waiting.failed_before { only_failed + 1 } else { 0 };
        if only_failed == LOOKS_AT_FAILED_MAX {
            rebuild.forget_position(wish).await?;
            let detail = format!(
                "the thumbnails of {} pictures could not be made; whoever serves the files goes on trying, and says why in \
                 its log",
                waiting.jobs
            );
            return Err(Error::new(Code::Unavailable, detail));
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}
