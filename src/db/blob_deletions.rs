//! Table `cifra_blob_deletions`: blobs to be removed from their store, and when. Nothing is removed without a
//! row here; the row goes when the blob is gone.

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

/// Blobs of `store` whose time has come, the longest overdue first, at most `limit`.
pub async fn due(c: &mut Conn, store: &str, now: Timestamp, limit: u32) -> Result<Vec<BlobKey>> {
    const DUE: &str = "
        SELECT blob_key
        FROM cifra_blob_deletions
        WHERE store = $1
          AND purge_after <= $2
        ORDER BY purge_after, blob_key
        LIMIT $3
    ";
    Ok(on!(c, c => sqlx::query_scalar(DUE)
        .bind(store)
        .bind(now)
        .bind(i64::from(limit))
        .fetch_all(&mut *c)
        .await)?)
}

/// The blob is gone (or is needed after all). `false` if it was not noted.
pub async fn remove(c: &mut Conn, store: &str, key: &BlobKey) -> Result<bool> {
    const REMOVE: &str = "
        DELETE FROM cifra_blob_deletions
        WHERE store = $1
          AND blob_key = $2
    ";
    let removed = on!(c, c => sqlx::query(REMOVE)
        .bind(store)
        .bind(key)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(removed > 0)
}
