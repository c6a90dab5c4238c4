//! Keys: `/api/keys`. Translates; `AuthService` decides.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Json, Path, Query, Who};
use super::openapi::requests::{KeyPath, NewKey as NewKeyBody, PageQuery};
use super::problem::Answer;
use super::reply::json;
use crate::app::Services;
use crate::auth::{Issued, KeyRecord, NewKey};
use crate::base::Code::KeyNotFound;
use crate::base::page::Limit;
use crate::base::principal::Scope;
use crate::base::{KeyId, TenantId, Timestamp};

/// Make a key
///
/// In the key's own tenant, or in the one that an operator names in `X-Cifra-Tenant`. The answer is the only place
/// where the key is ever shown.
#[utoipa::path(
    post, path = "/api/keys", operation_id = "create_key", tag = "access",
    request_body = NewKeyBody,
    responses((status = 201, description = "The key.", body = IssuedView)),
)]
pub(super) async fn create(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Json(mut fields): Json,
) -> Answer {
    let name = fields.string("name");
    let new = NewKey {
        name: fields.required("name", name),
        scopes: fields.list("scopes").map(|scopes| scopes.into_iter().collect()),
        operator: fields.flag("operator"),
        expires_in: fields.number("expires_in_seconds").map(Duration::from_secs),
    };
    fields.finish()?;
    let issued = state.auth.create_key(&who, new).await?;
    Ok((StatusCode::CREATED, json(&IssuedView::from(issued))).into_response())
}

/// List keys
///
/// Those of the key's own tenant, or all for operators; revoked ones too, newest first.
#[utoipa::path(
    get, path = "/api/keys", operation_id = "list_keys", tag = "access",
    params(PageQuery),
    responses((status = 200, description = "A page of them.", body = KeyPage)),
)]
pub(super) async fn list(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Query(mut params): Query,
) -> Answer {
    let limit: Limit = params.one("limit")?.unwrap_or_default();
    let cursor: Option<String> = params.one("cursor")?;
    params.finish()?;
    let page = state.auth.keys(&who, limit.get(), cursor.as_deref()).await?;
    let items = page.items.into_iter().map(KeyView::from).collect();
    Ok(json(&KeyPage { items, next_cursor: page.next_cursor }))
}

/// Revoke a key
///
/// Within a second nothing accepts it any more. Sent again, the answer is the same.
#[utoipa::path(
    delete, path = "/api/keys/{id}", operation_id = "revoke_key", tag = "access",
    params(KeyPath),
    responses((status = 204, description = "It is revoked.")),
    extensions(("x-problems" = json!([KeyNotFound]))),
)]
pub(super) async fn revoke(
    State(state): State<Arc<Services>>,
    Path(id): Path<KeyId>,
    Who(who): Who,
) -> Answer {
    state.auth.revoke_key(&who, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A key, without its secret part.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    pub(crate) id: KeyId,
    pub(crate) name: String,
    /// `null`: an operator's.
    pub(crate) tenant: Option<TenantId>,
    operator: bool,
    /// `read`, `write`, `admin`; each includes those before it.
    pub(crate) scopes: Vec<&'static str>,
    created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    /// Give or take a minute.
    last_used_at: Option<Timestamp>,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IssuedKey)]
pub(crate) struct IssuedView {
    /// The key itself, for `Authorization: Bearer …`. Nobody will see it again.
    pub(crate) key: String,
    #[serde(flatten)]
    pub(crate) record: KeyView,
}

/// A page of keys.
#[derive(Debug, Serialize, ToSchema)]
struct KeyPage {
    items: Vec<KeyView>,
    /// `null` on the last page.
    next_cursor: Option<String>,
}

impl From<Issued> for IssuedView {
    fn from(Issued { key, record }: Issued) -> Self {
        Self { key: key.expose().to_owned(), record: record.into() }
    }
}

impl From<KeyRecord> for KeyView {
    fn from(key: KeyRecord) -> Self {
        Self {
            id: key.id,
            name: key.name,
            operator: key.tenant.is_none(),
            tenant: key.tenant,
            scopes: key.scopes.iter().map(Scope::as_str).collect(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
        }
    }
}
