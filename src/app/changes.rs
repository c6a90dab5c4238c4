//! Keeps the cache told of what changes in the database, and forgets what everybody was told. Called by `App::run`.

use std::sync::Arc;
use std::time::Duration;

use super::every;
use crate::base::{Clock, Result};
use crate::cache::{Cache, Feed};
use crate::db::{Db, Urgency, invalidations};
use crate::telemetry::{Tasks, metrics};

/// Who was away for longer begins anew.
const KEPT: Duration = Duration::from_hours(1);
/// How often what is older is looked for.
const FORGET_EVERY: Duration = Duration::from_mins(1);
/// At most so many rows in one transaction, so that no receipt waits for long.
const ROWS_AT_ONCE: u32 = 2_000;

/// Until the service stops. Once this is ready it is known from when on changes are heard of, and what is switched off:
/// nobody is to be answered before.
pub(super) async fn start(cache: &Cache, db: &Db, clock: &Arc<dyn Clock>, tasks: &Tasks) {
    let mut feed = Feed::new(cache.clone(), db, Arc::clone(clock));
    feed.poll().await;
    tasks.spawn("cache feed", feed.run(tasks.clone()));
    let (db, clock, stopping) = (db.clone(), Arc::clone(clock), tasks.clone());
    tasks.spawn(
        "forget changes",
        every(FORGET_EVERY, tasks.clone(), move || {
            let (db, clock, stopping) = (db.clone(), Arc::clone(&clock), stopping.clone());
            async move {
                if let Err(error) = forget(&db, clock.as_ref(), &stopping).await {
                    tracing::warn!(%error, "changes that all caches were told of are not forgotten yet: {error}");
                }
            }
        }),
    );
}

async fn forget(db: &Db, clock: &dyn Clock, tasks: &Tasks) -> Result<()> {
    let now = clock.now();
    let some = || {
        db.write(Urgency::Background, move |c| {
            Box::pin(async move { invalidations::sweep(c, now, KEPT, ROWS_AT_ONCE).await })
        })
    };
    while !tasks.stopping().is_cancelled() {
        let swept = some().await?;
        metrics::swept("changes", swept);
        if swept < u64::from(ROWS_AT_ONCE) {
            break;
        }
    }
    Ok(())
}
