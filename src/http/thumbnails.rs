//! Thumbnails: `/api/files/{id}/thumbnails/{size}`. Translates; `ThumbnailService` decides.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::conditions::{self, Verdict};
use super::extract::{Path2, Query, Who};
use super::links::LinkEnds;
use super::openapi::answers::NotModified;
use super::openapi::requests::ThumbnailPath;
use super::problem::Answer;
use super::serve;
use crate::app::Services;
use crate::base::Code::{
    FileNotFound, ImageTooLarge, ImageUndecodable, NotAnImage, PreconditionFailed, UnknownThumbnailSize,
};
use crate::base::{FileId, Timestamp};
use crate::media::Ready;

/// A year: what RFC 9111 5.2.2.1 lets caches take for ever.
const YEAR_SECONDS: u64 = 31_536_000;

/// Read a thumbnail
///
/// Of the named sizes that the service is configured with; a file's record tells their addresses. What is not there yet is
/// made while the request waits: all sizes at once, once, however many ask. With the right `v` it may be kept for ever.
#[utoipa::path(
    get, path = "/api/files/{id}/thumbnails/{size}", operation_id = "get_thumbnail", tag = "files",
    params(
        ThumbnailPath,
        ("v" = Option<String>, Query, description = "By which spec it is made, as the record's `url` has it. Without, or \
            with another one, the current one is answered, and is to be asked for again."),
        ("link" = Option<String>, Query, description = "The signed part of a link; takes the place of a key."),
        ("If-Match" = Option<String>, Header, description = "Only if the current `ETag` is one of these."),
        ("If-None-Match" = Option<String>, Header, description = "Only if the current `ETag` is none of these; else 304."),
    ),
    responses(
        (status = 200, description = "The thumbnail.", content(
            ([u8] = "image/jpeg"), ([u8] = "image/webp"), ([u8] = "image/png"),
        ), headers(
            ("ETag" = String, description = "Changes with the bytes."),
            ("Cache-Control" = String, description = "`immutable` with the right `v`."),
        )),
        NotModified,
    ),
    extensions(("x-problems" = json!([
        FileNotFound, UnknownThumbnailSize, NotAnImage, ImageTooLarge, ImageUndecodable, PreconditionFailed,
    ]))),
)]
pub(super) async fn show(
    State(state): State<Arc<Services>>,
    Path2(id, size): Path2<FileId, String>,
    Who(who): Who,
    link: Option<LinkEnds>,
    Query(mut params): Query,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let version: Option<String> = params.one("v")?;
    // Whether it holds was asked at the door.
    params.one::<String>("link")?;
    params.finish()?;
    let ready = state.thumbnails.get(&who, id, &size).await?;
    let verdict = conditions::evaluate_tag(&method, &headers, &ready.etag)?;
    let mut response = match verdict {
        Verdict::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Verdict::Proceed => full(&ready, &method),
    };
    let named = version.is_some_and(|version| version == ready.version.as_str());
    let caching = caching(named, link.map(|LinkEnds(ends)| ends), state.thumbnails.now());
    let kept = response.headers_mut();
    kept.insert(header::ETAG, text(&ready.etag));
    kept.insert(header::CACHE_CONTROL, text(&caching));
    serve::guard_picture(kept);
    if link.is_some() {
        serve::share(&mut response);
    }
    Ok(response)
}

fn full(ready: &Ready, method: &Method) -> Response {
    let body = if *method == Method::HEAD { Body::empty() } else { Body::from(ready.bytes.clone()) };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, text(&ready.content_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(ready.bytes.len()));
    response
}

/// Who may keep it, and for how long. By a link anybody may, as long as the link lives; else only who asked.
fn caching(named: bool, link_ends: Option<Timestamp>, now: Timestamp) -> String {
    let (whose, seconds) = match link_ends {
        Some(ends) => ("public", ends.since(now).as_secs().min(YEAR_SECONDS)),
        None => ("private", YEAR_SECONDS),
    };
    if named { format!("{whose}, max-age={seconds}, immutable") } else { format!("{whose}, no-cache") }
}

/// Our own words: types, tags, directives.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}
