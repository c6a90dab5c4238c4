//! Making thumbnails again, of many pictures: each gets a job, which whoever serves the files does when nothing else is
//! to be done. Runs beside a service, or before one. Called by `app` for `cifra thumbnails rebuild`.
//!
//! How far it has come is kept as a job that nobody takes, in the transaction that adds the others: the same command,
//! given again after it was interrupted, goes on there.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::thumbnail::{NamedSize, SizeName, SpecVersion};
use crate::base::{Clock, Code, Error, FileId, Principal, Result, TenantId, Timestamp};
use crate::db::jobs::{self, JobUrgency, NewJob, Waiting};
use crate::db::thumbnails::{self, Outcome};
use crate::db::{Conn, Db, Urgency, files};
use crate::imaging::Reason;

/// So many pictures get their jobs in one transaction: of two or three statements each, well below 50 ms.
const PICTURES_AT_ONCE: u32 = 50;
/// The kind of the job that remembers how far a rebuild is.
const POSITION: &str = "thumbnails-rebuild";

/// Which thumbnails are to be made again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Those of this size; else all.
    pub size: Option<SizeName>,
    /// Only those that are not there, were made by another spec, or failed for a reason that may have been the
    /// machine's. Else all, failures too.
    pub only_missing: bool,
    /// Those of this tenant; else of all.
    pub tenant: Option<TenantId>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// So many pictures were looked at.
    pub pictures: u64,
    /// So many of them are to be made again.
    pub added: u64,
}

/// Where it goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Position {
    tenant: String,
    created_at: i64,
    id: FileId,
    looked: Looked,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Rebuild {
    db: Db,
    clock: Arc<dyn Clock>,
    sizes: Vec<(SizeName, SpecVersion)>,
}

impl Rebuild {
    /// Of thumbnails that are configured as `sizes`.
    pub fn new(db: Db, clock: Arc<dyn Clock>, sizes: &[NamedSize]) -> Self {
        let sizes = sizes.iter().map(|size| (size.name.clone(), size.spec.version())).collect();
        Self { db, clock, sizes }
    }

    /// Adds the jobs, and calls `tell` now and then. Goes on where an interrupted one of the same wish was.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator; `NotFound` if no such size is configured; `Unavailable`: what was added
    /// until then stays.
    pub async fn add_jobs(
        &self,
        who: &Principal,
        wish: &Wish,
        mut tell: impl FnMut(Looked),
    ) -> Result<Looked> {
        who.require_operator()?;
        if let Some(size) = &wish.size
            && !self.sizes.iter().any(|(name, _)| name == size)
        {
            return Err(Error::new(Code::NotFound, format!("no thumbnails of size `{size}` are configured")));
        }
        let mut position = self.last_position(wish).await?;
        tell(position.looked);
        while let Some(next) = self.step(wish, position.clone()).await? {
            position = next;
            tell(position.looked);
        }
        Ok(position.looked)
    }

    /// How many of the jobs are not done yet.
    ///
    /// # Errors
    /// Those of [`Db::read`].
    pub async fn waiting(&self) -> Result<Waiting> {
        self.db.read(|c| Box::pin(jobs::waiting(c, jobs::THUMBNAILS, JobUrgency::Rebuild))).await
    }

    /// The jobs of `wish` are done: the same command begins anew.
    ///
    /// # Errors
    /// Those of [`Db::write`].
    pub async fn forget_position(&self, wish: &Wish) -> Result<()> {
        let subject = self.subject(wish);
        self.db
            .write(Urgency::Normal, move |c| {
                let subject = subject.clone();
                Box::pin(async move {
                    jobs::remove(c, POSITION, &TenantId::default_tenant(), &subject).await.map(drop)
                })
            })
            .await
    }

    /// The same for the same wish and sizes, of no two others.
    fn subject(&self, wish: &Wish) -> String {
        let size = wish.size.as_ref().map_or("", SizeName::as_str);
        let tenant = wish.tenant.as_ref().map_or("", TenantId::as_str);
        let sizes: Vec<String> =
            self.sizes.iter().map(|(name, version)| format!("{name}={version}")).collect();
        format!("size={size} tenant={tenant} missing={} of {}", wish.only_missing, sizes.join(","))
    }

