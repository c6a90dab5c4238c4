//! What the sweeper looks for, and its marks. Over all tenants, one store at a time: the sweeper serves them all.

use super::{Upload, UploadRow, upload_columns};
use crate::base::{PartsId, Result, Timestamp, UploadId};
use crate::db::conn::{Conn, on};
use crate::db::error::number;

/// Uploads of `store` that still wait for their client and whose time is over, the longest over first.
pub async fn expired(c: &mut Conn, store: &str, now: Timestamp, limit: u32) -> Result<Vec<Upload>> {
    const EXPIRED: &str = concat!(
        "SELECT ",
        upload_columns!(),
        "
        FROM cifra_uploads
        WHERE store = $1
          AND state IN ('receiving', 'sealed')
          AND expires_at <= $2
        ORDER BY expires_at, id
        LIMIT $3"
    );
    select(c, EXPIRED, store, now, limit).await
}

/// Uploads of `store` whose claim on finishing ran out: whoever held it is gone, and they wait to be finished.
pub async fn abandoned(c: &mut Conn, store: &str, now: Timestamp, limit: u32) -> Result<Vec<Upload>> {
    const ABANDONED: &str = concat!(
        "SELECT ",
        upload_columns!(),
        "
        FROM cifra_uploads
        WHERE store = $1
          AND state = 'finalizing'
          AND finish_until <= $2
        ORDER BY finish_until, id
        LIMIT $3"
    );
    select(c, ABANDONED, store, now, limit).await
}

/// Aborted and expired uploads of `store` whose bytes are not removed yet, the oldest first.
pub async fn uncleared(c: &mut Conn, store: &str, limit: u32) -> Result<Vec<Upload>> {
    const UNCLEARED: &str = concat!(
        "SELECT ",
        upload_columns!(),
        "
        FROM cifra_uploads
        WHERE store = $1
          AND state IN ('aborted', 'expired')
          AND bytes_cleared = FALSE
          AND ended_at <= $2
        ORDER BY ended_at, id
        LIMIT $3"
    );
    select(c, UNCLEARED, store, Timestamp::from_micros(i64::MAX), limit).await
}

async fn select(
    c: &mut Conn,
    text: &'static str,
    store: &str,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Upload>> {
    let rows: Vec<UploadRow> = on!(c, c => sqlx::query_as(text)
        .bind(store)
        .bind(until)
        .bind(i64::from(limit))
        .fetch_all(&mut *c)
        .await)?;
    rows.into_iter().map(Upload::try_from).collect()
}

/// Notes that the bytes of an aborted or expired upload are removed. `false` if there is no such upload.
pub async fn set_cleared(c: &mut Conn, id: UploadId) -> Result<bool> {
    const CLEARED: &str = "
        UPDATE cifra_uploads
        SET bytes_cleared = TRUE
        WHERE id = $1
          AND state IN ('aborted', 'expired')
    ";
    let marked = on!(c, c => sqlx::query(CLEARED)
        .bind(id)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(marked > 0)
}

/// Uploads that were aborted or expired before `before` and can be forgotten, the oldest first, at most `limit`.
///
/// Only those whose bytes are cleared ([`set_cleared`]) and whose journal is ([`crate::db::parts::delete_of_ended`]),
/// so that [`forget`] never removes a million receipts.
pub async fn forgettable(c: &mut Conn, before: Timestamp, limit: u32) -> Result<Vec<Upload>> {
    const FORGETTABLE: &str = concat!(
        "SELECT ",
        upload_columns!(),
        "
        FROM cifra_uploads
        WHERE state IN ('aborted', 'expired')
          AND bytes_cleared = TRUE
          AND journal_cleared = TRUE
          AND ended_at < $1
        ORDER BY ended_at
        LIMIT $2"
    );
    let rows: Vec<UploadRow> = on!(c, c => sqlx::query_as(FORGETTABLE)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(&mut *c)
        .await)?;
    rows.into_iter().map(Upload::try_from).collect()
}

/// Removes the row of such an upload, with its metadata. `false` if somebody else was faster.
pub async fn forget(c: &mut Conn, id: UploadId) -> Result<bool> {
    const FORGET: &str = "
        DELETE FROM cifra_uploads
        WHERE id = $1
          AND state IN ('aborted', 'expired')
          AND bytes_cleared = TRUE
          AND journal_cleared = TRUE
    ";
    let forgotten = on!(c, c => sqlx::query(FORGET)
        .bind(id)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(forgotten > 0)
}

/// Bytes that uploads of `store` may still bring: what they announced, less what came.
pub async fn reserved_bytes(c: &mut Conn, store: &str) -> Result<u64> {
    // The sum of BIGINTs is a NUMERIC on PostgreSQL.
    const RESERVED: &str = "
        SELECT CAST(COALESCE(SUM(total_size - received_bytes), 0) AS BIGINT)
        FROM cifra_uploads
        WHERE store = $1
          AND state IN ('receiving', 'finalizing')
    ";
    let sum: i64 = on!(c, c => sqlx::query_scalar(RESERVED).bind(store).fetch_one(&mut *c).await)?;
    number("cifra_uploads", store, sum)
}

/// Whether an upload that may still need its staged bytes (or their removal) has them under `parts`.
pub async fn is_staged(c: &mut Conn, store: &str, parts: &PartsId) -> Result<bool> {
    const STAGED: &str = "
        SELECT COUNT(*)
        FROM cifra_uploads
        WHERE store = $1
          AND parts_id = $2
          AND state IN ('receiving', 'finalizing', 'sealed', 'aborted', 'expired')
    ";
    let count: i64 =
        on!(c, c => sqlx::query_scalar(STAGED).bind(store).bind(parts).fetch_one(&mut *c).await)?;
    Ok(count > 0)
}
