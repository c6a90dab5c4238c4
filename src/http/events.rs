//! `GET /api/uploads/{id}/events`: what happens to an upload as server-sent events, for a browser's `EventSource`.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Map, Value};

use super::access;
use super::extract::{Path, Who};
use super::file_view::FileView;
use super::openapi::requests::UploadPath;
use super::openapi::types::StreamEvent;
use super::problem::Answer;
use super::reply::text;
use super::upload_view::UploadView;
use crate::app::Services;
use crate::base::Code::{Overloaded, UploadGone, UploadNotFound};
use crate::base::{Error, UploadId};
use crate::upload::UploadEvent;

/// Proxies close what is silent for 30 s to 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often it is asked whether the key still holds: what is revoked ends within a second or two.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// nginx would hold events back until its buffer is full.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// The name of the last event, and its id: a browser that reconnects after it says so.
const COMPLETED: &str = "completed";

/// Watch an upload
///
/// Events: `progress` (the upload as in lists, with `progress` while it is being finalized), at once and after each
/// change, at most four a second; a finalize that failed is one of these, with `error`, because the session goes on.
/// Then `completed` (the file) or `failed` (`code`, `detail`, `state`), and the stream ends. An `EventSource` that
/// comes again after `completed` gets 204, after `failed` 410 or 404: it stops asking.
#[utoipa::path(
    get, path = "/api/uploads/{id}/events", operation_id = "watch_upload", tag = "uploads",
    params(
        UploadPath,
        ("Last-Event-ID" = Option<String>, Header, description = "Sent by a browser that reconnects."),
    ),
    responses(
        (status = 200, description = "The events.", content_type = "text/event-stream", body = StreamEvent),
        (status = 204, description = "It is completed, as the client knows."),
    ),
    extensions(("x-problems" = json!([UploadNotFound, UploadGone, Overloaded]))),
)]
pub(super) async fn watch(
    State(state): State<Arc<Services>>,
    Path(id): Path<UploadId>,
    Who(who): Who,
    headers: HeaderMap,
) -> Answer {
    let events = state.uploads.events(&who, id).await?;
    if headers.get(LAST_EVENT_ID).is_some_and(|last| last == COMPLETED) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let rendered = stream::unfold((events, state, headers), |(mut events, state, headers)| async move {
        // The key may be revoked meanwhile: then nothing more is told, and nobody watches any more.
        let event = {
            let mut next = pin!(events.next());
            loop {
                let event = tokio::time::timeout(ASK_AGAIN, &mut next).await;
                access::authenticate(&state, &headers).await.ok()?;
                if let Ok(event) = event {
                    break event?;
                }
            }
        };
        Some((Ok::<_, Infallible>(render(&state, &event).await), (events, state, headers)))
    });
    Ok(event_stream(Sse::new(rendered).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))))
}

fn event_stream(events: impl IntoResponse) -> Response {
    let mut response = events.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

async fn render(state: &Services, event: &UploadEvent) -> Event {
    match event {
        UploadEvent::Progress(progress) => {
            let view = UploadView::of_progress(progress);
            Event::default().event("progress").data(text(&view))
        }
        UploadEvent::Completed(file) => {
            // Where the database does not answer, that they are being made is as true.
            let pictured = state.thumbnails.describe_one(file).await;
            let pictured = pictured.unwrap_or_else(|_| state.thumbnails.describe_new(file));
            Event::default().event(COMPLETED).id(COMPLETED).data(text(&FileView::of(state, file, &pictured)))
        }
        UploadEvent::Failed(error) => Event::default().event("failed").data(text(&failure(error))),
    }
}

/// As the problem that another request would get says it.
fn failure(error: &Error) -> Map<String, Value> {
    let mut members = error.members().clone();
    members.insert("code".to_owned(), error.code().as_str().into());
    members.insert("detail".to_owned(), error.detail().into());
    members
}
