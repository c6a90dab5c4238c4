//! Taking jobs, keeping them, and what becomes of them.
//!
//! Who takes a job has it until `due_at`, which they move on while they work. `attempts` only grows: whoever took the
//! job before and wakes up late changes nothing any more.

use uuid::Uuid;

use super::{Job, JobUrgency, TABLE};
use crate::base::{Error, Result, TenantId, Timestamp};
use crate::db::conn::{Conn, on};
use crate::db::error::{damaged, number};

/// How a job that was not done waits for the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// There was an outcome, if not the one that was hoped for.
    Reset,
    /// Nothing was heard of it.
    Counts,
}

#[derive(sqlx::FromRow)]
struct JobRow {
    id: Uuid,
    kind: String,
    tenant_id: TenantId,
    subject: String,
    payload: Option<String>,
    urgency: i64,
    attempts: i64,
    unfinished: i64,
    asked: i64,
    last_error: Option<String>,
    created_at: Timestamp,
}

impl TryFrom<JobRow> for Job {
    type Error = Error;

    fn try_from(row: JobRow) -> Result<Self> {
        let id = row.id;
        Ok(Self {
            id,
            kind: row.kind,
            tenant: row.tenant_id,
            subject: row.subject,
            payload: row.payload,
            urgency: JobUrgency::of_row(row.urgency).ok_or_else(|| damaged(TABLE, id, "unknown urgency"))?,
            attempts: number(TABLE, id, row.attempts)?,
            unfinished: number(TABLE, id, row.unfinished)?,
            asked: row.asked,
            last_error: row.last_error,
            created_at: row.created_at,
        })
    }
}

/// Of the jobs of `kind` that somebody could take now: how urgent the most urgent one is. Cheap; changes nothing.
pub async fn due(c: &mut Conn, kind: &str, now: Timestamp) -> Result<Option<JobUrgency>> {
    const DUE: &str = "
        SELECT CASE
            WHEN EXISTS (SELECT 1 FROM cifra_jobs WHERE kind = $1 AND urgency = 0 AND due_at <= $2) THEN 0
            WHEN EXISTS (SELECT 1 FROM cifra_jobs WHERE kind = $1 AND urgency = 1 AND due_at <= $2) THEN 1
            WHEN EXISTS (SELECT 1 FROM cifra_jobs WHERE kind = $1 AND urgency = 2 AND due_at <= $2) THEN 2
        END
    ";
    let due: Option<i32> =
        on!(c, c => sqlx::query_scalar(DUE).bind(kind).bind(now).fetch_one(&mut *c).await)?;
    Ok(due.and_then(|value| JobUrgency::of_row(value.into())))
}

