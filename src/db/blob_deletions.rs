//! Table `cifra_blob_deletions`: blobs to be removed from their store, and when. Nothing is removed without a
//! row here; the row goes when the blob is gone.
//!
//! A row also announces bytes that are on their way into a store: whoever publishes them takes the row back
//! ([`withdraw`]), whoever removes them claims it first ([`claim`]). Both name the time that they know the row by, and
//! each changes it or ends it: of the two one happens.

use super::conn::{Conn, on};
use crate::base::{BlobKey, Result, Timestamp};

/// Notes that a blob is to be removed after `purge_after`. Noted again, the newer time counts.
pub async fn insert(
    c: &mut Conn,
    store: &str,
    key: &BlobKey,
    purge_after: Timestamp,
    now: Timestamp,
) -> Result<()> {
    const INSERT: &str = "
        INSERT INTO cifra_blob_deletions (store, blob_key, purge_after, created_at)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (store, blob_key) DO UPDATE SET purge_after = excluded.purge_after
    ";
    Ok(on!(c, c => sqlx::query(INSERT)
        .bind(store)
        .bind(key)
        .bind(purge_after)
        .bind(now)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// Blobs of `store` whose time has come, each with that time, the longest overdue first, at most `limit`.
pub async fn due(c: &mut Conn, store: &str, now: Timestamp, limit: u32) -> Result<Vec<(BlobKey, Timestamp)>> {
    const DUE: &str = "
        SELECT blob_key, purge_after
        FROM cifra_blob_deletions
        WHERE store = $1
          AND purge_after <= $2
        ORDER BY purge_after, blob_key
        LIMIT $3
    ";
    Ok(on!(c, c => sqlx::query_as(DUE)
        .bind(store)
        .bind(now)
        .bind(i64::from(limit))
        .fetch_all(&mut *c)
        .await)?)
}

/// Moves the time of a row from `purge_after`, which the caller knows it by, to `until`. Whoever renews an
/// announcement has it for longer; whoever removes the bytes has them for themselves until then, and if they don't
/// come to the end of it, the next goes on. `false` if somebody else was faster; then nothing was changed.
pub async fn claim(
    c: &mut Conn,
    store: &str,
    key: &BlobKey,
    purge_after: Timestamp,
    until: Timestamp,
) -> Result<bool> {
    const CLAIM: &str = "
        UPDATE cifra_blob_deletions
        SET purge_after = $4
        WHERE store = $1
          AND blob_key = $2
          AND purge_after = $3
    ";
    let claimed = on!(c, c => sqlx::query(CLAIM)
        .bind(store)
        .bind(key)
        .bind(purge_after)
        .bind(until)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(claimed > 0)
}

/// Whether the blob is noted, for whatever time: it may be on its way still.
pub async fn is_noted(c: &mut Conn, store: &str, key: &BlobKey) -> Result<bool> {
    const NOTED: &str = "
        SELECT COUNT(*)
        FROM cifra_blob_deletions
        WHERE store = $1
          AND blob_key = $2
    ";
    let count: i64 = on!(c, c => sqlx::query_scalar(NOTED).bind(store).bind(key).fetch_one(&mut *c).await)?;
    Ok(count > 0)
}

/// Takes a row back: its blob is gone, or is needed after all. `false` if there is none whose time is `purge_after`:
/// somebody else has it.
pub async fn withdraw(c: &mut Conn, store: &str, key: &BlobKey, purge_after: Timestamp) -> Result<bool> {
    const WITHDRAW: &str = "
        DELETE FROM cifra_blob_deletions
        WHERE store = $1
          AND blob_key = $2
          AND purge_after = $3
    ";
    let withdrawn = on!(c, c => sqlx::query(WITHDRAW)
        .bind(store)
        .bind(key)
        .bind(purge_after)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(withdrawn > 0)
}
