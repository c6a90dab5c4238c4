//! Table `cifra_uploads`: what is known of an upload besides its chunks; and its metadata pairs.
//!
//! Here: the row, making it, finding it, listing. [`ends`] has the claims and the ways an upload ends, [`sweep`]
//! what the sweeper looks for. Chunks are in [`super::parts`].

mod ends;
mod moving;
mod row;
mod sweep;

use super::conn::{Conn, on};
use super::error::to_row;
use super::usage::{self, Admission, Change, Limits};
use crate::base::digest::Checksum;
use crate::base::metadata::Metadata;
use crate::base::{BlobKey, PartsId, Result, TenantId, Timestamp, UploadId, crc};

pub use self::ends::{
    EndOutcome, EndState, FinishClaim, Released, break_finish_claims, claim_finish, complete, delete, end,
};
pub use self::ends::{lose, release_finish, renew_finish, set_sealing, yield_finish};
pub use self::moving::Moving;
pub(super) use self::moving::{MovingRow, moving_columns};
pub use self::row::{Protocol, UploadState};
pub(super) use self::row::{UploadRow, upload_columns};
pub use self::sweep::{
    abandoned, expired, forget, forgettable, is_staged, reserved_bytes, set_cleared, uncleared,
};

/// An upload, as its row tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its id, and later its file's.
    pub id: UploadId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The store that its bytes go to.
    pub store: String,
    /// The blob it becomes.
    pub key: BlobKey,
    /// The store's name for it until then.
    pub parts: PartsId,
    /// How far it is.
    pub state: UploadState,
    /// How it is sent.
    pub protocol: Protocol,
    /// As the client calls the file.
    pub filename: String,
    /// As the client says.
    pub content_type: Option<String>,
    /// Bytes of the whole file.
    pub total_size: u64,
    /// Bytes of each chunk but the last.
    pub chunk_size: u64,
    /// How many chunks it has.
    pub chunk_count: u32,
    /// Bytes of the chunks that have a receipt.
    pub received_bytes: u64,
    /// Chunks that have a receipt.
    pub received_chunks: u32,
    /// How often a receipt was withdrawn.
    pub withdrawals: u64,
    /// What the whole file must have, if it was declared.
    pub checksum: Option<Checksum>,
    /// The client's own pairs.
    pub metadata: Metadata,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When its row changed last.
    pub updated_at: Timestamp,
    /// When it expires if nothing more comes.
    pub expires_at: Timestamp,
    /// When it was completed, aborted or expired.
    pub ended_at: Option<Timestamp>,
    /// What went wrong last time it was finalized.
    pub error: Option<String>,
    /// The number of the newest claim on finishing; 0 before the first.
    pub finish_fence: i64,
    /// What the file must have besides `checksum`, as declared with the newest claim on finishing.
    pub finish_checksum: Option<Checksum>,
    /// The store was told to put the bytes together, where parts cannot be replaced after that.
    pub sealing: bool,
}

/// Which uploads a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadFilter {
    /// Only those in this state.
    pub state: Option<UploadState>,
    /// Only those that have all of these pairs.
    pub metadata: Vec<(String, String)>,
}

