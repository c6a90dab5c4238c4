//! Table `cifra_stores`: the stores that rows name, each with the identity that is also written into the store
//! itself, so that an unmounted volume or a foreign bucket is noticed before anything is believed of it.

use uuid::Uuid;

use super::conn::{Conn, on};
use crate::base::{Result, Timestamp};

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

/// All stores ever remembered, by name.
pub async fn all(c: &mut Conn) -> Result<Vec<Store>> {
    const ALL: &str = "SELECT name, store_id, backend, created_at FROM cifra_stores ORDER BY name";
    Ok(on!(c, c => sqlx::query_as(ALL).fetch_all(&mut *c).await)?)
}

/// Names of the stores that uploads, files or deletions name: without one of these the service lacks bytes.
pub async fn referenced(c: &mut Conn) -> Result<Vec<String>> {
    const REFERENCED: &str = "
        SELECT name
        FROM cifra_stores
        WHERE EXISTS (SELECT 1 FROM cifra_files WHERE store = name)
           OR EXISTS (SELECT 1 FROM cifra_uploads WHERE store = name)
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
