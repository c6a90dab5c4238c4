//! Table `cifra_upload_parts`: the journal. A row is the receipt of a chunk; its commit is the acknowledgement.
//!
//! The counters in the upload's row move in the same transaction. Every change begins with a lock on that row
//! (PostgreSQL): changes of one upload happen one after the other, and claiming its end is one of them. [`scan`]
//! reads many receipts at once and removes those of ended uploads.

mod scan;

use uuid::Uuid;

pub use self::scan::{delete_of_ended, from, runs, set_synced, unsynced_of_other_boot};
use super::conn::{Conn, on};
use super::error::{damaged, number, to_row};
use super::uploads::{Moving, MovingRow, Upload, UploadRow, UploadState, moving_columns, upload_columns};
use crate::base::crc::Crc64;
use crate::base::{ChunkIndex, Error, Result, TenantId, Timestamp, UploadId};

const TABLE: &str = "cifra_upload_parts";

/// What the journal knows of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which chunk.
    pub index: ChunkIndex,
    /// Its bytes.
    pub size: u64,
    /// Its checksum.
    pub crc64: Crc64,
    /// The store's name for its bytes, where it has one.
    pub etag: Option<String>,
    /// Its bytes survive the loss of power.
    pub synced: bool,
    /// The run of the kernel that wrote it: one that is not synced, of another run, may be lost.
    pub boot: Option<Uuid>,
    /// When it was journalled.
    pub received_at: Timestamp,
}

/// What the journal of an upload adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of chunks that have a receipt.
    pub received_bytes: u64,
    /// Chunks that have a receipt.
    pub received_chunks: u32,
}

/// What became of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It counts.
    Counted(Counts),
    /// The upload takes no chunks any more.
    Refused(UploadState),
    /// The chunk has a receipt already; nothing was changed.
    Duplicate,
    /// No such upload.
    Missing,
}

/// What became of a withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// The receipt is gone; the upload's new count of withdrawals.
    Done {
        /// See [`Upload::withdrawals`].
        withdrawals: u64,
    },
    /// The chunk had no receipt.
    NoReceipt,
    /// The upload does not change any more.
    Refused(UploadState),
    /// No such upload.
    Missing,
}

#[derive(sqlx::FromRow)]
struct ReceiptRow {
    chunk_index: i64,
    size: i64,
    crc64: i64,
    etag: Option<String>,
    synced: bool,
    boot: Option<Uuid>,
    received_at: Timestamp,
}

impl ReceiptRow {
    fn receipt(self, id: UploadId) -> Result<Receipt> {
        Ok(Receipt {
            index: ChunkIndex::new(number(TABLE, id, self.chunk_index)?),
            size: number(TABLE, id, self.size)?,
            crc64: Crc64::from_i64(self.crc64),
            etag: self.etag,
            synced: self.synced,
            boot: self.boot,
            received_at: self.received_at,
        })
    }
}

/// The same columns where the receipt may be missing.
#[derive(sqlx::FromRow)]
struct MaybeReceiptRow {
    chunk_index: Option<i64>,
    size: Option<i64>,
    crc64: Option<i64>,
    etag: Option<String>,
    synced: Option<bool>,
    boot: Option<Uuid>,
    received_at: Option<Timestamp>,
}

impl MaybeReceiptRow {
    fn receipt(self, id: UploadId) -> Result<Option<Receipt>> {
        let Self { etag, boot, .. } = self;
        match (self.chunk_index, self.size, self.crc64, self.synced, self.received_at) {
            (Some(chunk_index), Some(size), Some(crc64), Some(synced), Some(received_at)) => {
                let row = ReceiptRow { chunk_index, size, crc64, etag, synced, boot, received_at };
                row.receipt(id).map(Some)
            }
            _ => Ok(None),
        }
    }
}

#[derive(sqlx::FromRow)]
struct StateRow {
    #[sqlx(flatten)]
    upload: UploadRow,
    #[sqlx(flatten)]
    receipt: MaybeReceiptRow,
}

#[derive(sqlx::FromRow)]
struct MovingStateRow {
    #[sqlx(flatten)]
    moving: MovingRow,
    #[sqlx(flatten)]
    receipt: MaybeReceiptRow,
}

