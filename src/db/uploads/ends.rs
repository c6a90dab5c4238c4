//! How an upload ends: claimed, fenced, repeatable.
//!
//! Who finishes an upload holds a claim with a number (the fence) that only grows. Whoever has an older number
//! can change nothing any more, however late they wake up. Each step is one conditional UPDATE, so that of two
//! at once one wins, on both engines; what the loser learns is read afterwards.

use uuid::Uuid;

use super::{Upload, UploadRow, UploadState, upload_columns};
use crate::base::digest::Checksum;
use crate::base::{Result, TenantId, Timestamp, UploadId};
use crate::db::conn::{Conn, on};
use crate::db::error::{damaged, to_row};
use crate::db::usage::{self, Change};

/// What became of the wish to finish an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishClaim {
    /// It is the caller's, until they let it go or its time is over.
    Claimed {
        /// The claim's number, to be shown with each later step.
        fence: i64,
        /// The upload, in state `finalizing`.
        upload: Box<Upload>,
    },
    /// Somebody else's.
    Held {
        /// Until then, if they don't renew it.
        until: Timestamp,
    },
    /// There is nothing left to finish.
    Ended(UploadState),
    /// No such upload.
    Missing,
}

/// What became of the wish to end an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndOutcome {
    /// It ended now; the upload as it is after.
    Ended(Box<Upload>),
    /// It had ended before.
    Already(UploadState),
    /// Somebody is finishing it; or, for `Expired`, a chunk came in the meantime and it lives on.
    Busy,
    /// No such upload.
    Missing,
}

/// Where a claim that is let go leaves its upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It takes chunks again.
    Receiving,
    /// Its bytes are put together: it is finalized once more, or aborted, or it expires.
    Sealed {
        /// When.
        expires_at: Timestamp,
    },
}

/// Claims the finishing of an upload that is `receiving` or `sealed`, or whose claim ran out, until `until`. `declared`
/// is kept with the claim, for whoever has to go on in its holder's place.
pub async fn claim_finish(
    c: &mut Conn,
    tenant: &TenantId,
    id: UploadId,
    node: Uuid,
    declared: Option<Checksum>,
    now: Timestamp,
    until: Timestamp,
) -> Result<FinishClaim> {
    const CLAIM: &str = concat!(
        "
        UPDATE cifra_uploads
        SET state = 'finalizing', finish_node = $3, finish_until = $4, finish_fence = finish_fence + 1,
            finish_checksum = $6, updated_at = $5
        WHERE tenant_id = $1
          AND id = $2
          AND (state IN ('receiving', 'sealed') OR (state = 'finalizing' AND finish_until <= $5))
        RETURNING ",
        upload_columns!()
    );
    let row: Option<UploadRow> = on!(c, c => sqlx::query_as(CLAIM)
        .bind(tenant)
        .bind(id)
        .bind(node)
        .bind(until)
        .bind(now)
        .bind(declared.map(|checksum| checksum.to_string()))
        .fetch_optional(&mut *c)
        .await)?;
    if let Some(row) = row {
        let upload = Box::new(Upload::try_from(row)?);
        return Ok(FinishClaim::Claimed { fence: upload.finish_fence, upload });
    }
    Ok(match state(c, Some(tenant), id).await? {
        None => FinishClaim::Missing,
        Some((UploadState::Receiving | UploadState::Finalizing | UploadState::Sealed, until)) => {
            FinishClaim::Held { until: until.unwrap_or(now) }
        }
        Some((state, _)) => FinishClaim::Ended(state),
    })
}

/// State, and until when its finishing is claimed.
async fn state(
    c: &mut Conn,
    tenant: Option<&TenantId>,
    id: UploadId,
) -> Result<Option<(UploadState, Option<Timestamp>)>> {
    const STATE: &str = "
        SELECT state, finish_until
        FROM cifra_uploads
        WHERE id = $1
          AND ($2 IS NULL OR tenant_id = $2)
    ";
    let row: Option<(String, Option<Timestamp>)> =
        on!(c, c => sqlx::query_as(STATE).bind(id).bind(tenant).fetch_optional(&mut *c).await)?;
    let Some((state, until)) = row else { return Ok(None) };
    let state = state.parse().map_err(|_| damaged("cifra_uploads", id, "unknown state"))?;
    Ok(Some((state, until)))
}

