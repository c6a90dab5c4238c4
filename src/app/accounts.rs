//! The database without a service: what `cifra tenant`, `cifra key` and `cifra db` work with.

use std::sync::Arc;

use super::DATABASE_WAIT_MAX;
use crate::auth::AuthService;
use crate::base::{Clock, Result};
use crate::cache::Cache;
use crate::config::Config;
use crate::db::{Applied, Db, DbOptions};
use crate::telemetry::Tasks;

/// Tenants and keys alone, for commands on this machine: beside a service that runs, or before its first start.
#[derive(Debug)]
pub struct Accounts {
    /// What the commands work with.
    pub auth: AuthService,
    db: Db,
    tasks: Tasks,
}

impl Accounts {
    /// Opens the database, which is made if it is not there.
    ///
    /// # Errors
    /// What is wrong with it, in words for its operator.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let tasks = Tasks::default();
        let db = Db::connect(&config.database.url, &DbOptions::of(config), &tasks).await?;
        db.migrate().await?;
        let cache = Cache::new(&config.cache, Arc::clone(&clock), tasks.clone(), None);
        let auth = AuthService::new(db.clone(), clock, tasks.clone(), cache, config);
        auth.prepare_default_tenant().await?;
        Ok(Self { auth, db, tasks })
    }

    /// Writes what is to be written, and closes the database.
    pub async fn close(self) {
        self.db.close().await;
        self.tasks.finish(DATABASE_WAIT_MAX).await;
    }
}

/// Brings the database's schema up to date, and answers what that took.
///
/// # Errors
/// What is wrong with it, in words for its operator.
pub async fn migrate(config: &Config) -> Result<Vec<Applied>> {
    let tasks = Tasks::default();
    let db = Db::connect(&config.database.url, &DbOptions::of(config), &tasks).await?;
    let applied = db.migrate().await;
    db.close().await;
    tasks.finish(DATABASE_WAIT_MAX).await;
    applied
}
