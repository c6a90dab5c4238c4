//! Table `cifra_thumbnails`: the thumbnails of files, and why there is none. Their bytes are blobs, which are announced
//! in `blob_deletions` before they come, as everything is that no row names yet, and noted there when they go.

use serde::{Deserialize, Serialize};

use super::conn::{Conn, on};
use super::error::{damaged, number, to_row};
use super::images::{self, Image};
use super::{blob_deletions, stores};
use crate::base::thumbnail::{SizeName, SpecVersion};
use crate::base::{BlobKey, Code, Error, FileId, Result, TenantId, Timestamp};
use crate::imaging::Reason;

/// What became of one size of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// Of which file.
    pub file: FileId,
    /// Which size.
    pub size: SizeName,
    /// By which spec; one that is to be made again has none that any spec has.
    pub version: SpecVersion,
    /// What became of it.
    pub outcome: Outcome,
    /// When.
    pub made_at: Timestamp,
}

impl Thumbnail {
    /// Whether it stands for `wanted`: it is of that spec, or is to be made again by it and serves until then.
    pub fn serves(&self, wanted: &SpecVersion) -> bool {
        let again = || self.version.is_again(wanted) && matches!(self.outcome, Outcome::Ready(_));
        self.version == *wanted || again()
    }
}

/// What became of a thumbnail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is there.
    Ready(Stored),
    /// There is none, and will not be: skipped or failed ([`Reason::is_skip`]).
    Without(Reason),
}

/// A thumbnail's bytes, and what they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The store that has them.
    pub store: String,
    /// Where in that store.
    pub key: BlobKey,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// How many there are.
    pub bytes: u64,
    /// `image/jpeg`, `image/webp` or `image/png`.
    pub content_type: String,
}

/// Everything that was made of a file at once.
#[derive(Debug, Clone)]
pub struct Making {
    /// Whose.
    pub tenant: TenantId,
    /// Of which file.
    pub file: FileId,
    /// What it is; `None` leaves what is known.
    pub image: Option<Image>,
    /// What became of each size. The blobs of those that are ready were announced, all of them for the same time:
    pub thumbnails: Vec<Thumbnail>,
    /// until then.
    pub announced_until: Timestamp,
    /// Sizes that stay as they are. All others go.
    pub others: Vec<SizeName>,
}

/// Whether a [`Making`] was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Written,
    /// The file is not there any more: nothing was changed, and the announcements stand.
    FileGone,
}

#[derive(sqlx::FromRow)]
struct ThumbnailRow {
    file_id: FileId,
    size_name: SizeName,
    spec_version: SpecVersion,
    reason: Option<String>,
    store: Option<String>,
    blob_key: Option<BlobKey>,
    width: Option<i64>,
    height: Option<i64>,
    bytes: Option<i64>,
    content_type: Option<String>,
    made_at: Timestamp,
}

const TABLE: &str = "cifra_thumbnails";

/// The columns of [`ThumbnailRow`].
macro_rules! thumbnail_columns {
    () => {
        "file_id, size_name, spec_version, reason, store, blob_key, width, height, bytes, content_type, made_at"
    };
}

impl TryFrom<ThumbnailRow> for Thumbnail {
    type Error = Error;

    fn try_from(row: ThumbnailRow) -> Result<Self> {
        let id = row.file_id;
        let missing = || damaged(TABLE, id, "a ready thumbnail is without its blob");
        let outcome = match row.reason {
            Some(word) => Outcome::Without(
                Reason::parse(&word).ok_or_else(|| damaged(TABLE, id, "the reason is unknown"))?,
            ),
            None => Outcome::Ready(Stored {
                store: row.store.ok_or_else(missing)?,
                key: row.blob_key.ok_or_else(missing)?,
                width: number(TABLE, id, row.width.ok_or_else(missing)?)?,
                height: number(TABLE, id, row.height.ok_or_else(missing)?)?,
                bytes: number(TABLE, id, row.bytes.ok_or_else(missing)?)?,
                content_type: row.content_type.ok_or_else(missing)?,
            }),
        };
        let (size, version) = (row.size_name, row.spec_version);
        Ok(Self { file: id, size, version, outcome, made_at: row.made_at })
    }
}

