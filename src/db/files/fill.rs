//! Rows of `cifra_files` from before migration 3: their keys and pairs are made by the program, not by SQL, so
//! that the folding of names is the same for all. Called after migrations, before anything else is at work.

use super::{FileRow, Keys, file_columns, pairs};
use crate::base::Result;
use crate::db::conn::{Conn, on};
use crate::db::files::File;

/// Fills at most `limit` rows; returns how many there were. Can be repeated, by several nodes at once.
pub async fn fill(c: &mut Conn, limit: u32) -> Result<usize> {
    const UNFILLED: &str = concat!(
        "SELECT ",
        file_columns!(),
        "
        FROM cifra_files f
        WHERE f.filename_key IS NULL
        ORDER BY f.id
        LIMIT $1"
    );
    const FILL: &str = "
        UPDATE cifra_files
        SET filename_key = $2, media_kind = $3, media_type = $4
        WHERE id = $1
    ";
    let rows: Vec<FileRow> =
        on!(c, c => sqlx::query_as(UNFILLED).bind(i64::from(limit)).fetch_all(&mut *c).await)?;
    let count = rows.len();
    for row in rows {
        let file = File::try_from(row)?;
        let keys = Keys::of(&file.filename, &file.content_type);
        on!(c, c => sqlx::query(FILL)
            .bind(file.id)
            .bind(&keys.filename_key)
            .bind(&keys.media_kind)
            .bind(&keys.media_type)
            .execute(&mut *c)
            .await
            .map(drop))?;
        pairs::insert(c, &file.tenant, file.id, file.created_at, &file.metadata).await?;
    }
    Ok(count)
}
