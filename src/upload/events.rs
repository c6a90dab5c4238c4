//! What happens to an upload, as it happens, for whoever watches: first how it is, then each change, then its end.
//!
//! A watcher sleeps until the session signals a change, then reads the row: what happened meanwhile is one event,
//! and a slow reader gets the newest state, not a queue. Called by `http`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{FinishProgress, UploadService, not_found, plan};
use crate::base::{Code, Error, Principal, Result, UploadId};
use crate::db::uploads::{Upload, UploadState};
use crate::files::File;
use crate::session::Watcher;

/// At most four events a second.
const BETWEEN_EVENTS: Duration = Duration::from_millis(250);

/// Something that a watcher is told.
#[derive(Debug)]
pub enum UploadEvent {
    /// It is so now. A finalize that failed is one of these: `error` says why, and the session goes on.
    Progress(Arc<Progress>),
    /// It is a file; nothing follows.
    Completed(Box<File>),
    /// It has ended without a file (`UploadGone`, `UploadNotFound`); nothing follows.
    Failed(Error),
}

/// An upload that has not ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its row.
    pub upload: Upload,
    /// While it is being finalized: how far that is.
    pub finish: Option<FinishProgress>,
}

/// One watcher's events.
pub struct UploadEvents {
    service: Arc<UploadService>,
    who: Principal,
    id: UploadId,
    watcher: Watcher,
    /// What was found at the beginning, until it is told.
    first: Option<UploadEvent>,
    told: Option<Arc<Progress>>,
    told_at: Instant,
    ended: bool,
}

impl fmt::Debug for UploadEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadEvents").field("id", &self.id).finish_non_exhaustive()
    }
}

impl UploadService {
    /// Watches an upload. The first event is how it is now; at most four a second follow, the last one tells its
    /// end. They end without that when the service stops.
    ///
    /// # Errors
    /// `UploadNotFound`; `UploadGone` `{ state }`; `Overloaded` if too many watch.
    pub async fn events(self: &Arc<Self>, who: &Principal, id: UploadId) -> Result<UploadEvents> {
        who.require_read_of_uploads()?;
        self.reach(who, id).await?;
        // Before the look, so that nothing happens unseen between the two.
        let watcher = self.sessions.signals().watch(id)?;
        let first = self.event(who, id).await?;
        let (service, who) = (Arc::clone(self), who.clone());
        let (first, told, told_at) = (Some(first), None, Instant::now());
        Ok(UploadEvents { service, who, id, watcher, first, told, told_at, ended: false })
    }

    /// The upload as an event.
    async fn event(&self, who: &Principal, id: UploadId) -> Result<UploadEvent> {
        let mut upload = self.find(who, id).await?;
        upload.state = plan::state_at(&upload, self.clock.now());
        match upload.state {
            state @ (UploadState::Aborted | UploadState::Expired) => Err(plan::gone(&upload, state)),
            UploadState::Completed => {
                let file = self.files.of_upload(who, id).await?.ok_or_else(|| not_found(id))?;
                Ok(UploadEvent::Completed(Box::new(file)))
            }
            UploadState::Finalizing => {
                let finish = Some(self.finish_progress(&upload).await?);
                Ok(UploadEvent::Progress(Arc::new(Progress { upload, finish })))
            }
            UploadState::Receiving | UploadState::Sealed => {
                Ok(UploadEvent::Progress(Arc::new(Progress { upload, finish: None })))
            }
        }
    }
}

impl UploadEvents {
    /// The next event, as soon as there is one; `None` after the last. Dropped in the middle, it forgets what it has heard.
    pub async fn next(&mut self) -> Option<UploadEvent> {
        if self.ended {
            return None;
        }
        let stopping = self.service.tasks.stopping().clone();
        let event = tokio::select! {
            biased;
            () = stopping.cancelled() => return None,
            event = self.news() => event,
        };
        self.told_at = Instant::now();
        match &event {
            UploadEvent::Progress(progress) => self.told = Some(Arc::clone(progress)),
            UploadEvent::Completed(_) | UploadEvent::Failed(_) => self.ended = true,
        }
        Some(event)
    }

    async fn news(&mut self) -> UploadEvent {
        if let Some(first) = self.first.take() {
            return first;
        }
        loop {
            // Whatever happens in this time is one event.
            tokio::time::sleep_until(self.told_at + BETWEEN_EVENTS).await;
            // An error is no news either: it is looked at all the same.
            let _ = tokio::time::timeout(self.service.sessions.look_every(), self.watcher.changed()).await;
            match self.service.event(&self.who, self.id).await {
                Ok(UploadEvent::Progress(progress)) if self.told.as_ref() == Some(&progress) => {}
                Ok(event) => return event,
                Err(error) if matches!(error.code(), Code::UploadGone | Code::UploadNotFound) => {
                    return UploadEvent::Failed(error);
                }
                // The database is away: the next signal, or the next look, tells.
                Err(error) => {
                    tracing::debug!(upload.id = %self.id, %error, "a watched upload could not be looked at");
                }
            }
        }
    }
}
