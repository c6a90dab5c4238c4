//! Table `cifra_file_metadata`: the metadata of files once more, pair by pair, for the list's filter.

use crate::base::metadata::Metadata;
use crate::base::{FileId, Result, TenantId, Timestamp};
use crate::db::conn::{Conn, on};
use crate::db::uploads::pair_hash;

/// Adds the pairs of a file; those that are there already stay. One statement, however many there are.
pub(super) async fn insert(
    c: &mut Conn,
    tenant: &TenantId,
    id: FileId,
    created_at: Timestamp,
    metadata: &Metadata,
) -> Result<()> {
    let count = metadata.iter().count();
    if count == 0 {
        return Ok(());
    }
    let text = insert_text(count);
    Ok(on!(c, c => {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(id).bind(tenant).bind(created_at);
        for (position, (key, value)) in (0_i64..).zip(metadata.iter()) {
            query = query.bind(position).bind(pair_hash(key, value)).bind(key).bind(value);
        }
        query.execute(&mut *c).await.map(drop)
    })?)
}

/// A row for each of `count` pairs: at most 64 texts.
fn insert_text(count: usize) -> String {
    let row = |n: usize| {
        let first = 4 + 4 * n;
        format!("($1, ${first}, $2, ${}, $3, ${}, ${})", first + 1, first + 2, first + 3)
    };
    let rows: Vec<String> = (0..count).map(row).collect();
    format!(
        "INSERT INTO cifra_file_metadata (file_id, position, tenant_id, pair_hash, created_at, key, value) \
         VALUES {} ON CONFLICT (file_id, position) DO NOTHING",
        rows.join(", ")
    )
}

/// Removes the pairs of a file.
pub(super) async fn delete(c: &mut Conn, tenant: &TenantId, id: FileId) -> Result<()> {
    const DELETE: &str = "
        DELETE FROM cifra_file_metadata
        WHERE file_id = $1
          AND tenant_id = $2
    ";
    Ok(on!(c, c => sqlx::query(DELETE).bind(id).bind(tenant).execute(&mut *c).await.map(drop))?)
}
