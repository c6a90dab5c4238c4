//! What handlers take from a request: who asks, path segments, query, JSON, and the body as a stream.
//!
//! Ours instead of axum's own, because ours answer problem+json. Called by axum, on behalf of the handlers.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::body;
use super::digests;
use super::fields::{Fields, Params};
use super::problem::Problem;
use crate::app::Services;
use crate::base::digest::Declared;
use crate::base::{ByteStream, Code, Error, Principal, Result};

/// A JSON request is a few hundred bytes; metadata may have 8 KiB, which escapes make longer.
const JSON_BYTES_MAX: usize = 128 * 1024;

/// Who asks, as `access` found out.
pub(super) struct Who(pub(super) Principal);

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let who = parts.extensions.get().cloned();
        let nobody = || Error::internal("nobody was asked who it is", "a handler without a key takes `Who`");
        Ok(Self(who.ok_or_else(nobody)?))
    }
}

/// The one variable segment of a path.
pub(super) struct Path<T>(pub(super) T);

impl<T> FromRequestParts<Arc<Services>> for Path<T>
where
    T: FromStr + Send,
    T::Err: Display,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Services>) -> Result<Self, Problem> {
        let [first] = segments(parts, state).await?;
        Ok(Self(segment(&first)?))
    }
}

/// Both variable segments of a path.
pub(super) struct Path2<T, U>(pub(super) T, pub(super) U);

impl<T, U> FromRequestParts<Arc<Services>> for Path2<T, U>
where
    T: FromStr + Send,
    T::Err: Display,
    U: FromStr + Send,
    U::Err: Display,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Services>) -> Result<Self, Problem> {
        let [first, second] = segments(parts, state).await?;
        Ok(Self(segment(&first)?, segment(&second)?))
    }
}

async fn segments<const N: usize>(parts: &mut Parts, state: &Arc<Services>) -> Result<[String; N]> {
    let malformed = || Error::new(Code::InvalidRequest, "the path is not well-formed");
    let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| malformed())?;
    let segments: Vec<String> = params.iter().map(|(_, value)| value.to_owned()).collect();
    segments.try_into().map_err(|_| malformed())
}

/// One segment of a path, or a part of one.
///
/// # Errors
/// `InvalidRequest` if it is no `T`.
pub(super) fn segment<T: FromStr<Err: Display>>(segment: &str) -> Result<T> {
    segment
        .parse()
        .map_err(|error: T::Err| Error::new(Code::InvalidRequest, format!("`{segment}` is {error}")))
}

/// The query string's parameters.
pub(super) struct Query(pub(super) Params);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(Params::parse(parts.uri.query().unwrap_or_default())))
    }
}

/// A JSON object, or no body at all.
pub(super) struct Json(pub(super) Fields);

impl<S: Sync> FromRequest<S> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        refuse_encoding(request.headers())?;
        let json = match request.headers().get(header::CONTENT_TYPE) {
            None => true,
            Some(value) => value.to_str().is_ok_and(is_json),
        };
        let body = body::collect(request.into_body(), JSON_BYTES_MAX).await?;
        if !json && !body.is_empty() {
            let detail = "the body must be JSON: send it with Content-Type: application/json";
            return Err(Error::new(Code::UnsupportedMediaType, detail).into());
        }
        Ok(Self(Fields::parse(&body)?))
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// A body of bytes, with what the headers say of it.
pub(super) struct Bytes {
    /// Its length, where the client told it.
    pub(super) announced: Option<u64>,
    /// Digests that must hold for it.
    pub(super) declared: Vec<Declared>,
    /// The bytes.
    pub(super) stream: ByteStream,
}

impl<S: Sync> FromRequest<S> for Bytes {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        refuse_encoding(request.headers())?;
        let announced =
            request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let declared = digests::declared(request.headers())?;
        Ok(Self { announced, declared, stream: Box::pin(body::stream(request.into_body())) })
    }
}

/// What is stored is what came over the wire: nothing is unpacked on the way (RFC 9110 8.4).
pub(super) fn refuse_encoding(headers: &HeaderMap) -> Result<()> {
    match headers.get(header::CONTENT_ENCODING) {
        None => Ok(()),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"identity") => Ok(()),
        Some(_) => Err(Error::new(
            Code::UnsupportedMediaType,
            "Content-Encoding is not taken here: send the bytes as they are",
        )),
    }
}
