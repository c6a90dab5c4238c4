//! Tenants: `/api/tenants`. Translates; `AuthService` decides.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::cached;
use super::extract::{Json, Query, Who};
use super::openapi::requests::{NewTenant, PageQuery};
use super::problem::Answer;
use super::reply::json;
use crate::app::Services;
use crate::auth::Tenant;
use crate::base::Code::TenantExists;
use crate::base::page::Limit;
use crate::base::{TenantId, Timestamp};

/// Make a tenant
///
/// For operators. A tenant's uploads, files and keys are its own; nobody else's key reaches them.
#[utoipa::path(
    post, path = "/api/tenants", operation_id = "create_tenant", tag = "access",
    request_body = NewTenant,
    responses((status = 201, description = "The tenant.", body = TenantView)),
    extensions(("x-problems" = json!([TenantExists]))),
)]
pub(super) async fn create(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Json(mut fields): Json,
) -> Answer {
    let id = fields.read("id");
    let id = fields.required("id", id);
    fields.finish()?;
    let tenant = state.auth.create_tenant(&who, id).await?;
    Ok((StatusCode::CREATED, json(&TenantView::from(tenant))).into_response())
}

/// List tenants
///
/// For operators; by id.
#[utoipa::path(
    get, path = "/api/tenants", operation_id = "list_tenants", tag = "access",
    params(PageQuery),
    responses((status = 200, description = "A page of them.", body = TenantPage)),
    extensions(("x-cached" = json!(true))),
)]
pub(super) async fn list(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Query(mut params): Query,
) -> Answer {
    let limit: Limit = params.one("limit")?.unwrap_or_default();
    let cursor: Option<String> = params.one("cursor")?;
    params.finish()?;
    let seen = state.auth.tenants(&who, limit.get(), cursor.as_deref()).await?;
    let items = seen.value.items.into_iter().map(TenantView::from).collect();
    let mut response = json(&TenantPage { items, next_cursor: seen.value.next_cursor });
    cached::tell(&mut response, seen.source, seen.took);
    Ok(response)
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantView {
    pub(crate) id: TenantId,
    created_at: Timestamp,
}

/// A page of tenants.
#[derive(Debug, Serialize, ToSchema)]
struct TenantPage {
    items: Vec<TenantView>,
    /// `null` on the last page.
    next_cursor: Option<String>,
}

impl From<Tenant> for TenantView {
    fn from(Tenant { id, created_at }: Tenant) -> Self {
        Self { id, created_at }
    }
}
