//! `/healthz` (the process runs), `/readyz` (it can work), `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::reply;
use crate::app::Services;
use crate::telemetry::metrics;

/// `GET /healthz`
pub(super) async fn live() -> Response {
    reply::json(&json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// `GET /readyz`
pub(super) async fn ready(State(state): State<Arc<Services>>) -> Response {
    let checks = state.ops.ready().await;
    let all = checks.iter().all(|check| check.ok);
    let details: Map<String, Value> = checks
        .iter()
        .map(|check| (check.name.to_owned(), json!({ "status": if check.ok { "ok" } else { "away" } })))
        .collect();
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = reply::json(&json!({ "status": if all { "ok" } else { "unavailable" }, "checks": details }));
    (status, body).into_response()
}

/// `GET /metrics`: the text format of Prometheus.
pub(super) async fn scrape() -> Response {
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], metrics::install().render()).into_response()
}
