//! Problems in the document: which codes an operation can meet, and what each looks like.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::base::Code;
use crate::base::error::Class;
use crate::http::problem::status;
use crate::http::problems::{self, Presence};

/// Where a handler's attribute lists the codes that only it can meet.
const OWN_CODES: &str = "x-problems";

/// What every request can meet; a foreign web page is refused everywhere (`auth.mode: open`).
const ANYWHERE: &[Code] =
    &[Code::InvalidRequest, Code::Forbidden, Code::Internal, Code::Unavailable, Code::Overloaded];
/// What a request can meet that needs a key.
const WITH_KEY: &[Code] = &[Code::Unauthenticated, Code::TenantNotFound, Code::RateLimited];
/// What a request with a body can meet.
const WITH_BODY: &[Code] = &[Code::UnsupportedMediaType, Code::RequestTimeout];

/// Adds a response for each status of the codes that `operation` can meet.
pub(super) fn expand(operation: &mut Value) {
    let own = operation.as_object_mut().and_then(|operation| operation.remove(OWN_CODES));
    let own: Vec<String> = own.and_then(|codes| serde_json::from_value(codes).ok()).unwrap_or_default();
    let public = operation["security"] == json!([{}]);
    let body = operation.get("requestBody").is_some();
    let meets = |code: &Code| {
        ANYWHERE.contains(code)
            || (!public && WITH_KEY.contains(code))
            || (body && WITH_BODY.contains(code))
            || own.iter().any(|own| own == code.as_str())
    };
    let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.iter().copied().filter(meets) {
        by_status.entry(status(code.class()).as_str().to_owned()).or_default().push(code);
    }
    for (status, codes) in by_status {
        // A handler may describe what an answer says besides problems, as /readyz does.
        let response = &mut operation["responses"][status];
        if response["description"].is_null() {
            let titles: Vec<_> =
                codes.iter().map(|code| format!("`{}`: {}.", code.as_str(), code.title())).collect();
            response["description"] = titles.join(" ").into();
        }
        response["content"]["application/problem+json"]["schema"] = one_of(&codes);
        if codes.contains(&Code::Unauthenticated) {
            response["headers"]["WWW-Authenticate"] =
                json!({ "$ref": "#/components/headers/WWW-Authenticate" });
        }
        if codes
            .iter()
            .any(|code| matches!(code.class(), Class::Unavailable | Class::TooMany | Class::StorageFull))
        {
            response["headers"]["Retry-After"] = json!({ "$ref": "#/components/headers/Retry-After" });
        }
    }
}

fn one_of(codes: &[Code]) -> Value {
    match codes {
        [code] => reference(*code),
        codes => {
            let mapping: Map<_, _> = codes
                .iter()
                .map(|code| (code.as_str().to_owned(), reference(*code)["$ref"].clone()))
                .collect();
            let schemas: Vec<_> = codes.iter().copied().map(reference).collect();
            json!({ "oneOf": schemas, "discriminator": { "propertyName": "code", "mapping": mapping } })
        }
    }
}

fn reference(code: Code) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", name(code)) })
}

/// `UploadGoneProblem`
fn name(code: Code) -> String {
    format!("{code:?}Problem")
}

/// Adds the shapes of all problems.
pub(super) fn define(schemas: &mut Value) {
    schemas["Problem"] = json!({
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
        "properties": {
            "type": { "type": "string", "description": "Where a person reads more." },
            "title": { "type": "string", "description": "The same for every occurrence." },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What happened this time, and what to do." },
            "instance": { "type": "string", "description": "The path that was asked for." },
            "code": { "type": "string", "description": "What programs decide by." },
            "request_id": { "type": "string", "description": "As in `X-Request-Id`." },
        },
    });
    for code in Code::ALL.iter().copied() {
        schemas[name(code)] = shape(code);
    }
}

fn shape(code: Code) -> Value {
    let text = problems::of(code);
    let mut properties = json!({
        "type": { "const": format!("/problems/{}", code.as_str()) },
        "title": { "const": code.title() },
        "status": { "const": status(code.class()).as_u16() },
        "code": { "const": code.as_str() },
    });
    for member in text.members {
        properties[member.name] = member.kind.schema();
        properties[member.name]["description"] = member.meaning.into();
    }
    let always = text.members.iter().filter(|member| member.presence == Presence::Always);
    let mut shape = json!({
        "type": "object",
        "description": format!("{} {}", text.meaning, text.remedy),
        "allOf": [{ "$ref": "#/components/schemas/Problem" }],
        "properties": properties,
    });
    let required: Vec<_> = always.map(|member| member.name).collect();
    if !required.is_empty() {
        shape["required"] = required.into();
    }
    shape
}
