//! Thumbnails: the service on its database and stores, and the jobs that it does. Called by `App::build`.

use std::sync::Arc;

use crate::base::{Clock, Result};
use crate::blob::Stores;
use crate::config::Thumbnails;
use crate::db::Db;
use crate::files::FileService;
use crate::jobs::{Jobs, THUMBNAILS};
use crate::media::ThumbnailService;
use crate::telemetry::Tasks;

/// Begins to make thumbnails, and to forget those of files that are deleted.
pub(super) fn start(
    db: &Db,
    files: &Arc<FileService>,
    stores: &Stores,
    jobs: &Jobs,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
    config: &Thumbnails,
) -> Result<Arc<ThumbnailService>> {
    let thumbnails = Arc::new(ThumbnailService::new(
        db.clone(),
        Arc::clone(files),
        stores.clone(),
        jobs.clone(),
        Arc::clone(clock),
        tasks.clone(),
        config,
    )?);
    let told = Arc::downgrade(&thumbnails);
    files.when_deleted(move |file| {
        if let Some(thumbnails) = told.upgrade() {
            thumbnails.forget(file);
        }
    });
    jobs.work(THUMBNAILS, thumbnails.jobs_at_once(), thumbnails.handler());
    Ok(thumbnails)
}
