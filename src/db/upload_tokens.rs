//! Tables `cifra_upload_token_uses` and `cifra_granted_uploads`: how often an upload token was used, and for what.
//! The tokens themselves are nowhere: they are signed texts (`auth`).

use super::conn::{Conn, on};
use super::error::damaged;
use crate::base::grant::{Grant, TypePattern};
use crate::base::{Code, Error, Result, TenantId, Timestamp, TokenId, UploadId};

/// Counts one more file of the token, in the transaction that begins or makes it.
///
/// # Errors
/// `Forbidden` `{ max_files }` when it was used for as many as it allows.
pub async fn take(c: &mut Conn, tenant: &TenantId, grant: &Grant) -> Result<()> {
    const TAKE: &str = "
        INSERT INTO cifra_upload_token_uses (token_id, tenant_id, files, expires_at)
        VALUES ($1, $2, 1, $3)
        ON CONFLICT (token_id) DO UPDATE
        SET files = cifra_upload_token_uses.files + 1
        WHERE cifra_upload_token_uses.files < $4
    ";
    let max = grant.max_files.map_or(i64::MAX, |max| i64::try_from(max).unwrap_or(i64::MAX));
    let taken = on!(c, c => sqlx::query(TAKE)
        .bind(grant.token)
        .bind(tenant)
        .bind(grant.expires_at)
        .bind(max)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    if taken > 0 {
        return Ok(());
    }
    let detail = format!("this token was for {max} files, which have come: ask for a new one");
    Err(Error::new(Code::Forbidden, detail).with("max_files", max))
}

/// Notes that the token began this upload.
pub async fn begin(c: &mut Conn, tenant: &TenantId, grant: &Grant, upload: UploadId) -> Result<()> {
    const BEGIN: &str = "
        INSERT INTO cifra_granted_uploads (upload_id, tenant_id, token_id, content_types)
        VALUES ($1, $2, $3, $4)
    ";
    Ok(on!(c, c => sqlx::query(BEGIN)
        .bind(upload)
        .bind(tenant)
        .bind(grant.token)
        .bind(grant.content_types.as_deref().map(text_of))
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// The token that began this upload.
pub async fn of_upload(c: &mut Conn, tenant: &TenantId, upload: UploadId) -> Result<Option<TokenId>> {
    const OF_UPLOAD: &str = "
        SELECT token_id
        FROM cifra_granted_uploads
        WHERE tenant_id = $1
          AND upload_id = $2
    ";
    Ok(on!(c, c => sqlx::query_scalar(OF_UPLOAD).bind(tenant).bind(upload).fetch_optional(&mut *c).await)?)
}

/// The media types that the file of this upload may have; `None`: any.
pub async fn content_types(
    c: &mut Conn,
    tenant: &TenantId,
    upload: UploadId,
) -> Result<Option<Vec<TypePattern>>> {
    const CONTENT_TYPES: &str = "
        SELECT content_types
        FROM cifra_granted_uploads
        WHERE tenant_id = $1
          AND upload_id = $2
    ";
    let types: Option<Option<String>> = on!(c, c => sqlx::query_scalar(CONTENT_TYPES)
        .bind(tenant)
        .bind(upload)
        .fetch_optional(&mut *c)
        .await)?;
    let read = |types: String| types.split(',').map(str::parse).collect::<Result<Vec<_>>>();
    let damaged = |_| damaged("cifra_granted_uploads", upload, "the content types cannot be read");
    types.flatten().map(read).transpose().map_err(damaged)
}

fn text_of(types: &[TypePattern]) -> String {
    let types: Vec<&str> = types.iter().map(TypePattern::as_str).collect();
    types.join(",")
}

/// Forgets the uses of tokens that ended by `now`, at most `limit`; answers how many.
pub async fn prune(c: &mut Conn, now: Timestamp, limit: u32) -> Result<u64> {
    const PRUNE: &str = "
        DELETE FROM cifra_upload_token_uses
        WHERE token_id IN (
            SELECT token_id
            FROM cifra_upload_token_uses
            WHERE expires_at <= $1
            ORDER BY expires_at
            LIMIT $2
        )
    ";
    Ok(on!(c, c => sqlx::query(PRUNE)
        .bind(now)
        .bind(i64::from(limit))
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?)
}
