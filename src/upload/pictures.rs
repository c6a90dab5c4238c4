//! What follows when a picture becomes a file: the job that makes its thumbnails, added in the same transaction.

use super::UploadService;
use crate::base::Timestamp;
use crate::files::File;
use crate::jobs::{JobUrgency, Jobs, NewJob};

impl UploadService {
    /// Has thumbnails made as soon as a picture is a file. Without this they are made when somebody asks for one.
    #[must_use]
    pub fn with_thumbnails(mut self, jobs: Jobs) -> Self {
        self.jobs = Some(jobs);
        self
    }

    /// What is to be done once `files` are visible.
    pub(super) fn jobs_of(&self, files: &[File], now: Timestamp) -> Vec<NewJob> {
        if self.jobs.is_none() {
            return Vec::new();
        }
        let pictures = files.iter().filter(|file| file.is_picture());
        pictures.map(|file| NewJob::thumbnails(&file.tenant, file.id, JobUrgency::New, now)).collect()
    }

    /// They are committed.
    pub(super) fn wake(&self, added: &[NewJob]) {
        for job in added {
            self.jobs.iter().for_each(|jobs| jobs.wake(job.kind));
        }
    }
}
