//! Answers that stay the same for as long as this process runs: the document, and the pages for people.
//!
//! They are made once; a client that has one already gets a 304 (RFC 9110 13.1.2).

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::conditions;
use crate::base::crc;

/// A finished answer. Anybody may keep it, and asks again after five minutes: the service may be a newer one then.
#[derive(Debug, Clone)]
pub(super) struct Fixed {
    headers: HeaderMap,
    etag: String,
    bytes: Bytes,
}

impl Fixed {
    pub(super) fn new(content_type: &'static str, text: String) -> Self {
        let etag = format!("\"{}-{}\"", env!("CARGO_PKG_VERSION"), crc::of(text.as_bytes()));
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let value = HeaderValue::from_str(&etag).expect("INVARIANT: a version and hex digits");
        headers.insert(header::ETAG, value);
        Self { headers, etag, bytes: text.into() }
    }

    /// The same, with one more header.
    pub(super) fn with(mut self, name: header::HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("INVARIANT: our own header values are ASCII");
        self.headers.insert(name, value);
        self
    }

    /// For a request with these headers.
    pub(super) fn answer(&self, request: &HeaderMap) -> Response {
        let headers = self.headers.clone();
        if conditions::any_tag(request, header::IF_NONE_MATCH, |tag| {
            tag.trim_start_matches("W/") == self.etag
        }) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.bytes.clone()).into_response()
    }
}