/// What became of `size` of the file; `None` if nothing was tried yet.
pub async fn get(
    c: &mut Conn,
    tenant: &TenantId,
    file: FileId,
    size: &SizeName,
) -> Result<Option<Thumbnail>> {
    const GET: &str = concat!(
        "SELECT ",
        thumbnail_columns!(),
        "
        FROM cifra_thumbnails
        WHERE tenant_id = $1
          AND file_id = $2
          AND size_name = $3"
    );
    let row: Option<ThumbnailRow> = on!(c, c => sqlx::query_as(GET)
        .bind(tenant)
        .bind(file)
        .bind(size)
        .fetch_optional(&mut *c)
        .await)?;
    row.map(Thumbnail::try_from).transpose()
}

/// What became of all sizes of `files` of `tenant`, in no order, in one statement. For one file, or for a page of a list.
pub async fn of_files(c: &mut Conn, tenant: &TenantId, files: &[FileId]) -> Result<Vec<Thumbnail>> {
    const SQLITE: &str = concat!(
        "SELECT ",
        thumbnail_columns!(),
        "
        FROM cifra_thumbnails
        WHERE tenant_id = $1
          AND file_id IN (SELECT unhex(value) FROM json_each($2))"
    );
    const POSTGRES: &str = concat!(
        "SELECT ",
        thumbnail_columns!(),
        "
        FROM cifra_thumbnails
        WHERE tenant_id = $1
          AND file_id = ANY($2)"
    );
    let rows: Vec<ThumbnailRow> = match c {
        Conn::Sqlite(c) => {
            sqlx::query_as(SQLITE).bind(tenant).bind(images::json_of(files)).fetch_all(&mut **c).await?
        }
        Conn::Postgres(c) => sqlx::query_as(POSTGRES).bind(tenant).bind(files).fetch_all(&mut **c).await?,
    };
    rows.into_iter().map(Thumbnail::try_from).collect()
}

