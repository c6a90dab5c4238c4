//! Query parameters that nobody documented are refused, before any handler sees the request.
//!
//! A handler that takes some says which are too many itself (`fields::Params::finish`); one that takes none cannot
//! forget to, because the document of all routes knows that it takes none.

use std::collections::HashSet;
use std::sync::LazyLock;

use axum::http::{Method, Uri};
use serde_json::Value;

use super::fields::Params;
use super::openapi;
use crate::base::Result;

/// `GET /api/uploads/{id}`, and every other operation without a query.
static WITHOUT_QUERY: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let mut found = HashSet::new();
    for (path, item) in members(&openapi::DOCUMENT["paths"]) {
        for (method, operation) in members(&item) {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            if !parameters.iter().any(|parameter| parameter["in"] == "query") {
                found.insert(format!("{} {path}", method.to_ascii_uppercase()));
            }
        }
    }
    found
});

/// # Errors
/// `InvalidRequest` for a query where the operation takes none.
pub(super) fn check(method: &Method, route: Option<&str>, uri: &Uri) -> Result<()> {
    let (Some(query), Some(route)) = (uri.query(), route) else { return Ok(()) };
    // Another method than the path has is told so by the router.
    if WITHOUT_QUERY.contains(&format!("{method} {route}")) { Params::parse(query).finish() } else { Ok(()) }
}
