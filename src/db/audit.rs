//! Table `cifra_audit`: who changed what. A row is written in the transaction of the change itself, so that
//! neither is ever there without the other; old ones are dropped by the sweeper ([`prune`]).
//!
//! The log is the operator's: it is read over all tenants, or for one.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::conn::{Conn, on};
use super::error::damaged;
use super::files::File;
use crate::base::principal::{Actor, Principal};
use crate::base::{KeyId, Result, TenantId, Timestamp};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A tenant was made; the target is its id.
    TenantCreated,
    /// A key was made; the target is its id.
    KeyCreated,
    /// A key was taken back; the target is its id.
    KeyRevoked,
    /// The first operator key is another one since this start; the target is its id.
    OperatorKeyReplaced,
    /// A file became visible; the target is its id.
    FileCreated,
    /// A file's name or metadata changed; the target is its id.
    FileChanged,
    /// A file was deleted; the target is its id.
    FileDeleted,
    /// A link to a file was issued; the target is the file's id.
    LinkIssued,
    /// An upload token was issued; the target is its id.
    UploadTokenIssued,
    /// An upload was given up; the target is its id.
    UploadAborted,
    /// An upload's time was over; the target is its id.
    UploadExpired,
    /// What no row names was removed from a store; the target is the store's name.
    OrphansRemoved,
    /// Something of the cache was switched off or on; the target is the switch.
    CacheSwitched,
    /// The cache was emptied.
    CacheCleared,
}

impl Action {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenantCreated => "tenant-created",
            Self::KeyCreated => "key-created",
            Self::KeyRevoked => "key-revoked",
            Self::OperatorKeyReplaced => "operator-key-replaced",
            Self::FileCreated => "file-created",
            Self::FileChanged => "file-changed",
            Self::FileDeleted => "file-deleted",
            Self::LinkIssued => "link-issued",
            Self::UploadTokenIssued => "upload-token-issued",
            Self::UploadAborted => "upload-aborted",
            Self::UploadExpired => "upload-expired",
            Self::OrphansRemoved => "orphans-removed",
            Self::CacheSwitched => "cache-switched",
            Self::CacheCleared => "cache-cleared",
        }
    }
}

/// A change, about to be noted: who did what to which thing. Details are small and never secret.
#[derive(Debug, Clone)]
pub struct Entry {
    id: Uuid,
    created_at: Timestamp,
    tenant: Option<TenantId>,
    actor: Actor,
    action: Action,
    target: String,
    details: Map<String, Value>,
}

impl Entry {
    /// `who` did `action` to `target` (its id) at `now`, in their tenant.
    pub fn new(who: &Principal, action: Action, target: &impl ToString, now: Timestamp) -> Self {
        Self {
            id: KeyId::new(now).as_uuid(),
            created_at: now,
            tenant: Some(who.tenant().clone()),
            actor: who.actor().clone(),
            action,
            target: target.to_string(),
            details: Map::new(),
        }
    }

    /// `who` made `file`.
    pub fn file_created(who: &Principal, file: &File) -> Self {
        Self::new(who, Action::FileCreated, &file.id, file.created_at).with("size", file.size)
    }

    /// Of this tenant instead, or of none.
    #[must_use]
    pub fn of(mut self, tenant: Option<&TenantId>) -> Self {
        self.tenant = tenant.cloned();
        self
    }

