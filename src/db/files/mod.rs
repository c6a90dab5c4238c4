//! Table `cifra_files`: what is known of a file; and its metadata pairs. Its bytes are a blob; removing them is
//! `blob_deletions`' part.
//!
//! Here: the row, making it, finding it, removing it. [`mod@list`] reads many, [`mod@change`] alters one, [`pairs`] has the pairs, [`mod@fill`] brings
//! rows of older versions up to date.

mod change;
mod fill;
mod list;
mod pairs;
mod pictures;

use serde::{Deserialize, Serialize};

use super::conn::{Conn, on};
use super::error::{damaged, number, to_row};
use super::usage::{self, Admission, Change, Limits};
use crate::base::crc::Crc64;
use crate::base::metadata::Metadata;
use crate::base::{BlobKey, Error, FileId, Result, TenantId, Timestamp, filename_key};

pub use self::change::change;
pub use self::fill::fill;
pub use self::list::{After, Direction, FileFilter, Order, SortKey, TypeFilter, list};
pub use self::pictures::{next_tenant, pictures};

/// A file, as its row tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its id; the same as its upload's, if it came by one.
    pub id: FileId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The store that has its bytes.
    pub store: String,
    /// Where in that store.
    pub key: BlobKey,
    /// As the client calls it.
    pub filename: String,
    /// What its first bytes say, or the client.
    pub content_type: String,
    /// Its bytes.
    pub size: u64,
    /// Its SHA-256, where it is known.
    pub sha256: Option<[u8; 32]>,
    /// Its CRC64NVME.
    pub crc64: Crc64,
    /// The client's own pairs.
    pub metadata: Metadata,
    /// When it became visible.
    pub created_at: Timestamp,
    /// When its row changed last.
    pub updated_at: Timestamp,
    /// Counts changes by clients, from 1.
    pub version: i64,
    /// Counts changes of what is made from it, from 0.
    pub derived: i64,
}

#[derive(sqlx::FromRow)]
struct FileRow {
    id: FileId,
    tenant_id: TenantId,
    store: String,
    blob_key: BlobKey,
    filename: String,
    content_type: String,
    size: i64,
    sha256: Option<Vec<u8>>,
    crc64: i64,
    metadata: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: i64,
    derived: i64,
}

const TABLE: &str = "cifra_files";

/// The columns of [`FileRow`], of a table that the statement calls `f`.
macro_rules! file_columns {
    () => {
        "f.id, f.tenant_id, f.store, f.blob_key, f.filename, f.content_type, f.size, f.sha256, f.crc64, \
         f.metadata, f.created_at, f.updated_at, f.version, f.derived"
    };
}
use file_columns;

impl TryFrom<FileRow> for File {
    type Error = Error;

    fn try_from(row: FileRow) -> Result<Self> {
        let id = row.id;
        Ok(Self {
            id,
            tenant: row.tenant_id,
            store: row.store,
            key: row.blob_key,
            filename: row.filename,
            content_type: row.content_type,
            size: number(TABLE, id, row.size)?,
            sha256: (row.sha256.map(TryInto::try_into).transpose())
                .map_err(|_| damaged(TABLE, id, "the SHA-256 has not 32 bytes"))?,
            crc64: Crc64::from_i64(row.crc64),
            metadata: Metadata::from_json(&row.metadata)
                .ok_or_else(|| damaged(TABLE, id, "the metadata cannot be read"))?,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
            derived: row.derived,
        })
    }
}

/// What lists sort and filter by, made of a row's other columns.
struct Keys {
    filename_key: String,
    media_kind: String,
    media_type: String,
}

impl Keys {
    fn of(filename: &str, content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let media_type = essence.to_ascii_lowercase();
        let media_kind = media_type.split('/').next().unwrap_or_default().to_owned();
        Self { filename_key: filename_key(filename), media_kind, media_type }
    }
}

/// Adds a file and its metadata pairs, if its tenant stays within `limits`: from the commit on it is visible.
///
/// # Errors
/// `Internal` if the id is taken.
pub async fn insert(c: &mut Conn, file: &File, limits: &Limits) -> Result<Admission> {
    const INSERT: &str = "
        INSERT INTO cifra_files (
            id, tenant_id, store, blob_key, filename, content_type, size, sha256, crc64, metadata, created_at,
            updated_at, version, derived, filename_key, media_kind, media_type
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
    ";
    let size = to_row(file.size)?;
    let more = Change { stored_bytes: size, ..Change::default() };
    let admission = usage::admit(c, &file.tenant, more, limits).await?;
    if admission != Admission::Granted {
        return Ok(admission);
    }
    let keys = Keys::of(&file.filename, &file.content_type);
    on!(c, c => sqlx::query(INSERT)
        .bind(file.id)
        .bind(&file.tenant)
        .bind(&file.store)
        .bind(&file.key)
        .bind(&file.filename)
        .bind(&file.content_type)
        .bind(size)
        .bind(file.sha256.map(|bytes| bytes.to_vec()))
        .bind(file.crc64.to_i64())
        .bind(file.metadata.to_json())
        .bind(file.created_at)
        .bind(file.updated_at)
        .bind(file.version)
        .bind(file.derived)
        .bind(&keys.filename_key)
        .bind(&keys.media_kind)
        .bind(&keys.media_type)
        .execute(&mut *c)
        .await
        .map(drop))?;
    pairs::insert(c, &file.tenant, file.id, file.created_at, &file.metadata).await?;
    Ok(Admission::Granted)
}

/// The file `id` of `tenant`.
pub async fn get(c: &mut Conn, tenant: &TenantId, id: FileId) -> Result<Option<File>> {
    const GET: &str =
        concat!("SELECT ", file_columns!(), " FROM cifra_files f WHERE f.tenant_id = $1 AND f.id = $2");
    let row: Option<FileRow> =
        on!(c, c => sqlx::query_as(GET).bind(tenant).bind(id).fetch_optional(&mut *c).await)?;
    row.map(File::try_from).transpose()
}

/// Removes a file's row and returns where its bytes are, of which the caller notes the deletion in the same
/// transaction ([`super::blob_deletions::insert`]). `None` if there is no such file.
pub async fn delete(c: &mut Conn, tenant: &TenantId, id: FileId) -> Result<Option<(String, BlobKey)>> {
    const DELETE: &str = "
        DELETE FROM cifra_files
        WHERE tenant_id = $1
          AND id = $2
        RETURNING store, blob_key, size
    ";
    let deleted: Option<(String, BlobKey, i64)> =
        on!(c, c => sqlx::query_as(DELETE).bind(tenant).bind(id).fetch_optional(&mut *c).await)?;
    let Some((store, key, size)) = deleted else { return Ok(None) };
    usage::change(c, tenant, Change { stored_bytes: -size, ..Change::default() }).await?;
    Ok(Some((store, key)))
}
