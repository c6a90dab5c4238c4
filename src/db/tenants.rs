//! Table `cifra_tenants`: who things belong to. A tenant is never removed.

use serde::{Deserialize, Serialize};

use super::conn::{Conn, on};
use crate::base::{Result, TenantId, Timestamp};

/// A tenant, as its row tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Tenant {
    /// The slug that it is known by.
    pub id: TenantId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Adds a tenant. `false` if there is one of this id; then nothing has changed.
pub async fn insert(c: &mut Conn, tenant: &Tenant) -> Result<bool> {
    const INSERT: &str = "
        INSERT INTO cifra_tenants (id, created_at)
        VALUES ($1, $2)
        ON CONFLICT (id) DO NOTHING
    ";
    let inserted = on!(c, c => sqlx::query(INSERT)
        .bind(&tenant.id)
        .bind(tenant.created_at)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(inserted > 0)
}

/// The tenant `id`.
pub async fn get(c: &mut Conn, id: &TenantId) -> Result<Option<Tenant>> {
    const GET: &str = "SELECT id, created_at FROM cifra_tenants WHERE id = $1";
    Ok(on!(c, c => sqlx::query_as(GET).bind(id).fetch_optional(&mut *c).await)?)
}

/// Tenants by id, at most `limit`, after the id `after`.
pub async fn list(c: &mut Conn, after: Option<&str>, limit: u32) -> Result<Vec<Tenant>> {
    const LIST: &str = "
        SELECT id, created_at
        FROM cifra_tenants
        WHERE id > $1
        ORDER BY id
        LIMIT $2
    ";
    Ok(on!(c, c => sqlx::query_as(LIST)
        .bind(after.unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(&mut *c)
        .await)?)
}
