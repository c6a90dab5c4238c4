//! Links to files, for who has no key: issuing them, and coming by one. Translates; `AuthService` decides.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Json, Path, Who};
use super::fields::Params;
use super::idempotency::Once;
use super::openapi::requests::{FilePath, IdempotencyHeader, NewLink};
use super::problem::Answer;
use super::reply::Created;
use crate::app::Services;
use crate::auth::{Link, Shown};
use crate::base::Code::{FileNotFound, IdempotencyConflict};
use crate::base::{FileId, Principal, Result, Timestamp};

/// The parameter that has a link's signed part.
const PARAMETER: &str = "link";

/// Issue a link
///
/// Whoever has the URL reads the content until the link ends: at `expires_at`, with the key that issued it, or with
/// the file.
#[utoipa::path(
    post, path = "/api/files/{id}/links", operation_id = "create_link", tag = "files",
    params(FilePath, IdempotencyHeader),
    request_body = NewLink,
    responses((status = 201, description = "The link.", body = LinkView, headers(
        ("Location" = String, description = "The link itself."),
    ))),
    extensions(("x-problems" = json!([FileNotFound, IdempotencyConflict]))),
)]
pub(super) async fn create(
    State(state): State<Arc<Services>>,
    Path(id): Path<FileId>,
    Who(who): Who,
    once: Once,
    Json(mut fields): Json,
) -> Answer {
    let seconds = fields.number("expires_in_seconds");
    let life = Duration::from_secs(fields.required("expires_in_seconds", seconds));
    let shown = if fields.flag("download") { Shown::Download } else { Shown::Inline };
    fields.finish()?;
    let file = state.files.get(&who, id).await?;
    let path = format!("{}/api/files/{id}/content", state.public_url);
    let view = |link: &Link| {
        let download = if shown == Shown::Download { "download=true&" } else { "" };
        let url = format!("{path}?{download}{PARAMETER}={}", link.text);
        Created::at(url.clone(), &LinkView { url, expires_at: link.expires_at })
    };
    let link = state.auth.issue_link(&who, file.id, shown, life, once.keeping(view)).await?;
    Ok(view(&link).into_response())
}

/// Who comes by a link; `None` if the request has none.
pub(super) async fn bearer(state: &Services, request: &Parts) -> Result<Option<Principal>> {
    let path = request.uri.path();
    let file = path.strip_prefix("/api/files/").and_then(|path| path.strip_suffix("/content"));
    let Some(Ok(file)) = file.map(str::parse::<FileId>) else { return Ok(None) };
    let mut params = Params::parse(request.uri.query().unwrap_or_default());
    let Some(text) = params.one::<String>(PARAMETER)? else { return Ok(None) };
    let shown = if params.one("download")?.unwrap_or(false) { Shown::Download } else { Shown::Inline };
    state.auth.open_link(&text, file, shown).await.map(Some)
}

/// A link as JSON.
#[derive(Debug, Serialize, ToSchema)]
struct LinkView {
    /// Relative unless `server.public_url` is set.
    url: String,
    expires_at: Timestamp,
}