    /// With a detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// A change that was noted.
#[derive(Debug, Clone, PartialEq)]
pub struct Noted {
    /// The entry's own id.
    pub id: Uuid,
    /// When it happened.
    pub created_at: Timestamp,
    /// In which tenant; `None`: of no tenant.
    pub tenant: Option<TenantId>,
    /// `everybody`, `key`, `command-line` or `service`.
    pub actor: String,
    /// Which key.
    pub actor_id: Option<KeyId>,
    /// As the key was called.
    pub actor_name: Option<String>,
    /// Such as `file-deleted`.
    pub action: String,
    /// The id of what was changed.
    pub target: String,
    /// More about it.
    pub details: Map<String, Value>,
}

#[derive(sqlx::FromRow)]
struct NotedRow {
    id: Uuid,
    created_at: Timestamp,
    tenant_id: Option<TenantId>,
    actor: String,
    actor_id: Option<KeyId>,
    actor_name: Option<String>,
    action: String,
    target: String,
    details: String,
}

/// Notes a change; to be called in the transaction that makes it.
pub async fn insert(c: &mut Conn, entry: &Entry) -> Result<()> {
    const INSERT: &str = "
        INSERT INTO cifra_audit (
            created_at, id, tenant_id, actor, actor_id, actor_name, action, target, details
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ";
    let (kind, id, name) = match &entry.actor {
        Actor::Everybody => ("everybody", None, None),
        Actor::Key { id, name } => ("key", Some(*id), Some(name.as_ref())),
        Actor::UploadToken { id } => ("upload-token", Some(KeyId::from_uuid(id.as_uuid())), None),
        Actor::CommandLine => ("command-line", None, None),
        Actor::Service => ("service", None, None),
    };
    let details = Value::Object(entry.details.clone()).to_string();
    Ok(on!(c, c => sqlx::query(INSERT)
        .bind(entry.created_at)
        .bind(entry.id)
        .bind(&entry.tenant)
        .bind(kind)
        .bind(id)
        .bind(name)
        .bind(entry.action.as_str())
        .bind(&entry.target)
        .bind(details)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// Changes in `tenant`, or all where it is `None`: newest first (`created_at`, then `id`), at most `limit`, after the
/// position `after`.
pub async fn list(
    c: &mut Conn,
    tenant: Option<&TenantId>,
    after: Option<(Timestamp, Uuid)>,
    limit: u32,
) -> Result<Vec<Noted>> {
    const ALL: &str = "
        SELECT id, created_at, tenant_id, actor, actor_id, actor_name, action, target, details
        FROM cifra_audit
        WHERE (created_at, id) < ($1, $2)
        ORDER BY created_at DESC, id DESC
        LIMIT $3
    ";
    const OF_TENANT: &str = "
        SELECT id, created_at, tenant_id, actor, actor_id, actor_name, action, target, details
        FROM cifra_audit
        WHERE (created_at, id) < ($1, $2)
          AND tenant_id = $4
        ORDER BY created_at DESC, id DESC
        LIMIT $3
    ";
    let (created_at, id) = after.unwrap_or((Timestamp::from_micros(i64::MAX), Uuid::max()));
    let text = if tenant.is_some() { OF_TENANT } else { ALL };
    let rows: Vec<NotedRow> = on!(c, c => {
        let mut query = sqlx::query_as(text).bind(created_at).bind(id).bind(i64::from(limit));
        if let Some(tenant) = tenant {
            query = query.bind(tenant);
        }
        query.fetch_all(&mut *c).await
    })?;
    rows.into_iter().map(read).collect()
}

fn read(row: NotedRow) -> Result<Noted> {
    let details = serde_json::from_str(&row.details)
        .map_err(|_| damaged("cifra_audit", row.id, "the details cannot be read"))?;
    Ok(Noted {
        id: row.id,
        created_at: row.created_at,
        tenant: row.tenant_id,
        actor: row.actor,
        actor_id: row.actor_id,
        actor_name: row.actor_name,
        action: row.action,
        target: row.target,
        details,
    })
}

/// Drops entries from before `before`, the oldest first, at most `limit`; answers how many.
pub async fn prune(c: &mut Conn, before: Timestamp, limit: u32) -> Result<u64> {
    const PRUNE: &str = "
        DELETE FROM cifra_audit
        WHERE (created_at, id) IN (
            SELECT created_at, id
            FROM cifra_audit
            WHERE created_at < $1
            ORDER BY created_at, id
            LIMIT $2
        )
    ";
    Ok(on!(c, c => sqlx::query(PRUNE)
        .bind(before)
        .bind(i64::from(limit))
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?)
}
