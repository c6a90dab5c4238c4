//! Table `cifra_keys`: who may call. Of a key's secret only the SHA-256 is here. A row stays when its key is
//! revoked, because the audit log names it.
//!
//! An operator's key has no tenant, and authentication comes before the tenant is known: [`get`] and [`revoke`]
//! are by id alone, and who may see the answer is decided in `auth`.

use super::conn::{Conn, on};
use super::error::damaged;
use crate::base::principal::Scopes;
use crate::base::{Error, KeyId, Result, TenantId, Timestamp};

/// A key, as its row tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id, which is also a part of it.
    pub id: KeyId,
    /// Whose it is; `None`: an operator's.
    pub tenant: Option<TenantId>,
    /// For people.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// Of the whole key.
    pub sha256: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Since then it is refused.
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, give or take some minutes.
    pub last_used_at: Option<Timestamp>,
}

impl Key {
    /// Neither revoked nor over.
    pub fn is_good_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: KeyId,
    tenant_id: Option<TenantId>,
    name: String,
    scopes: String,
    secret_sha256: Vec<u8>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

const TABLE: &str = "cifra_keys";

macro_rules! key_columns {
    () => {
        "id, tenant_id, name, scopes, secret_sha256, created_at, expires_at, revoked_at, last_used_at"
    };
}

impl TryFrom<KeyRow> for Key {
    type Error = Error;

    fn try_from(row: KeyRow) -> Result<Self> {
        let id = row.id;
        Ok(Self {
            id,
            tenant: row.tenant_id,
            name: row.name,
            scopes: row.scopes.parse().map_err(|_| damaged(TABLE, id, "unknown scopes"))?,
            sha256: (row.secret_sha256.try_into())
                .map_err(|_| damaged(TABLE, id, "the SHA-256 has not 32 bytes"))?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        })
    }
}

/// Adds a key, or puts it in the place of the one of the same id (the first operator key).
///
/// # Errors
/// `Internal` if its tenant is not there ([`super::tenants::get`]).
pub async fn put(c: &mut Conn, key: &Key) -> Result<()> {
    const PUT: &str = "
        INSERT INTO cifra_keys (
            id, tenant_id, name, scopes, secret_sha256, created_at, expires_at, revoked_at, last_used_at
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (id) DO UPDATE
        SET tenant_id = excluded.tenant_id, name = excluded.name, scopes = excluded.scopes,
            secret_sha256 = excluded.secret_sha256, created_at = excluded.created_at,
            expires_at = excluded.expires_at, revoked_at = excluded.revoked_at,
            last_used_at = excluded.last_used_at
    ";
    Ok(on!(c, c => sqlx::query(PUT)
        .bind(key.id)
        .bind(&key.tenant)
        .bind(&key.name)
        .bind(key.scopes.to_string())
        .bind(key.sha256.to_vec())
        .bind(key.created_at)
        .bind(key.expires_at)
        .bind(key.revoked_at)
        .bind(key.last_used_at)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// Adds a key unless there is one of its id that was not taken back. `false` if there is: of several nodes that do it
/// at once, one wins.
pub async fn put_if_vacant(c: &mut Conn, key: &Key) -> Result<bool> {
    const PUT: &str = "
        INSERT INTO cifra_keys (id, tenant_id, name, scopes, secret_sha256, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (id) DO UPDATE
        SET secret_sha256 = excluded.secret_sha256, created_at = excluded.created_at, revoked_at = NULL,
            last_used_at = NULL
        WHERE cifra_keys.revoked_at IS NOT NULL
    ";
    let put = on!(c, c => sqlx::query(PUT)
        .bind(key.id)
        .bind(&key.tenant)
        .bind(&key.name)
        .bind(key.scopes.to_string())
        .bind(key.sha256.to_vec())
        .bind(key.created_at)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(put > 0)
}

/// The key `id`, whether it is still good or not.
pub async fn get(c: &mut Conn, id: KeyId) -> Result<Option<Key>> {
    const GET: &str = concat!("SELECT ", key_columns!(), " FROM cifra_keys WHERE id = $1");
    let row: Option<KeyRow> = on!(c, c => sqlx::query_as(GET).bind(id).fetch_optional(&mut *c).await)?;
    row.map(Key::try_from).transpose()
}

/// Keys of `tenant`, or all where it is `None`, revoked ones too: newest first (`created_at`, then `id`), at most
/// `limit`, after the position `after`.
pub async fn list(
    c: &mut Conn,
    tenant: Option<&TenantId>,
    after: Option<(Timestamp, KeyId)>,
    limit: u32,
) -> Result<Vec<Key>> {
    const ALL: &str = concat!(
        "SELECT ",
        key_columns!(),
        "
        FROM cifra_keys
        WHERE (created_at, id) < ($1, $2)
        ORDER BY created_at DESC, id DESC
        LIMIT $3
        "
    );
    const OF_TENANT: &str = concat!(
        "SELECT ",
        key_columns!(),
        "
        FROM cifra_keys
        WHERE (created_at, id) < ($1, $2)
          AND tenant_id = $4
        ORDER BY created_at DESC, id DESC
        LIMIT $3
        "
    );
    let (created_at, id) =
        after.unwrap_or((Timestamp::from_micros(i64::MAX), KeyId::from_uuid(uuid::Uuid::max())));
    let text = if tenant.is_some() { OF_TENANT } else { ALL };
    let rows: Vec<KeyRow> = on!(c, c => {
        let mut query = sqlx::query_as(text).bind(created_at).bind(id).bind(i64::from(limit));
        if let Some(tenant) = tenant {
            query = query.bind(tenant);
        }
        query.fetch_all(&mut *c).await
    })?;
    rows.into_iter().map(Key::try_from).collect()
}

/// Takes a key back. `false` if there is no such key, or it had been taken back before.
pub async fn revoke(c: &mut Conn, id: KeyId, now: Timestamp) -> Result<bool> {
    const REVOKE: &str = "
        UPDATE cifra_keys
        SET revoked_at = $2
        WHERE id = $1
          AND revoked_at IS NULL
    ";
    let revoked = on!(c, c => sqlx::query(REVOKE)
        .bind(id)
        .bind(now)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(revoked > 0)
}

/// The key was used at `now`.
pub async fn set_used(c: &mut Conn, id: KeyId, now: Timestamp) -> Result<()> {
    const USED: &str = "UPDATE cifra_keys SET last_used_at = $2 WHERE id = $1";
    Ok(on!(c, c => sqlx::query(USED).bind(id).bind(now).execute(&mut *c).await.map(drop))?)
}