/// An upload and the receipt of one of its chunks, at one point in time.
pub async fn read(
    c: &mut Conn,
    tenant: &TenantId,
    id: UploadId,
    index: ChunkIndex,
) -> Result<Option<(Upload, Option<Receipt>)>> {
    const READ: &str = concat!(
        "SELECT ",
        upload_columns!(),
        ", chunk_index, size, crc64, etag, synced, boot, received_at
        FROM cifra_uploads
        LEFT JOIN cifra_upload_parts ON upload_id = id AND chunk_index = $3
        WHERE tenant_id = $1
          AND id = $2"
    );
    let row: Option<StateRow> = on!(c, c => sqlx::query_as(READ)
        .bind(tenant)
        .bind(id)
        .bind(i64::from(index.get()))
        .fetch_optional(&mut *c)
        .await)?;
    row.map(|row| Ok((Upload::try_from(row.upload)?, row.receipt.receipt(id)?))).transpose()
}

/// The same, without what never changes.
pub async fn read_moving(
    c: &mut Conn,
    tenant: &TenantId,
    id: UploadId,
    index: ChunkIndex,
) -> Result<Option<(Moving, Option<Receipt>)>> {
    const READ: &str = concat!(
        "SELECT ",
        moving_columns!(),
        ", chunk_index, size, crc64, etag, synced, boot, received_at
        FROM cifra_uploads
        LEFT JOIN cifra_upload_parts ON upload_id = id AND chunk_index = $3
        WHERE tenant_id = $1
          AND id = $2"
    );
    let row: Option<MovingStateRow> = on!(c, c => sqlx::query_as(READ)
        .bind(tenant)
        .bind(id)
        .bind(i64::from(index.get()))
        .fetch_optional(&mut *c)
        .await)?;
    row.map(|row| Ok((row.moving.moving(id)?, row.receipt.receipt(id)?))).transpose()
}

