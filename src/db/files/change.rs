//! Changing a file's record: its name and its metadata, never its bytes.

use super::{File, Keys, pairs};
use crate::base::Result;
use crate::db::conn::{Conn, on};

/// Writes name, metadata, `updated_at` and `version` of `file`, if the row still has the version before it. `false` if
/// somebody else changed it meanwhile, or it is gone: then nothing is written.
pub async fn change(c: &mut Conn, file: &File) -> Result<bool> {
    const CHANGE: &str = "
        UPDATE cifra_files
        SET filename = $4, filename_key = $5, metadata = $6, updated_at = $7, version = version + 1
        WHERE tenant_id = $1
          AND id = $2
          AND version = $3
    ";
    let changed = on!(c, c => sqlx::query(CHANGE)
        .bind(&file.tenant)
        .bind(file.id)
        .bind(file.version - 1)
        .bind(&file.filename)
        .bind(Keys::of(&file.filename, &file.content_type).filename_key)
        .bind(file.metadata.to_json())
        .bind(file.updated_at)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    if changed == 0 {
        return Ok(false);
    }
    pairs::delete(c, &file.tenant, file.id).await?;
    pairs::insert(c, &file.tenant, file.id, file.created_at, &file.metadata).await?;
    Ok(true)
}
