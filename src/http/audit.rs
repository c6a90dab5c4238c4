//! The audit log: `/api/audit`. Translates; `AuthService` decides.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Query, Who};
use super::openapi::requests::PageQuery;
use super::problem::Answer;
use super::reply::json;
use crate::app::Services;
use crate::auth::Noted;
use crate::base::page::Limit;
use crate::base::{KeyId, TenantId, Timestamp};

/// Read the audit log
///
/// Who changed what, newest first. For operators.
#[utoipa::path(
    get, path = "/api/audit", operation_id = "list_audit", tag = "access",
    params(
        ("tenant" = Option<TenantId>, Query, description = "Only what was changed in this tenant."),
        PageQuery,
    ),
    responses((status = 200, description = "A page of it.", body = AuditPage)),
)]
pub(super) async fn list(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Query(mut params): Query,
) -> Answer {
    let tenant = params.one("tenant")?;
    let limit: Limit = params.one("limit")?.unwrap_or_default();
    let cursor: Option<String> = params.one("cursor")?;
    params.finish()?;
    let page = state.auth.audit(&who, tenant, limit.get(), cursor.as_deref()).await?;
    let items = page.items.into_iter().map(EntryView::from).collect();
    Ok(json(&AuditPage { items, next_cursor: page.next_cursor }))
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct EntryView {
    #[schema(value_type = String, format = "uuid")]
    id: Uuid,
    /// When it was changed.
    created_at: Timestamp,
    /// Where; `null`: in no tenant.
    tenant: Option<TenantId>,
    actor: ActorView,
    /// What was done, such as `file-deleted`.
    action: String,
    /// The id of what was changed.
    target: String,
    /// More about it.
    #[schema(value_type = Object)]
    details: Map<String, Value>,
}

/// Who did it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditActor)]
struct ActorView {
    /// `key`, `upload-token`, `everybody` (without keys), `command-line` (on the machine itself) or `service`.
    kind: String,
    /// The key, or the key that issued the token.
    id: Option<KeyId>,
    /// As that key is called.
    name: Option<String>,
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
struct AuditPage {
    items: Vec<EntryView>,
    /// `null` on the last page.
    next_cursor: Option<String>,
}

impl From<Noted> for EntryView {
    fn from(noted: Noted) -> Self {
        Self {
            id: noted.id,
            created_at: noted.created_at,
            tenant: noted.tenant,
            actor: ActorView { kind: noted.actor, id: noted.actor_id, name: noted.actor_name },
            action: noted.action,
            target: noted.target,
            details: noted.details,
        }
    }
}
