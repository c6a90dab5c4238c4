//! What happens around every request: its id, its metrics, its log line, and the rendering of errors.
//!
//! One layer, because the four need the same things: the request's id, its route, how long it took.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::body::{self, Patience};
use super::client_address;
use super::connection::Peer;
use super::head;
use super::problem::{self, Problem};
use super::query;
use crate::app::Services;
use crate::base::{Code, Error};
use crate::telemetry::{metrics, reports};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id of a client's own is replaced by ours.
const REQUEST_ID_LEN_MAX: usize = 128;

/// Sees a request through.
pub(super) async fn around(State(state): State<Arc<Services>>, request: Request, next: Next) -> Response {
    let request_id = request_id(&request);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    reports::within(&request_id, route, see_through(&state, request, next, &request_id, route)).await
}

async fn see_through(
    state: &Services,
    mut request: Request,
    next: Next,
    request_id: &str,
    route: Option<&str>,
) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let flying = Flying::new();

    let http2 = request.version() == Version::HTTP_2;
    if let Some(Peer(peer)) = request.extensions().get() {
        let client = client_address::of(peer.ip(), request.headers(), &state.door.trusted_proxies);
        request.extensions_mut().insert(client);
    }
    let mut response = next.run(body::guard(request, Patience::of(&state.door), &state.tasks)).await;

    drop(flying);
    let error = response.extensions_mut().remove::<Arc<Error>>();
    // The rest of a body that was too slow will not be waited for (RFC 9110 15.5.9). HTTP/2 ends streams, and has no
    // such header.
    let late = error.as_ref().is_some_and(|error| error.code() == Code::RequestTimeout);
    if !http2 && late {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(error) = &error {
        problem::render(&mut response, error, &path, request_id);
    }
    let status = response.status();
    log(&method, &path, status, error.as_deref(), request_id, begun);
    // Paths that are nobody's route share one label, so that a scan makes no metrics.
    metrics::http_request(method.as_str(), route.unwrap_or("none"), status.as_u16(), begun.elapsed());
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

/// Refuses what could be read in two ways, and what the operation does not take. Inside of what answers browsers
/// about other origins, so that their pages read the refusal, and are answered when they ask beforehand.
pub(super) async fn strict(mut request: Request, next: Next) -> Response {
    if let Err(error) = head::check(&mut request) {
        let http2 = request.version() == Version::HTTP_2;
        let mut response = Problem(error).into_response();
        if !http2 {
            // What comes after such a head is nobody's request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        return response;
    }
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    match query::check(request.method(), route, request.uri()) {
        Ok(()) => next.run(request).await,
        Err(error) => Problem(error).into_response(),
    }
}

/// A handler's panic is a bug of ours: the client gets a 500, the log gets what the panic said.
#[expect(clippy::needless_pass_by_value, reason = "the layer that calls it gives the panic away")]
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let what = panic.downcast_ref::<String>().map(String::as_str);
    let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Problem(Error::internal("a handler panicked", what.to_owned())).into_response()
}

/// The client's id if it can stand in a header and a log line, else a new one.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
    let usable = |id: &&str| {
        (1..=REQUEST_ID_LEN_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given.filter(usable).map_or_else(|| Uuid::new_v4().simple().to_string(), str::to_owned)
}

fn log(
    method: &axum::http::Method,
    path: &str,
    status: StatusCode,
    error: Option<&Error>,
    request_id: &str,
    begun: Instant,
) {
    // As a u64: the JSON log would write a u128 as a string.
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = status.as_u16();
    match error {
        Some(error) if error.code() == Code::Internal => {
            tracing::error!(request_id, status, duration_ms, %error, "{method} {path} failed: {error}");
        }
        Some(error) if status >= 500 => {
            tracing::warn!(request_id, status, duration_ms, %error, "{method} {path} answered {status}: {error}");
        }
        Some(error) => {
            tracing::debug!(request_id, status, duration_ms, %error, "{method} {path} answered {status}: {error}");
        }
        None => tracing::debug!(request_id, status, duration_ms, "{method} {path} answered {status}"),
    }
}

/// Counts a request for as long as it is being answered, also when the client leaves.
struct Flying;

impl Flying {
    fn new() -> Self {
        metrics::http_in_flight(1);
        Self
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        metrics::http_in_flight(-1);
    }
}
