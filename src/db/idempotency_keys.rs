//! Table `cifra_idempotency_keys`: what was answered to requests that may be repeated.

use std::time::Duration;

use super::conn::{Conn, on};
use super::error::{number, to_row};
use crate::base::crc::Crc64;
use crate::base::{Code, Error, Result, TenantId, Timestamp};

const TABLE: &str = "cifra_idempotency_keys";

/// Which request: a key names one of a tenant on a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyOf {
    /// Whose it is.
    pub tenant: TenantId,
    /// The route's template, such as `/api/files/{id}/links`.
    pub route: String,
    /// What the client calls it.
    pub key: String,
}

/// What was asked for, as far as a repetition must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// A hash of the target and of what the body is said to be.
    pub target_hash: i64,
    /// The body's bytes.
    pub body_size: u64,
    /// Their checksum.
    pub body_crc64: Crc64,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// To whom.
    pub of: KeyOf,
    /// To what.
    pub asked: Asked,
    /// A success.
    pub status: u16,
    /// `Location`, where there was one.
    pub location: Option<String>,
    /// JSON.
    pub body: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it is kept.
    pub expires_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    target_hash: i64,
    body_size: i64,
    body_crc64: i64,
    status: i64,
    location: Option<String>,
    body: String,
    created_at: Timestamp,
    expires_at: Timestamp,
}

/// Keeps an answer, in the transaction of what was done.
///
/// # Errors
/// `IdempotencyConflict` if the key has an answer that has not expired: another process has done the same, and the
/// transaction must not commit.
pub async fn insert(c: &mut Conn, answered: &Answered) -> Result<()> {
    const INSERT: &str = "
        INSERT INTO cifra_idempotency_keys (
            tenant_id, route, key, target_hash, body_size, body_crc64, status, location, body, created_at, expires_at
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (tenant_id, route, key) DO UPDATE
        SET target_hash = excluded.target_hash, body_size = excluded.body_size, body_crc64 = excluded.body_crc64,
            status = excluded.status, location = excluded.location, body = excluded.body,
            created_at = excluded.created_at, expires_at = excluded.expires_at
        WHERE cifra_idempotency_keys.expires_at <= excluded.created_at
    ";
    let body_size = to_row(answered.asked.body_size)?;
    let inserted = on!(c, c => sqlx::query(INSERT)
        .bind(&answered.of.tenant)
        .bind(&answered.of.route)
        .bind(&answered.of.key)
        .bind(answered.asked.target_hash)
        .bind(body_size)
        .bind(answered.asked.body_crc64.to_i64())
        .bind(i64::from(answered.status))
        .bind(&answered.location)
        .bind(&answered.body)
        .bind(answered.created_at)
        .bind(answered.expires_at)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    if inserted == 0 {
        let detail =
            "another request with this `Idempotency-Key` was served meanwhile; ask again for its answer";
        return Err(Error::new(Code::IdempotencyConflict, detail).retry_after(Duration::from_secs(1)));
    }
    Ok(())
}

/// What was answered, unless it has expired.
pub async fn get(c: &mut Conn, of: &KeyOf, now: Timestamp) -> Result<Option<Answered>> {
    const GET: &str = "
        SELECT target_hash, body_size, body_crc64, status, location, body, created_at, expires_at
        FROM cifra_idempotency_keys
        WHERE tenant_id = $1
          AND route = $2
          AND key = $3
          AND expires_at > $4
    ";
    let row: Option<Row> = on!(c, c => sqlx::query_as(GET)
        .bind(&of.tenant)
        .bind(&of.route)
        .bind(&of.key)
        .bind(now)
        .fetch_optional(&mut *c)
        .await)?;
    let Some(row) = row else { return Ok(None) };
    let asked = Asked {
        target_hash: row.target_hash,
        body_size: number(TABLE, &of.key, row.body_size)?,
        body_crc64: Crc64::from_i64(row.body_crc64),
    };
    let status = number(TABLE, &of.key, row.status)?;
    let Row { location, body, created_at, expires_at, .. } = row;
    Ok(Some(Answered { of: of.clone(), asked, status, location, body, created_at, expires_at }))
}

/// Forgets answers that expired before `now`, of all tenants, at most `limit`; answers how many.
pub async fn forget_expired(c: &mut Conn, now: Timestamp, limit: u32) -> Result<u64> {
    const FORGET: &str = "
        DELETE FROM cifra_idempotency_keys
        WHERE (tenant_id, route, key) IN (
            SELECT tenant_id, route, key
            FROM cifra_idempotency_keys
            WHERE expires_at <= $1
            ORDER BY expires_at
            LIMIT $2
        )
    ";
    Ok(on!(c, c => sqlx::query(FORGET)
        .bind(now)
        .bind(i64::from(limit))
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?)
}