/// Takes a job of `kind` for `node`, until `until`: the most urgent; of those the next tenant's after `after`; of those
/// the one that waits longest. `None` if nobody else's is due: those that somebody takes at this moment are passed over.
pub async fn claim(
    c: &mut Conn,
    kind: &str,
    node: Uuid,
    after: Option<&TenantId>,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Job>> {
    let Some(most_urgent) = due(c, kind, now).await? else { return Ok(None) };
    // Others may take the last of the most urgent ones meanwhile.
    for urgency in JobUrgency::ALL.into_iter().filter(|urgency| *urgency >= most_urgent) {
        // No tenant is called "": that is before all of them.
        let after = after.map_or("", TenantId::as_str);
        for place in [Some(after), (!after.is_empty()).then_some("")].into_iter().flatten() {
            let Some(tenant) = next_tenant(c, kind, urgency, place, now).await? else { continue };
            if let Some(job) = take(c, kind, urgency, &tenant, node, now, until).await? {
                return Ok(Some(job));
            }
        }
    }
    Ok(None)
}

/// The first tenant after `after` that has such a job. Goes from tenant to tenant on the index, however many jobs each has.
async fn next_tenant(
    c: &mut Conn,
    kind: &str,
    urgency: JobUrgency,
    after: &str,
    now: Timestamp,
) -> Result<Option<TenantId>> {
    const NEXT: &str = "
        WITH RECURSIVE turn (tenant_id) AS (
            SELECT (
                SELECT MIN(tenant_id)
                FROM cifra_jobs
                WHERE kind = $1
                  AND urgency = $2
                  AND tenant_id > $3
            )
            UNION ALL
            SELECT (
                SELECT MIN(cifra_jobs.tenant_id)
                FROM cifra_jobs
                WHERE kind = $1
                  AND urgency = $2
                  AND cifra_jobs.tenant_id > turn.tenant_id
            )
            FROM turn
            WHERE turn.tenant_id IS NOT NULL
        )
        SELECT tenant_id
        FROM turn
        WHERE tenant_id IS NOT NULL
          AND EXISTS (
            SELECT 1
            FROM cifra_jobs
            WHERE kind = $1
              AND urgency = $2
              AND cifra_jobs.tenant_id = turn.tenant_id
              AND due_at <= $4
        )
        LIMIT 1
    ";
    Ok(on!(c, c => sqlx::query_scalar(NEXT)
        .bind(kind)
        .bind(urgency.to_row())
        .bind(after)
        .bind(now)
        .fetch_optional(&mut *c)
        .await)?)
}

/// `SKIP LOCKED` is PostgreSQL's; SQLite has one writer.
macro_rules! take {
    ($lock:literal) => {
        concat!(
            "
        UPDATE cifra_jobs
        SET node = $5, due_at = $6, attempts = attempts + 1, unfinished = unfinished + 1
        WHERE id = (
            SELECT id
            FROM cifra_jobs
            WHERE kind = $1
              AND urgency = $2
              AND tenant_id = $3
              AND due_at <= $4
            ORDER BY due_at
            LIMIT 1
            ",
            $lock,
            "
        )
        RETURNING id, kind, tenant_id, subject, payload, urgency, attempts, unfinished, asked, last_error, created_at
    "
        )
    };
}

async fn take(
    c: &mut Conn,
    kind: &str,
    urgency: JobUrgency,
    tenant: &TenantId,
    node: Uuid,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Job>> {
    let text = match c {
        Conn::Sqlite(_) => take!(""),
        Conn::Postgres(_) => take!("FOR UPDATE SKIP LOCKED"),
    };
    let row: Option<JobRow> = on!(c, c => sqlx::query_as(text)
        .bind(kind)
        .bind(urgency.to_row())
        .bind(tenant)
        .bind(now)
        .bind(node)
        .bind(until)
        .fetch_optional(&mut *c)
        .await)?;
    row.map(Job::try_from).transpose()
}

/// Keeps a job until `until`. `false` if somebody else took it, or it is gone: whoever works on it stops.
pub async fn renew(c: &mut Conn, job: &Job, until: Timestamp) -> Result<bool> {
    const RENEW: &str = "
        UPDATE cifra_jobs
        SET due_at = $4
        WHERE tenant_id = $1
          AND id = $2
          AND attempts = $3
    ";
    let renewed = on!(c, c => sqlx::query(RENEW)
        .bind(&job.tenant)
        .bind(job.id)
        .bind(i64::from(job.attempts))
        .bind(until)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(renewed > 0)
}

/// It is done and goes; if it was added again meanwhile it is due again at once. `false` if it was somebody else's.
pub async fn done(c: &mut Conn, job: &Job, now: Timestamp) -> Result<bool> {
    const DONE: &str = "
        DELETE FROM cifra_jobs
        WHERE tenant_id = $1
          AND id = $2
          AND attempts = $3
          AND asked = $4
    ";
    let done = on!(c, c => sqlx::query(DONE)
        .bind(&job.tenant)
        .bind(job.id)
        .bind(i64::from(job.attempts))
        .bind(job.asked)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    if done > 0 { Ok(true) } else { put_back(c, job, now, None, Unfinished::Reset).await }
}

/// It waits until `due_at`, also if it was added again meanwhile: that would fail just the same. Added after this, it is
/// due at once ([`super::add`]). `why` is for people. `false` if it was somebody else's.
pub async fn put_back(
    c: &mut Conn,
    job: &Job,
    due_at: Timestamp,
    why: Option<&str>,
    unfinished: Unfinished,
) -> Result<bool> {
    const PUT_BACK: &str = "
        UPDATE cifra_jobs
        SET node = NULL, due_at = $4, last_error = COALESCE($5, last_error), unfinished = unfinished * $6
        WHERE tenant_id = $1
          AND id = $2
          AND attempts = $3
    ";
    let put_back = on!(c, c => sqlx::query(PUT_BACK)
        .bind(&job.tenant)
        .bind(job.id)
        .bind(i64::from(job.attempts))
        .bind(due_at)
        .bind(why)
        .bind(i64::from(unfinished == Unfinished::Counts))
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(put_back > 0)
}

/// Frees what anybody holds. For a database of one process that has just started: whoever held it is gone.
pub async fn free_all(c: &mut Conn, now: Timestamp) -> Result<u64> {
    const FREE: &str = "
        UPDATE cifra_jobs
        SET node = NULL, due_at = $1
        WHERE node IS NOT NULL
    ";
    Ok(on!(c, c => sqlx::query(FREE).bind(now).execute(&mut *c).await.map(|done| done.rows_affected()))?)
}
