//! How sessions end: finished under a claim with a fence, aborted, expired, forgotten.
//!
//! A claim on the end is a row's state, so that it holds across processes; its fence number makes the writes
//! of a holder that was too slow do nothing.

use std::time::Duration;

use super::Sessions;
use crate::base::digest::Checksum;
use crate::base::{Principal, Result, TenantId, Timestamp, UploadId};
use crate::db::audit::{self, Action, Entry};
use crate::db::files::{self, File};
use crate::db::jobs::{self, NewJob};
use crate::db::uploads::{self, EndOutcome, EndState, FinishClaim, Released, Upload};
use crate::db::usage::Limits;
use crate::db::{Commit, Urgency, parts};

/// A claim on an upload's end lasts this long, and is renewed three times in that time.
pub const FINISH_CLAIM_TTL: Duration = Duration::from_secs(30);

impl Sessions {
    /// Claims the end of an upload: from here on it takes no chunks. `declared` is the file's digest that came
    /// with the wish; it is kept with the claim.
    ///
    /// Survives the loss of power, and with it all receipts: the bytes are moved to their final place next, and
    /// an upload that went back to lacking chunks could not take them there.
    pub async fn claim_finish(
        &self,
        tenant: &TenantId,
        id: UploadId,
        declared: Option<Checksum>,
        now: Timestamp,
    ) -> Result<FinishClaim> {
        let (tenant, node, until) = (tenant.clone(), self.node, now.plus(FINISH_CLAIM_TTL));
        let claim = self
            .db
            .write_durable(Urgency::Normal, move |c| {
                let tenant = tenant.clone();
                Box::pin(
                    async move { uploads::claim_finish(c, &tenant, id, node, declared, now, until).await },
                )
            })
            .await;
        self.signals.changed(id);
        claim
    }

    /// Holds the claim for another while; `false` if it is somebody else's by now.
    pub async fn renew_finish(&self, id: UploadId, fence: i64, now: Timestamp) -> Result<bool> {
        let until = now.plus(FINISH_CLAIM_TTL);
        self.db
            .write(Urgency::Normal, move |c| {
                Box::pin(async move { uploads::renew_finish(c, id, fence, until).await })
            })
            .await
    }

    /// Notes, before the store is told so, that it puts the bytes together; durably: whoever goes on after a crash must
    /// know. `false` if the claim is somebody else's by now.
    pub async fn set_sealing(&self, id: UploadId, fence: i64) -> Result<bool> {
        self.db
            .write_durable(Urgency::Normal, move |c| {
                Box::pin(async move { uploads::set_sealing(c, id, fence).await })
            })
            .await
    }

    /// Gives the claim up: the upload is what `to` says; `error` says why it is not finished. `false` if the claim is
    /// somebody else's by now.
    pub async fn release_finish(
        &self,
        id: UploadId,
        fence: i64,
        to: Released,
        error: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let error = error.to_owned();
        let released = self
            .db
            .write_to_the_end(Urgency::Normal, Commit::Normal, move |c| {
                let error = error.clone();
                Box::pin(async move { uploads::release_finish(c, id, fence, to, Some(&error), now).await })
            })
            .await;
        self.signals.changed(id);
        released
    }

    /// Leaves the end to whoever comes next, from here on. `false` if the claim is somebody else's by now.
    pub async fn yield_finish(&self, id: UploadId, fence: i64, error: &str, now: Timestamp) -> Result<bool> {
        let error = error.to_owned();
        let yielded = self
            .db
            .write(Urgency::Normal, move |c| {
                let error = error.clone();
                Box::pin(async move { uploads::yield_finish(c, id, fence, Some(&error), now).await })
            })
            .await;
        self.signals.changed(id);
        yielded
    }

    /// Ends a session whose bytes the store has dropped; `fence` is that of the caller's claim on its end, if they have
    /// one. The upload as it is after; `None` if it has changed meanwhile.
    pub async fn lose(
        &self,
        upload: &Upload,
        fence: Option<i64>,
        error: &str,
        now: Timestamp,
    ) -> Result<Option<Upload>> {
        let (id, error) = (upload.id, error.to_owned());
        let who = Principal::service(upload.tenant.clone());
        let entry = Entry::new(&who, Action::UploadExpired, &id, now);
        let lost = self
            .db
            .write_durable(Urgency::Normal, move |c| {
                let (error, entry) = (error.clone(), entry.clone());
                Box::pin(async move {
                    let lost = uploads::lose(c, id, fence, &error, now).await?;
                    if lost.is_some() {
                        audit::insert(c, &entry).await?;
                    }
                    Ok(lost)
                })
            })
            .await;
        self.signals.changed(id);
        lost
    }

