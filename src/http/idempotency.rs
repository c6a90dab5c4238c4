//! `Idempotency-Key`: a repeated request is answered as the first one was; what is new is served and its answer kept.
//!
//! A layer around all routes looks only at the few that begin something. What it cannot know is the answer, which
//! must be kept in the transaction of what was done: a handler takes [`Once`] and gives its service
//! [`Once::keeping`]. What is kept for how long, and when two are the same, `crate::idempotency` decides.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt};

use super::body;
use super::extract::Who;
use super::problem::{Answer, Problem};
use super::reply::Created;
use crate::app::Services;
use crate::base::{Result, crc};
use crate::idempotency::{Answered, Begun, BodyPrint, IdempotencyKey, Ticket, another_request, print};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const DIGESTS: [HeaderName; 3] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("x-checksum-crc64nvme"),
];
/// What begins something; elsewhere the header means nothing.
const ROUTES: &[&str] = &["/api/uploads", "/api/files", "/api/files/{id}/links"];

/// Sees a request with a key through.
pub(super) async fn around(State(state): State<Arc<Services>>, request: Request, next: Next) -> Response {
    let keyed = request.method() == Method::POST && request.headers().contains_key(IDEMPOTENCY_KEY);
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    match route.filter(|route| keyed && ROUTES.contains(route)).map(str::to_owned) {
        None => next.run(request).await,
        Some(route) => keyed_request(&state, &route, request, next).await.into_response(),
    }
}

async fn keyed_request(state: &Arc<Services>, route: &str, request: Request, next: Next) -> Answer {
    let (mut parts, body) = request.into_parts();
    let Who(who) = Who::from_request_parts(&mut parts, state).await?;
    let content_type = text_of(&parts, &header::CONTENT_TYPE);
    let (target_hash, print) = (target_hash(&parts, content_type), BodyPrint::of(content_type));
    let begun = state.idempotency.begin(&who, route, key(&parts)?, target_hash, print.clone()).await?;
    match begun {
        Begun::First(ticket) => {
            parts.extensions.insert(Arc::clone(&ticket));
            let seen = body::stream(body).inspect_ok(move |bytes| ticket.see(bytes));
            Ok(next.run(Request::from_parts(parts, Body::from_stream(seen))).await)
        }
        Begun::Repeated(answered) => {
            let told: Option<u64> = text_of(&parts, &header::CONTENT_LENGTH).parse().ok();
            if print.is_plain() && told.is_some_and(|told| told != answered.asked.body_size) {
                return Err(another_request().into());
            }
            if read_away(body, print).await?.finish() != (answered.asked.body_size, answered.asked.body_crc64)
            {
                return Err(another_request().into());
            }
            Ok(replay(*answered))
        }
    }
}

fn key(parts: &Parts) -> Result<IdempotencyKey> {
    let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter().map(HeaderValue::to_str);
    match (values.next(), values.next()) {
        (Some(Ok(key)), None) => key.parse(),
        _ => "".parse(), // several, or one that is no text: as malformed as none
    }
}

/// What was asked for, besides the body's bytes.
fn target_hash(parts: &Parts, content_type: &str) -> i64 {
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    // What is declared of the bytes is a part of the request: other digests ask for another check.
    let digests: Vec<&str> = DIGESTS.iter().map(|name| text_of(parts, name)).collect();
    let asked = format!("{target}\0{}\0{}", print::stable_type(content_type), digests.join("\0"));
    crc::of(asked.as_bytes()).to_i64()
}

fn text_of<'a>(parts: &'a Parts, name: &HeaderName) -> &'a str {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Reads a body to its end, for what it is.
async fn read_away(body: Body, mut print: BodyPrint) -> Result<BodyPrint> {
    let mut body = std::pin::pin!(body::stream(body));
    while let Some(frame) = body.next().await {
        print.see(&frame.map_err(body::broken_off)?);
    }
    Ok(print)
}

fn replay(answered: Answered) -> Response {
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::CREATED);
    (status, Created { location: answered.location, body: answered.body }).into_response()
}

/// The request's ticket, if it has a key.
pub(super) struct Once(Option<Arc<Ticket>>);

impl<S: Sync> FromRequestParts<S> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}

impl Once {
    /// What the service has to keep, made of what it did: the answer as `view` shows it.
    pub(super) fn keeping<T: ?Sized>(self, view: impl Fn(&T) -> Created) -> impl Fn(&T) -> Option<Answered> {
        move |done| {
            let ticket = self.0.as_ref()?;
            let Created { location, body } = view(done);
            Some(ticket.answered(StatusCode::CREATED.as_u16(), location, body))
        }
    }
}
