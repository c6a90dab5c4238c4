//! Walking over all pictures, a few at a time, in the order in which they came.

use crate::base::{FileId, Result, TenantId, Timestamp};
use crate::db::conn::{Conn, on};

/// The pictures of `tenant` that came after `after`, the oldest first, at most `limit`.
pub async fn pictures(
    c: &mut Conn,
    tenant: &TenantId,
    after: (Timestamp, FileId),
    limit: u32,
) -> Result<Vec<(Timestamp, FileId)>> {
    const PICTURES: &str = "
        SELECT created_at, id
        FROM cifra_files
        WHERE tenant_id = $1
          AND media_kind = 'image'
          AND (created_at, id) > ($2, $3)
        ORDER BY created_at, id
        LIMIT $4
    ";
    Ok(on!(c, c => sqlx::query_as(PICTURES)
        .bind(tenant)
        .bind(after.0)
        .bind(after.1)
        .bind(i64::from(limit))
        .fetch_all(&mut *c)
        .await)?)
}

/// The first tenant after `after` (empty: the first of all) that has any file.
pub async fn next_tenant(c: &mut Conn, after: &str) -> Result<Option<TenantId>> {
    const NEXT: &str = "
        SELECT MIN(tenant_id)
        FROM cifra_files
        WHERE tenant_id > $1
    ";
    Ok(on!(c, c => sqlx::query_scalar(NEXT).bind(after).fetch_one(&mut *c).await)?)
}
