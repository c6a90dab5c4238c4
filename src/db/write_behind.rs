//! Table `cifra_write_behind`: writes that were acknowledged and are applied later, by whichever node comes first. Those
//! of one key are applied in the order in which they were acknowledged, each once: in the transaction that removes it.
//!
//! What a write says only its kind knows. Called by `cache::write_behind`.

use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::conn::{Conn, on};
use crate::base::{Result, TenantId, Timestamp};

/// A write to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWrite {
    /// Whose.
    pub tenant: TenantId,
    /// What it changes; writes of one key follow each other.
    pub key: String,
    /// What is to be written, in its kind's own words.
    pub payload: String,
}

/// A write that waits.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Queued {
    /// Its place in the queue.
    pub seq: i64,
    /// Whose.
    #[sqlx(rename = "tenant_id")]
    pub tenant: TenantId,
    /// What it changes.
    pub key: String,
    /// What is to be written.
    pub payload: String,
    /// How often that failed.
    pub attempts: i64,
}

impl Queued {
    /// Whether it is of the same key as `other`.
    pub fn is_beside(&self, other: &Self) -> bool {
        (&self.tenant, &self.key) == (&other.tenant, &other.key)
    }
}

/// Queues `writes` of `kind`, in their order: from the commit on they will happen. `false` if `queue_len_max` wait already;
/// then nothing is queued.
pub async fn add(
    c: &mut Conn,
    kind: &str,
    writes: &[NewWrite],
    queue_len_max: u32,
    now: Timestamp,
) -> Result<bool> {
    // Walks over what waits, which mostly is next to nothing.
    const FULL: &str = "
        SELECT seq
        FROM cifra_write_behind
        WHERE kind = $1
        ORDER BY seq
        LIMIT 1 OFFSET $2
    ";
    const ADD: &str = "
        INSERT INTO cifra_write_behind (kind, tenant_id, key, payload, queued_at)
        VALUES ($1, $2, $3, $4, $5)
    ";
    let last_place = i64::from(queue_len_max) - 1;
    let full: Option<i64> =
        on!(c, c => sqlx::query_scalar(FULL).bind(kind).bind(last_place).fetch_optional(&mut *c).await)?;
    if full.is_some() {
        return Ok(false);
    }
    for write in writes {
        on!(c, c => sqlx::query(ADD)
            .bind(kind)
            .bind(&write.tenant)
            .bind(&write.key)
            .bind(&write.payload)
            .bind(now)
            .execute(&mut *c)
            .await
            .map(drop))?;
    }
    Ok(true)
}

/// Writes of `kind` that can be applied now, in their order, at most `limit`: of no key that has to wait.
pub async fn due(c: &mut Conn, kind: &str, now: Timestamp, limit: u32) -> Result<Vec<Queued>> {
    const DUE: &str = "
        SELECT seq, tenant_id, key, payload, attempts
        FROM cifra_write_behind AS queued
        WHERE kind = $1
          AND NOT EXISTS (
            SELECT 1
            FROM cifra_write_behind AS waiting
            WHERE waiting.kind = queued.kind
              AND waiting.tenant_id = queued.tenant_id
              AND waiting.key = queued.key
              AND waiting.due_at > $2
          )
        ORDER BY seq
        LIMIT $3
    ";
    Ok(on!(c, c => sqlx::query_as(DUE)
        .bind(kind)
        .bind(now)
        .bind(i64::from(limit))
        .fetch_all(&mut *c)
        .await)?)
}

/// Takes those of `due` out of the queue that nobody else has taken, in their order. The caller applies them in the same
/// transaction. Keys that another node is busy with are passed over.
pub async fn take(c: &mut Conn, kind: &str, due: &[Queued]) -> Result<Vec<Queued>> {
    const SQLITE: &str = "
        DELETE FROM cifra_write_behind
        WHERE kind = $1
          AND seq IN (SELECT value FROM json_each($2))
        RETURNING seq, tenant_id, key, payload, attempts
    ";
    const POSTGRES: &str = "
        DELETE FROM cifra_write_behind
        WHERE kind = $1
          AND seq = ANY($2)
        RETURNING seq, tenant_id, key, payload, attempts
    ";
    let mut taken: Vec<Queued> = match c {
        Conn::Sqlite(c) => {
            let seqs: Vec<String> = due.iter().map(|queued| queued.seq.to_string()).collect();
            let seqs = format!("[{}]", seqs.join(","));
            sqlx::query_as(SQLITE).bind(kind).bind(seqs).fetch_all(&mut **c).await?
        }
        Conn::Postgres(c) => {
            let seqs = claimed(c, kind, due).await?;
            sqlx::query_as(POSTGRES).bind(kind).bind(seqs).fetch_all(&mut **c).await?
        }
    };
    // RETURNING has no order.
    taken.sort_unstable_by_key(|queued| queued.seq);
    Ok(taken)
}

/// Applying `seq` failed: nothing of its key is applied before `until`. `why` is for people.
pub async fn postpone(c: &mut Conn, kind: &str, seq: i64, until: Timestamp, why: &str) -> Result<()> {
    const POSTPONE: &str = "
        UPDATE cifra_write_behind
        SET due_at = $3, attempts = attempts + 1, last_error = $4
        WHERE kind = $1
          AND seq = $2
    ";
    Ok(on!(c, c => sqlx::query(POSTPONE)
        .bind(kind)
        .bind(seq)
        .bind(until)
        .bind(why)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// Places of those of `due` whose keys are this transaction's until it ends. What is claimed is looked at after that, by
/// another statement: of a key that was another node's until a moment ago nothing is applied twice, or too early.
async fn claimed(c: &mut PgConnection, kind: &str, due: &[Queued]) -> Result<Vec<i64>> {
    const CLAIM: &str = "
        SELECT claim
        FROM unnest($1) AS claims (claim)
        WHERE pg_try_advisory_xact_lock(claim)
    ";
    let mut claims: Vec<i64> = due.iter().map(|queued| claim_of(kind, queued)).collect();
    claims.sort_unstable();
    claims.dedup();
    let ours: Vec<i64> = sqlx::query_scalar(CLAIM).bind(claims).fetch_all(c).await?;
    let is_ours = |queued: &&Queued| ours.contains(&claim_of(kind, queued));
    Ok(due.iter().filter(is_ours).map(|queued| queued.seq).collect())
}

/// The number of the lock on a key. Two keys that have the same one wait for each other, no more.
fn claim_of(kind: &str, queued: &Queued) -> i64 {
    let hash = Sha256::digest(format!("write-behind\0{kind}\0{}\0{}", queued.tenant, queued.key));
    let first = hash.first_chunk().expect("INVARIANT: a SHA-256 has 32 bytes");
    i64::from_be_bytes(*first)
}
