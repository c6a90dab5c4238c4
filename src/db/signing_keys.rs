//! Table `cifra_signing_keys`: what links and upload tokens are signed with. Which one signs, and for how long each
//! verifies, is decided in `auth`.

use std::fmt;

use uuid::Uuid;

use super::conn::{Conn, on};
use crate::base::{Result, Timestamp};

/// A key, as its row tells.
#[derive(Clone, sqlx::FromRow)]
pub struct SigningKey {
    /// What is signed names it.
    pub id: Uuid,
    /// Never leaves the service.
    pub secret: Vec<u8>,
    /// From then on it signs.
    pub created_at: Timestamp,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Adds a key.
pub async fn insert(c: &mut Conn, key: &SigningKey) -> Result<()> {
    const INSERT: &str = "
        INSERT INTO cifra_signing_keys (id, secret, created_at)
        VALUES ($1, $2, $3)
    ";
    Ok(on!(c, c => sqlx::query(INSERT)
        .bind(key.id)
        .bind(&key.secret)
        .bind(key.created_at)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// The key `id`.
pub async fn get(c: &mut Conn, id: Uuid) -> Result<Option<SigningKey>> {
    const GET: &str = "
        SELECT id, secret, created_at
        FROM cifra_signing_keys
        WHERE id = $1
    ";
    Ok(on!(c, c => sqlx::query_as(GET).bind(id).fetch_optional(&mut *c).await)?)
}

/// The key that was made last.
pub async fn newest(c: &mut Conn) -> Result<Option<SigningKey>> {
    const NEWEST: &str = "
        SELECT id, secret, created_at
        FROM cifra_signing_keys
        ORDER BY created_at DESC
        LIMIT 1
    ";
    Ok(on!(c, c => sqlx::query_as(NEWEST).fetch_optional(&mut *c).await)?)
}

/// Drops the keys that were made before `before`; answers how many.
pub async fn prune(c: &mut Conn, before: Timestamp) -> Result<u64> {
    const PRUNE: &str = "
        DELETE FROM cifra_signing_keys
        WHERE created_at < $1
    ";
    Ok(on!(c, c => sqlx::query(PRUNE)
        .bind(before)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?)
}