    async fn last_position(&self, wish: &Wish) -> Result<Position> {
        let subject = self.subject(wish);
        let kept = self.db.read(move |c| {
            Box::pin(async move { jobs::payload(c, POSITION, &TenantId::default_tenant(), &subject).await })
        });
        let kept = kept.await?.and_then(|text| serde_json::from_str(&text).ok());
        Ok(kept.unwrap_or_else(|| Position::before(wish.tenant.as_ref().map_or("", TenantId::as_str))))
    }

    /// The next pictures; `None` if there are no more.
    async fn step(&self, wish: &Wish, from: Position) -> Result<Option<Position>> {
        let (this, wish, now) = (self.clone(), wish.clone(), self.clock.now());
        self.db
            .write(Urgency::Background, move |c| {
                let (this, wish, from) = (this.clone(), wish.clone(), from.clone());
                Box::pin(async move { this.step_in(c, &wish, from, now).await })
            })
            .await
    }

    async fn step_in(
        &self,
        c: &mut Conn,
        wish: &Wish,
        from: Position,
        now: Timestamp,
    ) -> Result<Option<Position>> {
        let after = (Timestamp::from_micros(from.created_at), from.id);
        let pictures = match from.tenant.parse::<TenantId>() {
            Ok(tenant) => Some((files::pictures(c, &tenant, after, PICTURES_AT_ONCE).await?, tenant)),
            Err(_) => None,
        };
        let next = match pictures {
            Some((pictures, tenant)) if !pictures.is_empty() => {
                let added = self.add(c, wish, &tenant, &pictures, now).await?;
                let (created_at, id) = pictures.last().map_or(after, |last| *last);
                let looked = Looked {
                    pictures: from.looked.pictures + pictures.len() as u64,
                    added: from.looked.added + added,
                };
                Some(Position { tenant: from.tenant, created_at: created_at.as_micros(), id, looked })
            }
            _ if wish.tenant.is_some() => None,
            _ => files::next_tenant(c, &from.tenant)
                .await?
                .map(|tenant| Position { looked: from.looked, ..Position::before(tenant.as_str()) }),
        };
        let (tenant, subject) = (TenantId::default_tenant(), self.subject(wish));
        // At the end it stays: an interrupted command, given again, has nothing to add, and only waits.
        let Some(next) = next else { return Ok(None) };
        let payload = serde_json::to_string(&next)
            .map_err(|error| Error::internal("the position cannot be kept", error))?;
        let (urgency, never) = (JobUrgency::Rebuild, Timestamp::from_micros(i64::MAX));
        let position =
            NewJob { kind: POSITION, tenant, subject, payload: Some(payload), urgency, due_at: never };
        jobs::add(c, &position, now).await?;
        Ok(Some(next))
    }

    /// Adds the jobs of those of `pictures` that need one; how many they are.
    async fn add(
        &self,
        c: &mut Conn,
        wish: &Wish,
        tenant: &TenantId,
        pictures: &[(Timestamp, FileId)],
        now: Timestamp,
    ) -> Result<u64> {
        let ids: Vec<FileId> = pictures.iter().map(|(_, id)| *id).collect();
        let rows = if wish.only_missing { thumbnails::of_files(c, tenant, &ids).await? } else { Vec::new() };
        let failed: HashSet<FileId> =
            rows.iter().filter(|row| may_be_better_now(&row.outcome)).map(|row| row.file).collect();
        let there: HashSet<(FileId, SizeName, SpecVersion)> =
            rows.into_iter().map(|row| (row.file, row.size, row.version)).collect();
        let wanted =
            || self.sizes.iter().filter(|(name, _)| wish.size.as_ref().is_none_or(|size| size == name));
        let mut added = 0;
        for id in ids {
            let again = !wish.only_missing || failed.contains(&id);
            if !again && wanted().all(|(name, version)| there.contains(&(id, name.clone(), version.clone())))
            {
                continue;
            }
            if again {
                thumbnails::outdate(c, tenant, id, wish.size.as_ref()).await?;
            }
            jobs::add(c, &NewJob::thumbnails(tenant, id, JobUrgency::Rebuild, now), now).await?;
            added += 1;
        }
        Ok(added)
    }
}

/// Whether it may have been the fault of the machine, rather than of the picture.
fn may_be_better_now(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Without(Reason::TimedOut | Reason::Crashed))
}

impl Position {
    /// Before all pictures of a tenant.
    fn before(tenant: &str) -> Self {
        let id = FileId::from_uuid(uuid::Uuid::nil());
        Self { tenant: tenant.to_owned(), created_at: i64::MIN, id, looked: Looked::default() }
    }
}