/// Prolongs a claim. `false` if it is not the caller's any more.
pub async fn renew_finish(c: &mut Conn, id: UploadId, fence: i64, until: Timestamp) -> Result<bool> {
    const RENEW: &str = "
        UPDATE cifra_uploads
        SET finish_until = $3
        WHERE id = $1
          AND finish_fence = $2
          AND state = 'finalizing'
    ";
    let renewed = on!(c, c => sqlx::query(RENEW)
        .bind(id)
        .bind(fence)
        .bind(until)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(renewed > 0)
}

/// Notes that the store is about to be told to put the bytes together: whoever comes after this holder must not
/// believe that chunks can still be replaced. `false` if the claim is not the caller's any more.
pub async fn set_sealing(c: &mut Conn, id: UploadId, fence: i64) -> Result<bool> {
    const SEALING: &str = "
        UPDATE cifra_uploads
        SET sealing = TRUE
        WHERE id = $1
          AND finish_fence = $2
          AND state = 'finalizing'
    ";
    let marked = on!(c, c => sqlx::query(SEALING)
        .bind(id)
        .bind(fence)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(marked > 0)
}

/// Lets a claim go: the upload is what `to` says, and tells `error`. `false` if it is not the caller's any more.
pub async fn release_finish(
    c: &mut Conn,
    id: UploadId,
    fence: i64,
    to: Released,
    error: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    const RELEASE: &str = "
        UPDATE cifra_uploads
        SET state = $5, sealing = $6, expires_at = COALESCE($7, expires_at), finish_node = NULL, finish_until = NULL,
            error = $3, updated_at = $4
        WHERE id = $1
          AND finish_fence = $2
          AND state = 'finalizing'
    ";
    let (state, sealing, expires_at) = match to {
        Released::Receiving => (UploadState::Receiving, false, None),
        Released::Sealed { expires_at } => (UploadState::Sealed, true, Some(expires_at)),
    };
    let released = on!(c, c => sqlx::query(RELEASE)
        .bind(id)
        .bind(fence)
        .bind(error)
        .bind(now)
        .bind(state.as_str())
        .bind(sealing)
        .bind(expires_at)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(released > 0)
}

/// Lets a claim run out at once: the upload stays `finalizing`, and anybody may go on where its holder stopped.
/// `false` if it is not the caller's any more.
pub async fn yield_finish(
    c: &mut Conn,
    id: UploadId,
    fence: i64,
    error: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    const YIELD: &str = "
        UPDATE cifra_uploads
        SET finish_until = $4, error = $3, updated_at = $4
        WHERE id = $1
          AND finish_fence = $2
          AND state = 'finalizing'
    ";
    let yielded = on!(c, c => sqlx::query(YIELD)
        .bind(id)
        .bind(fence)
        .bind(error)
        .bind(now)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(yielded > 0)
}

/// Marks a claimed upload as completed, and gives back what was reserved for it; to be called in the transaction
/// that adds its file. `false` if the claim is not the caller's any more: then that transaction must not commit.
pub async fn complete(c: &mut Conn, id: UploadId, fence: i64, now: Timestamp) -> Result<bool> {
    const COMPLETE: &str = "
        UPDATE cifra_uploads
        SET state = 'completed', finish_node = NULL, finish_until = NULL, error = NULL, updated_at = $3,
            ended_at = $3
        WHERE id = $1
          AND finish_fence = $2
          AND state = 'finalizing'
        RETURNING tenant_id, total_size
    ";
    let completed: Option<(TenantId, Option<i64>)> = on!(c, c => sqlx::query_as(COMPLETE)
        .bind(id)
        .bind(fence)
        .bind(now)
        .fetch_optional(&mut *c)
        .await)?;
    let Some((tenant, total_size)) = completed else { return Ok(false) };
    give_back(c, &tenant, total_size.unwrap_or(0)).await?;
    Ok(true)
}

/// An upload has ended: its `bytes` are not reserved any more.
async fn give_back(c: &mut Conn, tenant: &TenantId, bytes: i64) -> Result<()> {
    let less = Change { reserved_bytes: -bytes, open_uploads: -1, ..Change::default() };
    usage::change(c, tenant, less).await
}

/// Which end a client or the sweeper wishes for an upload.
///
/// `Aborted` takes it from `receiving`, from `sealed`, or from a claim on finishing that ran out. `Expired` takes
/// it from the first two only, and only while `expires_at` is in the past: a chunk that came after the sweeper
/// looked saves it. What was reserved for the upload is given back. `tenant` is `None` for the sweeper, which
/// serves all.
///
/// # Errors
/// Only the database's; `to` is one of the two.
pub async fn end(
    c: &mut Conn,
    tenant: Option<&TenantId>,
    id: UploadId,
    to: EndState,
    now: Timestamp,
) -> Result<EndOutcome> {
    const ABORT: &str = concat!(
        "
        UPDATE cifra_uploads
        SET state = 'aborted', finish_node = NULL, finish_until = NULL, updated_at = $3, ended_at = $3
        WHERE id = $1
          AND ($2 IS NULL OR tenant_id = $2)
          AND (state IN ('receiving', 'sealed') OR (state = 'finalizing' AND finish_until <= $3))
        RETURNING ",
        upload_columns!()
    );
    const EXPIRE: &str = concat!(
        "
        UPDATE cifra_uploads
        SET state = 'expired', updated_at = $3, ended_at = $3
        WHERE id = $1
          AND ($2 IS NULL OR tenant_id = $2)
          AND state IN ('receiving', 'sealed')
          AND expires_at <= $3
        RETURNING ",
        upload_columns!()
    );
    let text = match to {
        EndState::Aborted => ABORT,
        EndState::Expired => EXPIRE,
    };
    let row: Option<UploadRow> = on!(c, c => sqlx::query_as(text)
        .bind(id)
        .bind(tenant)
        .bind(now)
        .fetch_optional(&mut *c)
        .await)?;
    if let Some(row) = row {
        let upload = Box::new(Upload::try_from(row)?);
        give_back(c, &upload.tenant, to_row(upload.total_size)?).await?;
        return Ok(EndOutcome::Ended(upload));
    }
    Ok(match state(c, tenant, id).await? {
        None => EndOutcome::Missing,
        Some((UploadState::Receiving | UploadState::Finalizing | UploadState::Sealed, _)) => EndOutcome::Busy,
        Some((state, _)) => EndOutcome::Already(state),
    })
}

/// Expires an upload before its time, because the store has dropped its bytes: one that is `receiving`, or whose
/// finishing the caller has claimed with `fence`. The upload as it is after; `None` if it is neither.
pub async fn lose(
    c: &mut Conn,
    id: UploadId,
    fence: Option<i64>,
    error: &str,
    now: Timestamp,
) -> Result<Option<Upload>> {
    const LOSE: &str = concat!(
        "
        UPDATE cifra_uploads
        SET state = 'expired', finish_node = NULL, finish_until = NULL, error = $3, updated_at = $4, ended_at = $4
        WHERE id = $1
          AND ((state = 'receiving' AND $2 IS NULL) OR (state = 'finalizing' AND finish_fence = $2))
        RETURNING ",
        upload_columns!()
    );
    let row: Option<UploadRow> = on!(c, c => sqlx::query_as(LOSE)
        .bind(id)
        .bind(fence)
        .bind(error)
        .bind(now)
        .fetch_optional(&mut *c)
        .await)?;
    let Some(row) = row else { return Ok(None) };
    let upload = Upload::try_from(row)?;
    give_back(c, &upload.tenant, to_row(upload.total_size)?).await?;
    Ok(Some(upload))
}

/// The ends of an upload that is not to become a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndState {
    /// Its client gave it up.
    Aborted,
    /// Nobody sent anything for too long.
    Expired,
}

/// Ends all claims on uploads of `store`; for the one owner of a local store, at start, when nobody can hold one.
pub async fn break_finish_claims(c: &mut Conn, store: &str, now: Timestamp) -> Result<u64> {
    const BREAK: &str = "
        UPDATE cifra_uploads
        SET finish_until = $2
        WHERE store = $1
          AND state = 'finalizing'
          AND finish_until > $2
    ";
    Ok(on!(c, c => sqlx::query(BREAK)
        .bind(store)
        .bind(now)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?)
}

/// Removes the row of a completed upload (its file was deleted), with all that hangs on it. `false` if there is
/// no such upload, or it is not completed.
pub async fn delete(c: &mut Conn, tenant: &TenantId, id: UploadId) -> Result<bool> {
    const DELETE: &str = "
        DELETE FROM cifra_uploads
        WHERE tenant_id = $1
          AND id = $2
          AND state = 'completed'
    ";
    let deleted = on!(c, c => sqlx::query(DELETE)
        .bind(tenant)
        .bind(id)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(deleted > 0)
}
