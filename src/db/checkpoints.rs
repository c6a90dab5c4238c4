//! Table `cifra_upload_checkpoints`: how far the SHA-256 of an upload has come, and its state there, so that a
//! crash or another node does not begin anew. What the state is, only the hasher knows.

use super::conn::{Conn, on};
use super::error::{number, to_row};
use super::parts;
use crate::base::{Result, UploadId};

/// A hash in the middle of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Bytes from the start of the upload that it has seen.
    pub offset: u64,
    /// Its state there.
    pub state: Vec<u8>,
}

/// The furthest checkpoint of an upload that has seen at most `at_most` bytes.
pub async fn latest(c: &mut Conn, id: UploadId, at_most: u64) -> Result<Option<Checkpoint>> {
    const LATEST: &str = "
        SELECT front_bytes, state
        FROM cifra_upload_checkpoints
        WHERE upload_id = $1
          AND front_bytes <= $2
        ORDER BY front_bytes DESC
        LIMIT 1
    ";
    let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
    let row: Option<(i64, Vec<u8>)> =
        on!(c, c => sqlx::query_as(LATEST).bind(id).bind(at_most).fetch_optional(&mut *c).await)?;
    row.map(|(offset, state)| {
        Ok(Checkpoint { offset: number("cifra_upload_checkpoints", id, offset)?, state })
    })
    .transpose()
}

/// Keeps a checkpoint, if no receipt was withdrawn since the upload's count of withdrawals was `withdrawals` and
/// the upload has not ended. `false` if not: then the hash may have seen bytes that do not count any more.
pub async fn put(c: &mut Conn, id: UploadId, checkpoint: &Checkpoint, withdrawals: u64) -> Result<bool> {
    // On PostgreSQL a withdrawal waits for this lock until the checkpoint is there to be removed.
    const STILL: &str = "
        SELECT COUNT(*)
        FROM cifra_uploads
        WHERE id = $1
          AND withdrawals = $2
          AND state IN ('receiving', 'finalizing')
    ";
    const PUT: &str = "
        INSERT INTO cifra_upload_checkpoints (upload_id, front_bytes, state)
        VALUES ($1, $2, $3)
        ON CONFLICT (upload_id, front_bytes) DO UPDATE SET state = excluded.state
    ";
    let (withdrawals, offset) = (to_row(withdrawals)?, to_row(checkpoint.offset)?);
    parts::lock(c, id).await?;
    let still: i64 = on!(c, c => sqlx::query_scalar(STILL)
        .bind(id)
        .bind(withdrawals)
        .fetch_one(&mut *c)
        .await)?;
    if still == 0 {
        return Ok(false);
    }
    on!(c, c => sqlx::query(PUT)
        .bind(id)
        .bind(offset)
        .bind(&checkpoint.state)
        .execute(&mut *c)
        .await
        .map(drop))?;
    Ok(true)
}
