//! Thumbnails made again: what `cifra thumbnails rebuild` works with. Where this process can own database and stores it
//! does the jobs itself; else it adds them beside the service that does, and watches.

use std::sync::Arc;
use std::time::Duration;

use super::{App, DATABASE_WAIT_MAX};
use crate::base::principal::Actor;
use crate::base::{Clock, Principal, Result, SystemClock, TenantId};
use crate::config::Config;
use crate::db::{Db, DbOptions};
use crate::ops::rebuild::{Looked, Rebuild, Wish};
use crate::telemetry::Tasks;

/// How often it is looked how far the jobs are.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebuilding {
    /// Another process has the database or a store, and does the jobs; in its words.
    Beside(String),
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
/// Those of [`Rebuild::add_jobs`]; what keeps the database from being opened, in words for its operator.
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
        Err(error) => {
            tell(Rebuilding::Beside(error.detail().to_owned()));
            let tasks = Tasks::default();
            let db = Db::connect(&config.database.url, &DbOptions::of(config), &tasks).await?;
            let followed = follow(&Rebuild::new(db.clone(), clock, sizes), wish, &mut tell).await;
            db.close().await;
            tasks.finish(DATABASE_WAIT_MAX).await;
            followed
        }
    }
}

async fn follow(rebuild: &Rebuild, wish: &Wish, tell: &mut impl FnMut(Rebuilding)) -> Result<Looked> {
    let who = Principal::operator(TenantId::default_tenant(), Actor::CommandLine);
    let looked = rebuild.add_jobs(&who, wish, |looked| tell(Rebuilding::Looking(looked))).await?;
    loop {
        let waiting = rebuild.waiting().await?;
        tell(Rebuilding::Waiting { pictures: waiting.jobs, failed_before: waiting.failed_before });
        if waiting.jobs == 0 {
            return Ok(looked);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}
