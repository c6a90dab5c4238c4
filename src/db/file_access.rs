//! Table `cifra_file_access`: how often files were read, and when last. A file that nobody read has no row; the row goes
//! with the file's.

use super::conn::{Conn, on};
use super::error::number;
use crate::base::{FileId, Result, TenantId, Timestamp};

/// How often a file was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reads {
    /// How often.
    pub reads: u64,
    /// When last; `None`: never.
    pub last_read_at: Option<Timestamp>,
}

const TABLE: &str = "cifra_file_access";

/// How often the file `id` of `tenant` was read.
pub async fn get(c: &mut Conn, tenant: &TenantId, id: FileId) -> Result<Reads> {
    const GET: &str = "
        SELECT reads, last_read_at
        FROM cifra_file_access
        WHERE tenant_id = $1
          AND file_id = $2
    ";
    let row: Option<(i64, Timestamp)> =
        on!(c, c => sqlx::query_as(GET).bind(tenant).bind(id).fetch_optional(&mut *c).await)?;
    let Some((reads, last_read_at)) = row else { return Ok(Reads::default()) };
    Ok(Reads { reads: number(TABLE, id, reads)?, last_read_at: Some(last_read_at) })
}

/// Only while the file is there. On PostgreSQL whoever deletes it waits, or is waited for; SQLite has one writer.
macro_rules! add {
    ($lock:literal) => {
        concat!(
            "
        INSERT INTO cifra_file_access (file_id, tenant_id, reads, last_read_at)
        SELECT id, tenant_id, CAST($3 AS BIGINT), CAST($4 AS BIGINT)
        FROM cifra_files
        WHERE tenant_id = $1
          AND id = $2
        ",
            $lock,
            "
        ON CONFLICT (file_id) DO UPDATE
        SET reads = cifra_file_access.reads + excluded.reads,
            last_read_at = CASE
                WHEN excluded.last_read_at > cifra_file_access.last_read_at THEN excluded.last_read_at
                ELSE cifra_file_access.last_read_at
            END
    "
        )
    };
}

/// The file was read `reads` times more, the last time at `last`. Of a file that is gone nothing is noted.
pub async fn add(c: &mut Conn, tenant: &TenantId, id: FileId, reads: u32, last: Timestamp) -> Result<()> {
    let text = match c {
        Conn::Sqlite(_) => add!(""),
        Conn::Postgres(_) => add!("FOR KEY SHARE"),
    };
    Ok(on!(c, c => sqlx::query(text)
        .bind(tenant)
        .bind(id)
        .bind(i64::from(reads))
        .bind(last)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// The files that were read last, of all tenants, the latest first, at most `limit`.
pub async fn recent(c: &mut Conn, limit: u32) -> Result<Vec<(TenantId, FileId)>> {
    const RECENT: &str = "
        SELECT tenant_id, file_id
        FROM cifra_file_access
        ORDER BY last_read_at DESC
        LIMIT $1
    ";
    Ok(on!(c, c => sqlx::query_as(RECENT).bind(i64::from(limit)).fetch_all(&mut *c).await)?)
}
