//! What a tenant keeps and may keep: `/api/usage`. Translates; `FileService` knows.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Who;
use super::problem::Answer;
use super::reply::json;
use crate::app::Services;

/// What the tenant keeps and may keep
#[utoipa::path(
    get, path = "/api/usage", operation_id = "get_usage", tag = "operations",
    responses((status = 200, description = "Bytes and open uploads as of now, with their limits.", body = UsageView)),
)]
pub(super) async fn show(State(state): State<Arc<Services>>, Who(who): Who) -> Answer {
    let usage = state.files.usage(&who).await?;
    let limits = &state.limits;
    Ok(json(&UsageView {
        stored_bytes: usage.stored_bytes,
        reserved_bytes: usage.reserved_bytes,
        open_uploads: usage.open_uploads,
        limits: LimitsView {
            requests_per_second: limits.requests_per_second,
            open_uploads: limits.open_uploads,
            tenant_max_bytes: limits.tenant_max_bytes.map(crate::config::ByteSize::bytes),
        },
    }))
}

/// A tenant's usage as JSON.
#[derive(Debug, Serialize, ToSchema)]
struct UsageView {
    /// Bytes of its files.
    stored_bytes: u64,
    /// Announced by uploads that have not ended, whether they came or not.
    reserved_bytes: u64,
    /// Uploads that have not ended.
    open_uploads: u64,
    limits: LimitsView,
}

/// As the configuration calls them; `null` is no limit.
#[derive(Debug, Serialize, ToSchema)]
struct LimitsView {
    requests_per_second: Option<u32>,
    open_uploads: u32,
    tenant_max_bytes: Option<u64>,
}
