//! The orphans of a store, looked for without a service: what `cifra storage orphans` works with.

use std::sync::Arc;

use super::stores::OpenedStores;
use super::{DATABASE_WAIT_MAX, broken, identity, time};
use crate::base::principal::Actor;
use crate::base::{Clock, Code, Error, Principal, Result, SystemClock, TenantId};
use crate::config::Config;
use crate::db::{Db, DbOptions};
use crate::ops::orphans::{Orphan, Orphans, Summary, Treatment};
use crate::telemetry::Tasks;

/// Looks for orphans in the store `wanted`, or the default one, beside a service that may run; calls `tell` for each.
/// Answers the store's name and what was found.
///
/// # Errors
/// `NotFound` if no such store is configured; `Unavailable`; `Internal` if it is not the store that the database
/// means: then nothing was looked at.
pub async fn orphans(
    config: &Config,
    wanted: Option<&str>,
    treatment: Treatment,
    tell: impl FnMut(&Orphan),
) -> Result<(String, Summary)> {
    let (tasks, clock) = (Tasks::default(), Arc::new(SystemClock::default()));
    let opened = OpenedStores::open_beside(&config.file_upload, wanted, &tasks).await?;
    let Some(opened) = opened else {
        let detail = format!("no store named `{}` is configured", wanted.unwrap_or_default());
        return Err(Error::new(Code::NotFound, detail));
    };
    let db = Db::connect(&config.database.url, &DbOptions::of(config), &tasks).await?;
    let looked = async {
        db.migrate().await?;
        time::compare(&db, clock.as_ref()).await;
        if treatment == Treatment::Remove && clock.correction().is_some_and(|found| !found.is_certain()) {
            let detail = "this machine's clock is not the database's, so nothing is removed; set it right";
            return Err(Error::new(Code::Unavailable, detail));
        }
        if !identity::is_known(&db, &opened).await? {
            let (place, name) = (&opened.place, &opened.name);
            return Err(broken(format!("{place} of store `{name}` was never used: nothing is in it")));
        }
        let clock: Arc<dyn Clock> = clock;
        let orphans = Orphans::new(db.clone(), opened.name.clone(), Arc::clone(&opened.store), clock);
        let who = Principal::operator(TenantId::default_tenant(), Actor::CommandLine);
        orphans.look(&who, treatment, tell).await
    };
    let looked = looked.await;
    db.close().await;
    tasks.finish(DATABASE_WAIT_MAX).await;
    Ok((opened.name, looked?))
}
