//! Answers as JSON.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Something was made: where it is, and what it is, as JSON.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) location: Option<String>,
    pub(super) body: String,
}

impl Created {
    /// `value` was made, and is at `location`.
    pub(super) fn at(location: String, value: &impl Serialize) -> Self {
        Self { location: Some(location), body: text(value) }
    }
}

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let location = self.location.map(|location| [(header::LOCATION, location)]);
        (StatusCode::CREATED, location, as_json(self.body)).into_response()
    }
}

/// `value` as a JSON body. It is the state of this moment: nobody keeps it.
pub(super) fn json(value: &impl Serialize) -> Response {
    as_json(text(value))
}

/// `value` as JSON, on one line.
pub(super) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("INVARIANT: our views have string keys and no failing parts")
}

fn as_json(body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, body).into_response()
}
