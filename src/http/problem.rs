//! Errors as HTTP says them: `application/problem+json` (RFC 9457), one table from class to status.
//!
//! A handler returns [`Problem`]; the response is rendered by `layers`, which knows the request's id and path.
//! A 5xx tells the client nothing of what lies behind; that is logged, once, there.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::base::Error;
use crate::base::error::Class;

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct Problem(pub(super) Error);

/// What a handler answers.
pub(super) type Answer<T = Response> = Result<T, Problem>;

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Problem {
    /// Only the status, and the error for `layers` to render.
    fn into_response(self) -> Response {
        let mut response = status(self.0.code().class()).into_response();
        response.extensions_mut().insert(std::sync::Arc::new(self.0));
        response
    }
}

/// The status of each class of errors.
pub(super) fn status(class: Class) -> StatusCode {
    match class {
        Class::Invalid => StatusCode::BAD_REQUEST,
        Class::Unauthenticated => StatusCode::UNAUTHORIZED,
        Class::Forbidden => StatusCode::FORBIDDEN,
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Class::TimedOut => StatusCode::REQUEST_TIMEOUT,
        Class::Conflict => StatusCode::CONFLICT,
        Class::Gone => StatusCode::GONE,
        Class::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Class::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Class::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        Class::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Class::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Class::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
    }
}

/// Turns `response` into the problem that `error` is, for the request `request_id` to `path`.
pub(super) fn render(response: &mut Response, error: &Error, path: &str, request_id: &str) {
    let code = error.code();
    let status = status(code.class());
    let mut body = Map::new();
    body.insert("type".to_owned(), format!("/problems/{}", code.as_str()).into());
    body.insert("title".to_owned(), code.title().into());
    body.insert("status".to_owned(), status.as_u16().into());
    body.insert("detail".to_owned(), detail(error, status, request_id).into());
    body.insert("instance".to_owned(), path.into());
    body.insert("code".to_owned(), code.as_str().into());
    body.insert("request_id".to_owned(), request_id.into());
    body.extend(error.members().clone());

    *response.status_mut() = status;
    *response.body_mut() = Value::Object(body).to_string().into();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(header::CONTENT_LENGTH);
    if let Some(delay) = error.retry_delay() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
    }
    if code.class() == Class::RangeNotSatisfiable
        && let Some(size) = error.members().get("size").and_then(Value::as_u64)
        && let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}"))
    {
        // RFC 9110 15.5.17: so that the client can ask for a range that is there.
        headers.insert(header::CONTENT_RANGE, value);
    }
    if code.class() == Class::Unauthenticated {
        // RFC 9110 11.6.1: a 401 says how to authenticate; RFC 6750 3.
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
}

/// What lies behind a bug is for the log; the id leads whoever reads the log to it.
fn detail(error: &Error, status: StatusCode, request_id: &str) -> String {
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        return format!(
            "something went wrong on our side; the service's log says more under request {request_id}"
        );
    }
    error.detail().to_owned()
}
