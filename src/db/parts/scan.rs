//! Many receipts at once: which chunks are there, in order, the suspects; and clearing the journals of ended
//! uploads in slices.

use uuid::Uuid;

use super::{Receipt, ReceiptRow};
use crate::base::crc::Crc64;
use crate::base::{ChunkIndex, Result, UploadId};
use crate::db::conn::{Conn, on};
use crate::db::error::number;

/// The ranges `(first, last)` (inclusive, ascending) of chunks that have a receipt, at most `limit` of them.
pub async fn runs(c: &mut Conn, id: UploadId, limit: u32) -> Result<Vec<(u32, u32)>> {
    // Index less row number is the same all along a run.
    const RUNS: &str = "
        SELECT MIN(chunk_index), MAX(chunk_index)
        FROM (
            SELECT chunk_index, chunk_index - ROW_NUMBER() OVER (ORDER BY chunk_index) AS island
            FROM cifra_upload_parts
            WHERE upload_id = $1
        ) AS numbered
        GROUP BY island
        ORDER BY 1
        LIMIT $2
    ";
    let rows: Vec<(i64, i64)> =
        on!(c, c => sqlx::query_as(RUNS).bind(id).bind(i64::from(limit)).fetch_all(&mut *c).await)?;
    rows.into_iter()
        .map(|(first, last)| Ok((number(super::TABLE, id, first)?, number(super::TABLE, id, last)?)))
        .collect()
}

/// Receipts from chunk `first` on, ascending, at most `limit`; gaps are simply not there.
pub async fn from(c: &mut Conn, id: UploadId, first: u32, limit: u32) -> Result<Vec<Receipt>> {
    const FROM: &str = "
        SELECT chunk_index, size, crc64, etag, synced, boot, received_at
        FROM cifra_upload_parts
        WHERE upload_id = $1
          AND chunk_index >= $2
        ORDER BY chunk_index
        LIMIT $3
    ";
    let rows: Vec<ReceiptRow> = on!(c, c => sqlx::query_as(FROM)
        .bind(id)
        .bind(i64::from(first))
        .bind(i64::from(limit))
        .fetch_all(&mut *c)
        .await)?;
    rows.into_iter().map(|row| row.receipt(id)).collect()
}

/// Receipts that the loss of power may have belied: not synced, and written by another run of the kernel than
/// `boot` (or by one that did not know its own). From chunk `first` on, ascending, at most `limit`.
pub async fn unsynced_of_other_boot(
    c: &mut Conn,
    id: UploadId,
    boot: Uuid,
    first: u32,
    limit: u32,
) -> Result<Vec<Receipt>> {
    const SUSPECTS: &str = "
        SELECT chunk_index, size, crc64, etag, synced, boot, received_at
        FROM cifra_upload_parts
        WHERE upload_id = $1
          AND chunk_index >= $2
          AND synced = FALSE
          AND (boot IS NULL OR boot <> $3)
        ORDER BY chunk_index
        LIMIT $4
    ";
    let rows: Vec<ReceiptRow> = on!(c, c => sqlx::query_as(SUSPECTS)
        .bind(id)
        .bind(i64::from(first))
        .bind(boot)
        .bind(i64::from(limit))
        .fetch_all(&mut *c)
        .await)?;
    rows.into_iter().map(|row| row.receipt(id)).collect()
}

/// Notes that the bytes of a chunk are safe. `false` if there is no receipt with this checksum any more: then it
/// was replaced in the meantime, and nothing is known of the new bytes.
pub async fn set_synced(c: &mut Conn, id: UploadId, index: ChunkIndex, crc64: Crc64) -> Result<bool> {
    const SYNCED: &str = "
        UPDATE cifra_upload_parts
        SET synced = TRUE
        WHERE upload_id = $1
          AND chunk_index = $2
          AND crc64 = $3
    ";
    let marked = on!(c, c => sqlx::query(SYNCED)
        .bind(id)
        .bind(i64::from(index.get()))
        .bind(crc64.to_i64())
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(marked > 0)
}

/// Removes receipts and checkpoints of uploads that have ended (completed, aborted or expired): about
/// `limit_rows` rows a call. Returns how much it did; 0 when nothing is left to do.
pub async fn delete_of_ended(c: &mut Conn, limit_rows: u32) -> Result<u64> {
    const NEXT: &str = "
        SELECT id
        FROM cifra_uploads
        WHERE state IN ('completed', 'aborted', 'expired')
          AND journal_cleared = FALSE
        ORDER BY ended_at
        LIMIT 1
    ";
    let limit = u64::from(limit_rows.max(1));
    let mut done = 0;
    while done < limit {
        let id: Option<UploadId> = on!(c, c => sqlx::query_scalar(NEXT).fetch_optional(&mut *c).await)?;
        let Some(id) = id else { break };
        let deleted = delete_some(c, id, limit - done).await?;
        done += deleted;
        if done < limit {
            clear(c, id).await?;
            done += 1; // an upload without chunks is work, too
        }
    }
    Ok(done)
}

async fn delete_some(c: &mut Conn, id: UploadId, limit: u64) -> Result<u64> {
    const SLICE: &str = "
        DELETE FROM cifra_upload_parts
        WHERE upload_id = $1
          AND chunk_index IN (
            SELECT chunk_index
            FROM cifra_upload_parts
            WHERE upload_id = $1
            ORDER BY chunk_index
            LIMIT $2
        )
    ";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok(on!(c, c => sqlx::query(SLICE)
        .bind(id)
        .bind(limit)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?)
}

/// The upload has no receipts any more; its checkpoints (one per 64 MiB) go with one statement.
async fn clear(c: &mut Conn, id: UploadId) -> Result<()> {
    const CHECKPOINTS: &str = "DELETE FROM cifra_upload_checkpoints WHERE upload_id = $1";
    const CLEARED: &str = "UPDATE cifra_uploads SET journal_cleared = TRUE WHERE id = $1";
    on!(c, c => sqlx::query(CHECKPOINTS).bind(id).execute(&mut *c).await.map(drop))?;
    Ok(on!(c, c => sqlx::query(CLEARED).bind(id).execute(&mut *c).await.map(drop))?)
}