/// Journals a receipt while the upload is `receiving`, and prolongs it until `expires_at`.
///
/// Of two receipts of one chunk at once one counts. Once an end is claimed none counts any more.
pub async fn record(
    c: &mut Conn,
    id: UploadId,
    receipt: &Receipt,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<Recorded> {
    let (index, size) = (i64::from(receipt.index.get()), to_row(receipt.size)?);
    lock(c, id).await?;
    let text = match c {
        Conn::Sqlite(_) => INSERT_THEN_COUNT,
        Conn::Postgres(_) => INSERT_AND_COUNT,
    };
    let counts: Option<(i64, i64)> = on!(c, c => sqlx::query_as(text)
        .bind(id)
        .bind(index)
        .bind(size)
        .bind(receipt.crc64.to_i64())
        .bind(&receipt.etag)
        .bind(receipt.synced)
        .bind(receipt.boot)
        .bind(receipt.received_at)
        .bind(now)
        .bind(expires_at)
        .fetch_optional(&mut *c)
        .await)?;
    let Some((received_bytes, received_chunks)) = counts else { return why_not(c, id, index).await };
    Ok(Recorded::Counted(Counts {
        received_bytes: number("cifra_uploads", id, received_bytes)?,
        received_chunks: number("cifra_uploads", id, received_chunks)?,
    }))
}

/// SQLite has one writer: nothing changes between the two statements, which go to its thread together (each way
/// there and back wakes two threads). `changes()` tells whether the first one added the row.
const INSERT_THEN_COUNT: &str = "
    INSERT INTO cifra_upload_parts (upload_id, chunk_index, size, crc64, etag, synced, boot, received_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8
    FROM cifra_uploads
    WHERE id = $1
      AND state = 'receiving'
    ON CONFLICT DO NOTHING;
    UPDATE cifra_uploads
    SET received_bytes = received_bytes + $3, received_chunks = received_chunks + 1, updated_at = $9,
        expires_at = $10
    WHERE id = $1
      AND changes() > 0
    RETURNING received_bytes, received_chunks
";

/// PostgreSQL: the same in one statement, under the lock that every change of an upload begins with. The lock is
/// a statement of its own: this one must see the row as those before have left it. (One that waits inside of itself
/// first computes with the old row, and its CHECK on the counters fails before it looks again.)
const INSERT_AND_COUNT: &str = "
    WITH receipt AS (
        INSERT INTO cifra_upload_parts (upload_id, chunk_index, size, crc64, etag, synced, boot, received_at)
        SELECT id, $2, $3, $4, $5, $6, $7, $8
        FROM cifra_uploads
        WHERE id = $1
          AND state = 'receiving'
        ON CONFLICT DO NOTHING
        RETURNING size
    )
    UPDATE cifra_uploads
    SET received_bytes = received_bytes + receipt.size, received_chunks = received_chunks + 1, updated_at = $9,
        expires_at = $10
    FROM receipt
    WHERE id = $1
    RETURNING received_bytes, received_chunks
";

async fn why_not(c: &mut Conn, id: UploadId, index: i64) -> Result<Recorded> {
    Ok(match look(c, id, index).await? {
        None => Recorded::Missing,
        Some(Look { state: UploadState::Receiving, exists: true, .. }) => Recorded::Duplicate,
        // Between the two statements (PostgreSQL) a claim was let go, or a receipt withdrawn: come back.
        Some(Look { state: UploadState::Receiving, .. }) => {
            return Err(Error::unavailable("the upload is changing", "a receipt raced with a change"));
        }
        Some(Look { state, .. }) => Recorded::Refused(state),
    })
}

/// What a change that did not happen finds in its way.
struct Look {
    state: UploadState,
    fence: i64,
    exists: bool,
}

async fn look(c: &mut Conn, id: UploadId, index: i64) -> Result<Option<Look>> {
    const LOOK: &str = "
        SELECT state, finish_fence,
            EXISTS (SELECT 1 FROM cifra_upload_parts WHERE upload_id = $1 AND chunk_index = $2)
        FROM cifra_uploads
        WHERE id = $1
    ";
    let row: Option<(String, i64, bool)> =
        on!(c, c => sqlx::query_as(LOOK).bind(id).bind(index).fetch_optional(&mut *c).await)?;
    let Some((state, fence, exists)) = row else { return Ok(None) };
    let state = state.parse().map_err(|_| damaged("cifra_uploads", id, "unknown state"))?;
    Ok(Some(Look { state, fence, exists }))
}

/// Takes a receipt back: the chunk is missing again, and so are the checkpoints that had seen its bytes.
///
/// While the upload is `receiving`; or by the holder of the claim on finishing it, who shows its `fence`, and only by
/// them: a holder who woke up late must not take back what was sent again since.
pub async fn withdraw(
    c: &mut Conn,
    id: UploadId,
    index: ChunkIndex,
    fence: Option<i64>,
    now: Timestamp,
) -> Result<Withdrawn> {
    const DELETE: &str = "
        DELETE FROM cifra_upload_parts
        WHERE upload_id = $1
          AND chunk_index = $2
          AND EXISTS (
            SELECT 1
            FROM cifra_uploads
            WHERE id = $1
              AND ((state = 'finalizing' AND finish_fence = $3) OR (state = 'receiving' AND $3 IS NULL))
          )
        RETURNING size
    ";
    const COUNT: &str = "
        UPDATE cifra_uploads
        SET received_bytes = received_bytes - $2, received_chunks = received_chunks - 1,
            withdrawals = withdrawals + 1, updated_at = $3
        WHERE id = $1
        RETURNING withdrawals, chunk_size
    ";
    const REWIND: &str = "
        DELETE FROM cifra_upload_checkpoints
        WHERE upload_id = $1
          AND front_bytes > $2
    ";
    let row_index = i64::from(index.get());
    lock(c, id).await?;
    let delete = on!(c, c => sqlx::query_scalar(DELETE)
        .bind(id)
        .bind(row_index)
        .bind(fence)
        .fetch_optional(&mut *c)
        .await);
    let size: Option<i64> = delete?;
    let Some(size) = size else {
        return Ok(match look(c, id, row_index).await? {
            None => Withdrawn::Missing,
            Some(Look { exists: false, state: UploadState::Receiving, .. }) => Withdrawn::NoReceipt,
            Some(Look { exists: false, state: UploadState::Finalizing, fence: now, .. })
                if fence == Some(now) =>
            {
                Withdrawn::NoReceipt
            }
            Some(Look { state, .. }) => Withdrawn::Refused(state),
        });
    };
    let (withdrawals, chunk_size): (i64, i64) = on!(c, c => sqlx::query_as(COUNT)
        .bind(id)
        .bind(size)
        .bind(now)
        .fetch_one(&mut *c)
        .await)?;
    let start = row_index.saturating_mul(chunk_size);
    on!(c, c => sqlx::query(REWIND).bind(id).bind(start).execute(&mut *c).await.map(drop))?;
    Ok(Withdrawn::Done { withdrawals: number("cifra_uploads", id, withdrawals)? })
}

/// PostgreSQL: waits for changes of this upload that are under way and keeps others waiting. The statements
/// after it see what those before have left. SQLite has one writer.
pub(super) async fn lock(c: &mut Conn, id: UploadId) -> Result<()> {
    const LOCK: &str = "SELECT 1 FROM cifra_uploads WHERE id = $1 FOR NO KEY UPDATE";
    if let Conn::Postgres(c) = c {
        sqlx::query(LOCK).bind(id).execute(&mut **c).await?;
    }
    Ok(())
}
