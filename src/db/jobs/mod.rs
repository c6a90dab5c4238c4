//! Table `cifra_jobs`: what is to be done later, by whichever node comes first. Any service adds a job in its own
//! transaction ([`add`]); `jobs` takes them and says what became of each ([`mod@taken`]).

mod taken;

use uuid::Uuid;

use super::conn::{Conn, on};
use super::error::number;
use crate::base::{FileId, Result, TenantId, Timestamp};

pub use self::taken::{Unfinished, claim, done, due, free_all, put_back, renew};

/// The kind of those that make a file's thumbnails. The subject is the file's id.
pub const THUMBNAILS: &str = "thumbnails";

/// How soon a job is to be done. The more urgent ones go first, however many others wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobUrgency {
    /// Somebody waits for it.
    Awaited,
    /// It is new.
    New,
    /// It was done before, and is done once more.
    Rebuild,
}

impl JobUrgency {
    /// The most urgent first.
    pub const ALL: [Self; 3] = [Self::Awaited, Self::New, Self::Rebuild];

    /// As the row has it.
    const fn to_row(self) -> i64 {
        match self {
            Self::Awaited => 0,
            Self::New => 1,
            Self::Rebuild => 2,
        }
    }

    fn of_row(value: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|urgency| urgency.to_row() == value)
    }
}

/// A job to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Of which kind: who does it.
    pub kind: &'static str,
    /// For whom: tenants take turns.
    pub tenant: TenantId,
    /// What it is about. There is one job a kind and subject, so the subject names its tenant's thing uniquely.
    pub subject: String,
    /// What else its kind wants to know.
    pub payload: Option<String>,
    /// How soon.
    pub urgency: JobUrgency,
    /// Not before.
    pub due_at: Timestamp,
}

impl NewJob {
    /// Makes the thumbnails of `file`, as soon as may be.
    pub fn thumbnails(tenant: &TenantId, file: FileId, urgency: JobUrgency, now: Timestamp) -> Self {
        let (tenant, subject) = (tenant.clone(), file.to_string());
        Self { kind: THUMBNAILS, tenant, subject, payload: None, urgency, due_at: now }
    }
}

/// A job that somebody took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: Uuid,
    /// Of which kind.
    pub kind: String,
    /// For whom.
    pub tenant: TenantId,
    /// What it is about.
    pub subject: String,
    /// What else its kind wanted to know.
    pub payload: Option<String>,
    /// How soon it is to be done.
    pub urgency: JobUrgency,
    /// How often it was taken, this time included.
    pub attempts: u32,
    /// How often in a row it was taken without an outcome, this time included.
    pub unfinished: u32,
    /// How often it had been added when it was taken.
    pub asked: i64,
    /// Why it was not done the last time.
    pub last_error: Option<String>,
    /// When it was added first.
    pub created_at: Timestamp,
}

/// How many jobs of a kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// All of them.
    pub jobs: u64,
    /// Those among them that failed before and wait for their next time, or are worked on after that.
    pub failed_before: u64,
}

const TABLE: &str = "cifra_jobs";

/// Adds a job. There already: the more urgent urgency and the earlier time count, and the newer payload if there is one;
/// what somebody works on at this moment is done once more after that.
pub async fn add(c: &mut Conn, job: &NewJob, now: Timestamp) -> Result<()> {
    const ADD: &str = "
        INSERT INTO cifra_jobs (id, kind, tenant_id, subject, payload, urgency, due_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (kind, subject) DO UPDATE
        SET asked = cifra_jobs.asked + 1,
            payload = COALESCE(excluded.payload, cifra_jobs.payload),
            urgency = CASE
                WHEN excluded.urgency < cifra_jobs.urgency THEN excluded.urgency
                ELSE cifra_jobs.urgency
            END,
            due_at = CASE
                WHEN cifra_jobs.node IS NULL AND excluded.due_at < cifra_jobs.due_at THEN excluded.due_at
                ELSE cifra_jobs.due_at
            END
    ";
    Ok(on!(c, c => sqlx::query(ADD)
        .bind(Uuid::new_v4())
        .bind(job.kind)
        .bind(&job.tenant)
        .bind(&job.subject)
        .bind(&job.payload)
        .bind(job.urgency.to_row())
        .bind(job.due_at)
        .bind(now)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// Removes the job about `subject`, if there is one: there is nothing to be done any more. Who works on it finds out.
pub async fn remove(c: &mut Conn, kind: &str, tenant: &TenantId, subject: &str) -> Result<bool> {
    const REMOVE: &str = "
        DELETE FROM cifra_jobs
        WHERE kind = $1
          AND subject = $2
          AND tenant_id = $3
    ";
    let removed = on!(c, c => sqlx::query(REMOVE)
        .bind(kind)
        .bind(subject)
        .bind(tenant)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(removed > 0)
}

/// What the job about `subject` was told, if there is one that was told anything.
pub async fn payload(c: &mut Conn, kind: &str, tenant: &TenantId, subject: &str) -> Result<Option<String>> {
    const PAYLOAD: &str = "
        SELECT payload
        FROM cifra_jobs
        WHERE kind = $1
          AND subject = $2
          AND tenant_id = $3
          AND payload IS NOT NULL
    ";
    Ok(on!(c, c => sqlx::query_scalar(PAYLOAD)
        .bind(kind)
        .bind(subject)
        .bind(tenant)
        .fetch_optional(&mut *c)
        .await)?)
}

/// How many jobs of `kind` wait or are worked on that are `most` urgent or less, of all tenants.
pub async fn waiting(c: &mut Conn, kind: &str, most: JobUrgency) -> Result<Waiting> {
    const WAITING: &str = "
        SELECT COUNT(*), COUNT(last_error)
        FROM cifra_jobs
        WHERE kind = $1
          AND urgency >= $2
    ";
    let (jobs, failed): (i64, i64) =
        on!(c, c => sqlx::query_as(WAITING).bind(kind).bind(most.to_row()).fetch_one(&mut *c).await)?;
    Ok(Waiting { jobs: number(TABLE, kind, jobs)?, failed_before: number(TABLE, kind, failed)? })
}
