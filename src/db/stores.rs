//! Table `cifra_stores`: the stores that rows name, each with the identity that is also written into the store
//! itself, so that an unmounted volume or a foreign bucket is noticed before anything is believed of it.

use std::collections::HashSet;

use uuid::Uuid;

use super::conn::{Conn, on};
use crate::base::{BlobKey, FileId, Result, Timestamp};

/// At most this many blobs are looked up at once.
pub const LOOKED_UP_MAX: usize = 32;

/// A store, as the database remembers it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Store {
    /// As the configuration and the rows call it.
    pub name: String,
    /// Its identity.
    pub store_id: Uuid,
    /// Which kind of store it was when it was first seen (`local`).
    pub backend: String,
    /// When it was first seen.
    pub created_at: Timestamp,
}

/// The identity of store `name`: the one remembered, or else `id`, which is remembered from now on.
pub async fn remember(c: &mut Conn, name: &str, id: Uuid, backend: &str, now: Timestamp) -> Result<Uuid> {
    const INSERT: &str = "
        INSERT INTO cifra_stores (name, store_id, backend, created_at)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO NOTHING
    ";
    const ID: &str = "SELECT store_id FROM cifra_stores WHERE name = $1";
    on!(c, c => sqlx::query(INSERT)
        .bind(name)
        .bind(id)
        .bind(backend)
        .bind(now)
        .execute(&mut *c)
        .await
        .map(drop))?;
    Ok(on!(c, c => sqlx::query_scalar(ID).bind(name).fetch_one(&mut *c).await)?)
}

/// The store `name`.
pub async fn get(c: &mut Conn, name: &str) -> Result<Option<Store>> {
    const GET: &str = "SELECT name, store_id, backend, created_at FROM cifra_stores WHERE name = $1";
    Ok(on!(c, c => sqlx::query_as(GET).bind(name).fetch_optional(&mut *c).await)?)
}

/// Lets nobody else pass here with the same store until this transaction ends. On SQLite nobody else writes anyway.
pub async fn lock(c: &mut Conn, name: &str) -> Result<()> {
    // Not FOR UPDATE: who only refers to the row need not wait.
    const LOCK: &str = "SELECT name FROM cifra_stores WHERE name = $1 FOR NO KEY UPDATE";
    if let Conn::Postgres(c) = c {
        sqlx::query(LOCK).bind(name).execute(&mut **c).await?;
    }
    Ok(())
}

/// All stores ever remembered, by name.
pub async fn all(c: &mut Conn) -> Result<Vec<Store>> {
    const ALL: &str = "SELECT name, store_id, backend, created_at FROM cifra_stores ORDER BY name";
    Ok(on!(c, c => sqlx::query_as(ALL).fetch_all(&mut *c).await)?)
}

/// Names of the stores that uploads, files, thumbnails or deletions name: without one of these the service lacks bytes.
pub async fn referenced(c: &mut Conn) -> Result<Vec<String>> {
    const REFERENCED: &str = "
        SELECT name
        FROM cifra_stores
        WHERE EXISTS (SELECT 1 FROM cifra_files WHERE store = name)
           OR EXISTS (SELECT 1 FROM cifra_uploads WHERE store = name)
           OR EXISTS (SELECT 1 FROM cifra_thumbnails WHERE store = name)
           OR EXISTS (SELECT 1 FROM cifra_blob_deletions WHERE store = name)
        ORDER BY name
    ";
    Ok(on!(c, c => sqlx::query_scalar(REFERENCED).fetch_all(&mut *c).await)?)
}

/// Writes something that nobody reads and takes it back: whether the database can write. Both end up on the disk,
/// unlike a change that changes nothing.
pub async fn probe(c: &mut Conn, now: Timestamp) -> Result<()> {
    const INSERT: &str = "
        INSERT INTO cifra_stores (name, store_id, backend, created_at)
        VALUES ('', $1, 'probe', $2)
        ON CONFLICT (name) DO NOTHING
    ";
    const DELETE: &str = "DELETE FROM cifra_stores WHERE name = ''";
    let id = Uuid::new_v4();
    on!(c, c => sqlx::query(INSERT).bind(id).bind(now).execute(&mut *c).await.map(drop))?;
    Ok(on!(c, c => sqlx::query(DELETE).execute(&mut *c).await.map(drop))?)
}

/// Which of `blobs` of `store` any row names: by its id a file or an upload, of whichever store; by its key a
/// deletion that waits.
///
/// # Panics
/// If they are more than [`LOOKED_UP_MAX`].
pub async fn known(c: &mut Conn, store: &str, blobs: &[(FileId, BlobKey)]) -> Result<HashSet<FileId>> {
    // One statement sees one moment: a file's row goes in the same commit in which its deletion comes.
    const KNOWN: &str = "
        SELECT id, CAST(NULL AS TEXT) AS blob_key
        FROM cifra_files
        WHERE id IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                     $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)
        UNION ALL
        SELECT id, NULL
        FROM cifra_uploads
        WHERE id IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                     $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)
        UNION ALL
        SELECT NULL, blob_key
        FROM cifra_blob_deletions
        WHERE store = $33
          AND blob_key IN ($34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, $48, $49,
                           $50, $51, $52, $53, $54, $55, $56, $57, $58, $59, $60, $61, $62, $63, $64, $65)
    ";
    let Some(first) = blobs.first() else { return Ok(HashSet::new()) };
    assert!(blobs.len() <= LOOKED_UP_MAX, "INVARIANT: callers ask for a few at a time");
    // There is one text for any number of them: the first one stands for those that are not there.
    let padded = || blobs.iter().chain(std::iter::repeat(first)).take(LOOKED_UP_MAX);
    let rows: Vec<(Option<FileId>, Option<BlobKey>)> = on!(c, c => {
        let query = padded().fold(sqlx::query_as(KNOWN), |query, (id, _)| query.bind(id));
        let query = padded().fold(query.bind(store), |query, (_, key)| query.bind(key));
        query.fetch_all(&mut *c).await
    })?;
    let of_row = |(id, key): (Option<FileId>, Option<BlobKey>)| {
        id.or_else(|| blobs.iter().find(|(_, known)| Some(known) == key.as_ref()).map(|(id, _)| *id))
    };
    Ok(rows.into_iter().filter_map(of_row).collect())
}
