//! `/healthz` (the process runs), `/readyz` (it can work), `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Who;
use super::problem::Answer;
use super::reply;
use crate::app::Services;

/// Whether the process runs
#[utoipa::path(
    get, path = "/healthz", operation_id = "healthz", tag = "operations", security(()),
    responses((status = 200, description = "It runs.", body = Live)),
)]
pub(super) async fn live() -> Response {
    reply::json(&Live { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Whether the service can work
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "operations", security(()),
    responses(
        (status = 200, description = "It can; `degraded` where a part is away that it can do without.", body = Ready),
        (status = 503, description = "A part that it needs is away.", body = Ready),
    ),
)]
pub(super) async fn ready(State(state): State<Arc<Services>>) -> Response {
    let checks = state.ops.ready().await;
    let part = |ok| Part { status: if ok { "ok" } else { "away" } };
    let away: Vec<_> = checks.iter().filter(|check| !check.ok).collect();
    let (code, status) = if away.iter().any(|check| check.needed) {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    } else if away.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::OK, "degraded")
    };
    let checks = checks.iter().map(|check| (check.name.as_str(), part(check.ok))).collect();
    (code, reply::json(&Ready { status, checks })).into_response()
}

/// What the service did
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "operations",
    responses((status = 200, description = "Counters and histograms, as Prometheus reads them.", body = String)),
)]
pub(super) async fn scrape(State(state): State<Arc<Services>>, Who(who): Who) -> Answer {
    let metrics = state.ops.metrics(&who)?;
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, content_type)], metrics).into_response())
}

/// The answer of `/healthz`.
#[derive(Debug, Serialize, ToSchema)]
struct Live {
    /// `ok`
    status: &'static str,
    version: &'static str,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize, ToSchema)]
struct Ready<'a> {
    /// `ok`, `degraded` or `unavailable`
    status: &'static str,
    /// Each part by its name: `database`, `store` (where new files go), `store:NAME` (where only old ones are),
    /// `redis`.
    checks: BTreeMap<&'a str, Part>,
}

/// A part that the service needs.
#[derive(Debug, Serialize, ToSchema)]
struct Part {
    /// `ok` or `away`
    status: &'static str,
}