/// Writes what was made of a file, while it is there: the announcements of the new blobs are withdrawn, those that they
/// replace are noted to be removed after `purge_after`, and the file's `derived` counts one more.
///
/// # Errors
/// `Overloaded` if an announcement does not stand any more: then the bytes may be gone, and the caller's transaction must
/// not be committed.
pub async fn put(c: &mut Conn, making: &Making, purge_after: Timestamp, now: Timestamp) -> Result<Put> {
    const DERIVED: &str = "
        UPDATE cifra_files
        SET derived = derived + 1
        WHERE tenant_id = $1
          AND id = $2
    ";
    let Making { tenant, file, image, thumbnails, announced_until, others } = making;
    // Whoever deletes the file waits here, or was first.
    let found = on!(c, c => sqlx::query(DERIVED)
        .bind(tenant)
        .bind(*file)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    if found == 0 {
        return Ok(Put::FileGone);
    }
    for old in of_files(c, tenant, &[*file]).await? {
        if !others.contains(&old.size) {
            note_removal(c, &old.outcome, purge_after, now).await?;
            delete(c, tenant, *file, &old.size).await?;
        }
    }
    if let Some(image) = image {
        images::put(c, image).await?;
    }
    for thumbnail in thumbnails {
        if let Outcome::Ready(Stored { store, key, .. }) = &thumbnail.outcome
            && !blob_deletions::withdraw(c, store, key, *announced_until).await?
        {
            return Err(too_late());
        }
        insert(c, tenant, thumbnail).await?;
    }
    Ok(Put::Written)
}

/// Forgets what was made of a file: to be called in the transaction in which its row went, after that. The blobs are
/// noted to be removed after `purge_after`; answers where they are.
pub async fn delete_with_file(
    c: &mut Conn,
    tenant: &TenantId,
    file: FileId,
    purge_after: Timestamp,
    now: Timestamp,
) -> Result<Vec<(String, BlobKey)>> {
    let mut blobs = Vec::new();
    for thumbnail in of_files(c, tenant, &[file]).await? {
        note_removal(c, &thumbnail.outcome, purge_after, now).await?;
        delete(c, tenant, file, &thumbnail.size).await?;
        if let Outcome::Ready(Stored { store, key, .. }) = thumbnail.outcome {
            blobs.push((store, key));
        }
    }
    images::delete(c, tenant, file).await?;
    Ok(blobs)
}

/// Lets what is there be made again, also what was skipped or failed: `size` of the file, or all of its sizes. What is
/// ready serves until then ([`SpecVersion::is_again`]).
pub async fn outdate(c: &mut Conn, tenant: &TenantId, file: FileId, size: Option<&SizeName>) -> Result<()> {
    const OUTDATE: &str = "
        UPDATE cifra_thumbnails
        SET spec_version = '~' || spec_version
        WHERE tenant_id = $1
          AND file_id = $2
          AND size_name = COALESCE(CAST($3 AS TEXT), size_name)
          AND spec_version NOT LIKE '~%'
    ";
    Ok(on!(c, c => sqlx::query(OUTDATE)
        .bind(tenant)
        .bind(file)
        .bind(size)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// Lets one be made again whose blob is lost: it serves nobody.
pub async fn lose(c: &mut Conn, tenant: &TenantId, file: FileId, size: &SizeName) -> Result<()> {
    const LOSE: &str = "
        UPDATE cifra_thumbnails
        SET spec_version = ''
        WHERE tenant_id = $1
          AND file_id = $2
          AND size_name = $3
    ";
    Ok(on!(c, c => sqlx::query(LOSE)
        .bind(tenant)
        .bind(file)
        .bind(size)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// Which of `keys` of `store` are thumbnails that a row names, or deletions that wait.
///
/// # Panics
/// If they are more than [`stores::LOOKED_UP_MAX`].
pub async fn known(c: &mut Conn, store: &str, keys: &[BlobKey]) -> Result<Vec<BlobKey>> {
    // One statement sees one moment: a row goes in the same commit in which its deletion comes.
    const KNOWN: &str = "
        SELECT blob_key
        FROM cifra_thumbnails
        WHERE store = $1
          AND blob_key IN ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                           $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)
        UNION ALL
        SELECT blob_key
        FROM cifra_blob_deletions
        WHERE store = $1
          AND blob_key IN ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                           $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)
    ";
    let Some(first) = keys.first() else { return Ok(Vec::new()) };
    assert!(keys.len() <= stores::LOOKED_UP_MAX, "INVARIANT: callers ask for a few at a time");
    // There is one text for any number of them: the first one stands for those that are not there.
    let padded = keys.iter().chain(std::iter::repeat(first)).take(stores::LOOKED_UP_MAX);
    Ok(on!(c, c => {
        let query = sqlx::query_scalar(KNOWN).bind(store);
        padded.fold(query, sqlx::query::QueryScalar::bind).fetch_all(&mut *c).await
    })?)
}

async fn note_removal(c: &mut Conn, outcome: &Outcome, purge_after: Timestamp, now: Timestamp) -> Result<()> {
    match outcome {
        Outcome::Ready(Stored { store, key, .. }) => {
            blob_deletions::insert(c, store, key, purge_after, now).await
        }
        Outcome::Without(_) => Ok(()),
    }
}

async fn delete(c: &mut Conn, tenant: &TenantId, file: FileId, size: &SizeName) -> Result<()> {
    const DELETE: &str = "
        DELETE FROM cifra_thumbnails
        WHERE tenant_id = $1
          AND file_id = $2
          AND size_name = $3
    ";
    Ok(on!(c, c => sqlx::query(DELETE)
        .bind(tenant)
        .bind(file)
        .bind(size)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

async fn insert(c: &mut Conn, tenant: &TenantId, thumbnail: &Thumbnail) -> Result<()> {
    const INSERT: &str = "
        INSERT INTO cifra_thumbnails (
            file_id, size_name, tenant_id, spec_version, status, reason, store, blob_key, width, height, bytes,
            content_type, made_at
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ";
    let (status, reason, stored) = match &thumbnail.outcome {
        Outcome::Ready(stored) => ("ready", None, Some(stored)),
        Outcome::Without(reason) if reason.is_skip() => ("skipped", Some(reason.as_str()), None),
        Outcome::Without(reason) => ("failed", Some(reason.as_str()), None),
    };
    let bytes = stored.map(|stored| to_row(stored.bytes)).transpose()?;
    Ok(on!(c, c => sqlx::query(INSERT)
        .bind(thumbnail.file)
        .bind(&thumbnail.size)
        .bind(tenant)
        .bind(&thumbnail.version)
        .bind(status)
        .bind(reason)
        .bind(stored.map(|stored| &stored.store))
        .bind(stored.map(|stored| &stored.key))
        .bind(stored.map(|stored| i64::from(stored.width)))
        .bind(stored.map(|stored| i64::from(stored.height)))
        .bind(bytes)
        .bind(stored.map(|stored| &stored.content_type))
        .bind(thumbnail.made_at)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

fn too_late() -> Error {
    Error::new(Code::Overloaded, "the thumbnails took longer than their bytes are kept unpublished")
}