const INSERT: &str = "
    INSERT INTO cifra_uploads (
        id, tenant_id, store, blob_key, parts_id, state, protocol, filename, content_type,
        total_size, chunk_size, chunk_count, received_bytes, received_chunks, withdrawals, checksum, metadata,
        created_at, updated_at, expires_at, ended_at, error, finish_fence
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
";

const INSERT_PAIR: &str = "
    INSERT INTO cifra_upload_metadata (upload_id, position, tenant_id, pair_hash, key, value)
    VALUES ($1, $2, $3, $4, $5, $6)
";

/// Adds an upload (in state `receiving`) and its metadata pairs, if its tenant stays within `limits`: its bytes
/// are reserved until it ends.
///
/// # Errors
/// `Internal` if the id is taken, or its store was not remembered ([`super::stores::remember`]).
pub async fn insert(c: &mut Conn, upload: &Upload, limits: &Limits) -> Result<Admission> {
    let (total_size, chunk_size) = (to_row(upload.total_size)?, to_row(upload.chunk_size)?);
    let more = Change { reserved_bytes: total_size, open_uploads: 1, ..Change::default() };
    let admission = usage::admit(c, &upload.tenant, more, limits).await?;
    if admission != Admission::Granted {
        return Ok(admission);
    }
    let (received_bytes, withdrawals) = (to_row(upload.received_bytes)?, to_row(upload.withdrawals)?);
    on!(c, c => sqlx::query(INSERT)
        .bind(upload.id)
        .bind(&upload.tenant)
        .bind(&upload.store)
        .bind(&upload.key)
        .bind(&upload.parts)
        .bind(upload.state.as_str())
        .bind(upload.protocol.as_str())
        .bind(&upload.filename)
        .bind(&upload.content_type)
        .bind(total_size)
        .bind(chunk_size)
        .bind(i64::from(upload.chunk_count))
        .bind(received_bytes)
        .bind(i64::from(upload.received_chunks))
        .bind(withdrawals)
        .bind(upload.checksum.map(|checksum| checksum.to_string()))
        .bind(upload.metadata.to_json())
        .bind(upload.created_at)
        .bind(upload.updated_at)
        .bind(upload.expires_at)
        .bind(upload.ended_at)
        .bind(&upload.error)
        .bind(upload.finish_fence)
        .execute(&mut *c)
        .await
        .map(drop))?;
    // At most 64 pairs, once per upload: not worth a statement that differs with their number.
    for (position, (key, value)) in (0_i64..).zip(upload.metadata.iter()) {
        on!(c, c => sqlx::query(INSERT_PAIR)
            .bind(upload.id)
            .bind(position)
            .bind(&upload.tenant)
            .bind(pair_hash(key, value))
            .bind(key)
            .bind(value)
            .execute(&mut *c)
            .await
            .map(drop))?;
    }
    Ok(Admission::Granted)
}

/// The upload `id` of `tenant`.
pub async fn get(c: &mut Conn, tenant: &TenantId, id: UploadId) -> Result<Option<Upload>> {
    const GET: &str =
        concat!("SELECT ", upload_columns!(), " FROM cifra_uploads WHERE tenant_id = $1 AND id = $2");
    let row: Option<UploadRow> =
        on!(c, c => sqlx::query_as(GET).bind(tenant).bind(id).fetch_optional(&mut *c).await)?;
    row.map(Upload::try_from).transpose()
}

/// Uploads of `tenant` that `filter` lets through, newest first (`created_at`, then `id`, both descending), at most
/// `limit`, after the position `after`. What `now` is too late for counts as expired.
pub async fn list(
    c: &mut Conn,
    tenant: &TenantId,
    filter: &UploadFilter,
    after: Option<(Timestamp, UploadId)>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<Upload>> {
    let text = list_text(filter, after.is_some());
    let rows: Vec<UploadRow> = on!(c, c => {
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(text)).bind(tenant).bind(i64::from(limit));
        if let Some((created_at, id)) = after {
            query = query.bind(created_at).bind(id);
        }
        match filter.state {
            None => {}
            Some(UploadState::Receiving | UploadState::Sealed | UploadState::Expired) => query = query.bind(now),
            Some(state) => query = query.bind(state.as_str()),
        }
        for (key, value) in &filter.metadata {
            query = query.bind(pair_hash(key, value)).bind(key).bind(value);
        }
        query.fetch_all(&mut *c).await
    })?;
    rows.into_iter().map(Upload::try_from).collect()
}

/// The statement for a filter: made of our own texts and numbers only, a text for each shape of filter, so that
/// each uses its index.
fn list_text(filter: &UploadFilter, after: bool) -> String {
    let mut conditions = vec!["tenant_id = $1".to_owned()];
    let mut next = 3; // $2 is the limit
    if after {
        conditions.push("(created_at, id) < ($3, $4)".to_owned());
        next += 2;
    }
    if let Some(state) = filter.state {
        // One that waits for its client and whose time is over has expired, whether or not the sweeper has come by.
        conditions.push(match state {
            UploadState::Receiving => format!("state = 'receiving' AND expires_at > ${next}"),
            UploadState::Sealed => format!("state = 'sealed' AND expires_at > ${next}"),
            UploadState::Expired => {
                format!("(state = 'expired' OR (state IN ('receiving', 'sealed') AND expires_at <= ${next}))")
            }
            _ => format!("state = ${next}"),
        });
        next += 1;
    }
    for _ in &filter.metadata {
        conditions.push(format!(
            "id IN (SELECT upload_id FROM cifra_upload_metadata \
             WHERE tenant_id = $1 AND pair_hash = ${next} AND key = ${} AND value = ${})",
            next + 1,
            next + 2,
        ));
        next += 3;
    }
    format!(
        "SELECT {} FROM cifra_uploads WHERE {} ORDER BY created_at DESC, id DESC LIMIT $2",
        upload_columns!(),
        conditions.join(" AND "),
    )
}

/// What the indexes of pairs hold, files' too. A collision costs a comparison of texts, nothing more.
pub(in crate::db) fn pair_hash(key: &str, value: &str) -> i64 {
    crc::of(format!("{key}\0{value}").as_bytes()).to_i64()
}
