//! Files that come without a session: their bytes are announced before a store has them, where nobody else would find
//! them again, and the files are published in one transaction.

use super::Sessions;
use crate::base::{BlobKey, Code, Error, Principal, Result, Timestamp};
use crate::db::audit::{self, Entry};
use crate::db::files::{self, File};
use crate::db::idempotency_keys::{self, Answered};
use crate::db::jobs::{self, NewJob};
use crate::db::usage::Limits;
use crate::db::{Commit, Urgency, blob_deletions, upload_tokens};

/// Bytes that are on their way: they are removed when the time is over, unless they are published before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The store's name.
    pub store: String,
    /// Where they will be.
    pub key: BlobKey,
    /// Until when nobody touches them.
    pub until: Timestamp,
}

/// What becomes visible at once, and what goes with it.
#[derive(Debug)]
pub struct Publication<'a> {
    /// The files.
    pub files: &'a [File],
    /// What is to be done with them.
    pub jobs: &'a [NewJob],
    /// What their client is answered, if that is kept.
    pub answered: Option<Answered>,
    /// Their bytes, where those were announced.
    pub announced: &'a [Announced],
}

impl Sessions {
    /// Notes that bytes will be under `key` in `store`, which are to be removed after `until`. Survives the loss of power.
    pub async fn announce(
        &self,
        store: &str,
        key: &BlobKey,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Announced> {
        let (store, key) = (store.to_owned(), key.clone());
        let announced = Announced { store: store.clone(), key: key.clone(), until };
        self.db
            .write_durable(Urgency::Normal, move |c| {
                let (store, key) = (store.clone(), key.clone());
                Box::pin(async move { blob_deletions::insert(c, &store, &key, until, now).await })
            })
            .await?;
        Ok(announced)
    }

    /// Gives announced bytes more time.
    ///
    /// # Errors
    /// `Overloaded` if they had too little, and may be gone.
    pub async fn renew_announced(&self, announced: &mut Announced, until: Timestamp) -> Result<()> {
        let Announced { store, key, until: known } = announced.clone();
        let renewed = self.db.write(Urgency::Normal, move |c| {
            let (store, key) = (store.clone(), key.clone());
            Box::pin(async move { blob_deletions::claim(c, &store, &key, known, until).await })
        });
        if !renewed.await? {
            return Err(taken_back());
        }
        announced.until = until;
        Ok(())
    }

    /// Adds files that came without a session, with what goes with them, in one transaction, if their tenant stays within
    /// `limits`: from here on they are visible. Takes back what was announced of their bytes; if that does not stand any
    /// more, the bytes may be gone, and nothing happens. Answers only when that is certain.
    ///
    /// # Errors
    /// `Unavailable` when the connection broke: it may have happened. Else nothing has. `Overloaded` if an announcement
    /// ran out; `QuotaExceeded`, `IdempotencyConflict`; `Forbidden` where an upload token was for fewer files.
    pub async fn publish(
        &self,
        who: &Principal,
        publication: Publication<'_>,
        commit: Commit,
        limits: Limits,
    ) -> Result<()> {
        let Publication { files, jobs, answered, announced } = publication;
        let (files, jobs, announced, who) = (files.to_vec(), jobs.to_vec(), announced.to_vec(), who.clone());
        self.db
            .write_to_the_end(Urgency::Normal, commit, move |c| {
                let (files, answered, who) = (files.clone(), answered.clone(), who.clone());
                let (announced, jobs) = (announced.clone(), jobs.clone());
                Box::pin(async move {
                    for Announced { store, key, until } in &announced {
                        if !blob_deletions::withdraw(c, store, key, *until).await? {
                            return Err(taken_back());
                        }
                    }
                    for file in &files {
                        if let Some(grant) = who.grant() {
                            upload_tokens::take(c, &file.tenant, grant).await?;
                        }
                        files::insert(c, file, &limits).await?.require(&limits)?;
                        audit::insert(c, &Entry::file_created(&who, file)).await?;
                    }
                    for job in &jobs {
                        jobs::add(c, job, job.due_at).await?;
                    }
                    match &answered {
                        Some(answered) => idempotency_keys::insert(c, answered).await,
                        None => Ok(()),
                    }
                })
            })
            .await
    }
}

fn taken_back() -> Error {
    Error::new(Code::Overloaded, "the file took longer than its bytes are kept unpublished; send it again")
}
