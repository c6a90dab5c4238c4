//! Pages of other origins that may call from a browser (`server.cors.allowed_origins`; the Fetch standard's CORS
//! protocol). Keys travel in a header that a page sets by itself, so no credentials of the browser's own are
//! allowed along.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::CorsLayer;

use crate::config::WebOrigin;

/// Browsers ask again after this long; none keeps an answer for much longer (Chromium: 2 h).
const MAX_AGE: Duration = Duration::from_hours(1);

/// The layer for these origins; `None` when there are none, and nothing is answered to a browser's question.
pub(super) fn layer(origins: &[WebOrigin]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> =
        origins.iter().filter_map(|origin| origin.as_str().parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let name = HeaderName::from_static;
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_RANGE,
            header::RANGE,
            name("content-digest"),
            name("idempotency-key"),
            name("x-checksum-crc64nvme"),
            name("x-cifra-tenant"),
            name("x-request-id"),
        ])
        .expose_headers([
            header::ACCEPT_RANGES,
            header::CONTENT_DISPOSITION,
            header::CONTENT_RANGE,
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            name("repr-digest"),
            name("server-timing"),
            name("x-cache"),
            name("x-request-id"),
        ])
        .max_age(MAX_AGE);
    Some(layer)
}