    /// The last step: the file is there, the upload completed, and `jobs` are added, in one durable transaction. `false`
    /// if the claim is somebody else's by now; then nothing has changed.
    pub async fn complete(
        &self,
        who: &Principal,
        id: UploadId,
        fence: i64,
        file: &File,
        jobs: &[NewJob],
        now: Timestamp,
    ) -> Result<bool> {
        let (file, jobs, entry) = (file.clone(), jobs.to_vec(), Entry::file_created(who, file));
        let completed = self
            .db
            .write_to_the_end(Urgency::Normal, Commit::Durable, move |c| {
                let (file, jobs, entry) = (file.clone(), jobs.clone(), entry.clone());
                Box::pin(async move {
                    let mine = uploads::complete(c, id, fence, now).await?;
                    if mine {
                        // Its bytes were within the limits when the upload began.
                        files::insert(c, &file, &Limits::NONE).await?.require(&Limits::NONE)?;
                        audit::insert(c, &entry).await?;
                        for job in &jobs {
                            jobs::add(c, job, now).await?;
                        }
                    }
                    Ok(mine)
                })
            })
            .await;
        self.signals.changed(id);
        completed
    }

    /// Ends a session without a file. Without an answer it may still happen: then its bytes are the sweeper's.
    pub async fn end(
        &self,
        who: &Principal,
        id: UploadId,
        to: EndState,
        now: Timestamp,
    ) -> Result<EndOutcome> {
        let action = match to {
            EndState::Aborted => Action::UploadAborted,
            EndState::Expired => Action::UploadExpired,
        };
        let (tenant, entry) = (who.tenant().clone(), Entry::new(who, action, &id, now));
        let ended = self
            .db
            .write_durable(Urgency::Normal, move |c| {
                let (tenant, entry) = (tenant.clone(), entry.clone());
                Box::pin(async move {
                    let outcome = uploads::end(c, Some(&tenant), id, to, now).await?;
                    if let EndOutcome::Ended(_) = outcome {
                        audit::insert(c, &entry).await?;
                    }
                    Ok(outcome)
                })
            })
            .await;
        self.signals.changed(id);
        ended
    }

    /// The session's bytes are gone from the store.
    pub async fn set_cleared(&self, id: UploadId) -> Result<bool> {
        self.db
            .write(Urgency::Normal, move |c| Box::pin(async move { uploads::set_cleared(c, id).await }))
            .await
    }

    /// Sessions in `store` whose time was over before `now`.
    pub async fn expired(&self, store: &str, now: Timestamp, limit: u32) -> Result<Vec<Upload>> {
        let store = store.to_owned();
        self.db.read(move |c| Box::pin(async move { uploads::expired(c, &store, now, limit).await })).await
    }

    /// Uploads in `store` whose end was begun by somebody who is gone.
    pub async fn abandoned(&self, store: &str, now: Timestamp, limit: u32) -> Result<Vec<Upload>> {
        let store = store.to_owned();
        self.db.read(move |c| Box::pin(async move { uploads::abandoned(c, &store, now, limit).await })).await
    }

    /// Ended sessions whose bytes are still in `store`.
    pub async fn uncleared(&self, store: &str, limit: u32) -> Result<Vec<Upload>> {
        let store = store.to_owned();
        self.db.read(move |c| Box::pin(async move { uploads::uncleared(c, &store, limit).await })).await
    }

    /// Sessions that ended before `before` and left nothing, at most `limit`.
    pub async fn forgettable(&self, before: Timestamp, limit: u32) -> Result<Vec<Upload>> {
        self.db.read(move |c| Box::pin(async move { uploads::forgettable(c, before, limit).await })).await
    }

    /// Forgets such sessions; answers how many.
    pub async fn forget(&self, ids: Vec<UploadId>) -> Result<u64> {
        self.db
            .write(Urgency::Background, move |c| {
                let ids = ids.clone();
                Box::pin(async move {
                    let mut forgotten = 0;
                    for id in ids {
                        forgotten += u64::from(uploads::forget(c, id).await?);
                    }
                    Ok(forgotten)
                })
            })
            .await
    }

    /// Drops journal rows of completed uploads, at most `limit`; answers how many.
    pub async fn forget_receipts(&self, limit: u32) -> Result<u64> {
        self.db
            .write(Urgency::Background, move |c| {
                Box::pin(async move { parts::delete_of_ended(c, limit).await })
            })
            .await
    }

    /// At the start of the one process that owns the store: whoever held a claim on an end is gone.
    pub async fn break_finish_claims(&self, store: &str, now: Timestamp) -> Result<u64> {
        let store = store.to_owned();
        self.db
            .write(Urgency::Normal, move |c| {
                let store = store.clone();
                Box::pin(async move { uploads::break_finish_claims(c, &store, now).await })
            })
            .await
    }
}
