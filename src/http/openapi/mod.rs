//! The OpenAPI document of all routes, at `/openapi.json`.
//!
//! Each handler says what is its own in `#[utoipa::path]`: parameters, bodies, answers, and in `x-problems` the codes
//! that only it can meet. What holds for many is added here, once: the problems that anything can meet and their
//! shapes, headers of every answer, HEAD beside each GET. The router takes a handler only together with its
//! documentation (`super::routes`), so nothing can be missing.

pub(super) mod answers;
mod problems;
pub(super) mod requests;
pub(super) mod types;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use self::answers::NotModified;
use super::fixed::Fixed;

/// The finished document.
pub(super) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| finish(super::routes().into_openapi()));
static TEXT: LazyLock<Fixed> = LazyLock::new(|| Fixed::new("application/json", DOCUMENT.to_string()));

/// What stands in the document before any route does.
pub(super) fn beginning() -> OpenApi {
    serde_json::from_value(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "cifra",
            "version": env!("CARGO_PKG_VERSION"),
            "description": include_str!("about.md"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "tags": [
            { "name": "uploads", "description": "A file comes in by chunks: any order, any number at once, resumable." },
            { "name": "files", "description": "What is stored." },
            { "name": "entities", "description": "Records of any table, through the cache." },
            { "name": "access", "description": "Who may: tenants, keys, and the log of changes." },
            { "name": "cache", "description": "What is answered without the database: figures, switches, invalidation." },
            { "name": "operations", "description": "Whether the service lives and works, and what it did." },
            { "name": "documentation", "description": "What you are reading, and what problems mean." },
        ],
        "components": { "securitySchemes": { "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "`Authorization: Bearer KEY`. With `auth.mode: open` no key is needed.",
        } } },
        "security": [{ "key": [] }],
        "paths": {},
    }))
    .expect("INVARIANT: written above, and read by every test of the document")
}

/// The OpenAPI document
///
/// Generated from the code that answers: it is complete.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "documentation",
    responses((status = 200, description = "The document.", body = Value), NotModified),
    security(()),
)]
pub(super) async fn show(headers: HeaderMap) -> Response {
    TEXT.answer(&headers)
}

/// Adds what holds for many operations.
fn finish(document: OpenApi) -> Value {
    let mut document = serde_json::to_value(document).expect("INVARIANT: the document is JSON");
    for (_, item) in members(&mut document["paths"]) {
        for (_, operation) in members(item) {
            for parameter in
                operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
            {
                without_null(&mut parameter["schema"]);
            }
            problems::expand(operation);
            tell_of_cache(operation);
            if operation["security"] != json!([{}]) {
                add_tenant(operation);
            }
        }
        if let Some(get) = item.get("get") {
            let head = head_of(get);
            item["head"] = head;
        }
        for (_, operation) in members(item) {
            for (_, response) in members(&mut operation["responses"]) {
                response["headers"]["X-Request-Id"] = json!({ "$ref": "#/components/headers/X-Request-Id" });
            }
        }
    }
    document["components"]["headers"] = json!({
        "X-Request-Id": {
            "description": "Names the request in the service's log; the client's own, if it sent a usable one.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
        },
        "WWW-Authenticate": {
            "description": "How to show a key (RFC 9110 11.6.1).",
            "schema": { "const": "Bearer" },
        },
        "X-Cache": {
            "description": "Which tier had the value; `STALE`: an older value than usual, because no other was to be had in time.",
            "schema": { "type": "string", "enum": ["L1", "L2", "DB", "BYPASS", "STALE"] },
        },
        "Server-Timing": {
            "description": "How many milliseconds that took, as browsers show it: `cache;desc=\"L1\";dur=0.012`.",
            "schema": { "type": "string" },
        },
        "Retry-After": {
            "description": "Come back after this many seconds.",
            "schema": { "type": "integer", "minimum": 1 },
        },
    });
    types::define(&mut document["components"]["schemas"]);
    problems::define(&mut document["components"]["schemas"]);
    close_requests(&mut document);
    tidy(&mut document);
    document
}

/// Where a handler's attribute says that its answers come through the cache (`super::cached`): those that are no
/// problems tell of it.
fn tell_of_cache(operation: &mut Value) {
    let cached = operation.as_object_mut().and_then(|operation| operation.remove("x-cached"));
    if cached != Some(Value::Bool(true)) {
        return;
    }
    for (_, response) in
        members(&mut operation["responses"]).filter(|(status, _)| *status < &"400".to_owned())
    {
        for name in ["X-Cache", "Server-Timing"] {
            response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
        }
    }
}

/// Whoever may act in more than one tenant names it.
fn add_tenant(operation: &mut Value) {
    let tenant = json!({
        "name": "X-Cifra-Tenant",
        "in": "header",
        "description": "The tenant in which an operator acts, or anybody with `auth.mode: open`; else `default`.",
        "schema": { "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" },
    });
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(tenant),
        None => operation["parameters"] = json!([tenant]),
    }
}

/// Where utoipa's words for Rust's types are not what JSON Schema means by them: its `int64` ends at 2^63 - 1, which
/// `u64` does not, and bytes are no list of numbers.
fn tidy(value: &mut Value) {
    if value.get("minimum").is_some() && value.get("maximum").is_none() {
        match value["format"].as_str() {
            Some("int64") => value["maximum"] = u64::MAX.into(),
            Some("int32") => value["maximum"] = u32::MAX.into(),
            _ => {}
        }
    }
    if value["items"] == json!({ "type": "integer", "format": "int32", "minimum": 0 }) {
        *value = json!({ "type": "string", "format": "binary" });
    }
    match value {
        Value::Object(members) => {
            if members.get("maximum").is_some() {
                members.remove("format");
            }
            members.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// A field that nobody asked for is a fault (`fields`), in every JSON request.
fn close_requests(document: &mut Value) {
    let bodies = members(&mut document["paths"]).flat_map(|(_, item)| members(item));
    let schemas: BTreeSet<String> = bodies
        .filter_map(|(_, operation)| {
            let schema = operation.pointer_mut("/requestBody/content/application~1json/schema")?;
            without_null(schema);
            Some(schema["$ref"].as_str()?.rsplit('/').next()?.to_owned())
        })
        .collect();
    for name in schemas {
        document["components"]["schemas"][name]["additionalProperties"] = false.into();
    }
}

/// utoipa says of what may be left out that it may be null. Parameters and bodies cannot be.
fn without_null(schema: &mut Value) {
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array)
        && let Some(shape) = choices.iter().find(|choice| choice["type"] != "null")
    {
        *schema = shape.clone();
    }
    if let Some([name, Value::String(null)]) = schema.get("type").and_then(Value::as_array).map(Vec::as_slice)
        && null == "null"
    {
        schema["type"] = name.clone();
    }
}

/// HEAD answers what GET does, without the body (RFC 9110 9.3.2).
fn head_of(get: &Value) -> Value {
    let mut head = get.clone();
    let name = |text: &Value| format!("{}_head", text.as_str().unwrap_or_default());
    head["operationId"] = name(&get["operationId"]).into();
    for (_, response) in members(&mut head["responses"]) {
        response.as_object_mut().map(|response| response.remove("content"));
    }
    head
}

fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flat_map(Map::iter_mut)
}
