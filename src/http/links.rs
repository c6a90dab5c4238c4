//! Links to files and their thumbnails, for who has no key: issuing them, and coming by one. Translates; `AuthService` decides.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{OptionalFromRequestParts, State};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Json, Path, Who};
use super::fields::Params;
use super::idempotency::Once;
use super::openapi::requests::{FilePath, IdempotencyHeader, NewLink};
use super::problem::{Answer, Problem};
use super::reply::Created;
use crate::app::Services;
use crate::auth::{Guest, Link, Shown};
use crate::base::Code::{FileNotFound, IdempotencyConflict, NotAnImage, UnknownThumbnailSize};
use crate::base::{FileId, Result, Timestamp};

/// The parameter that has a link's signed part.
const PARAMETER: &str = "link";

/// Issue a link
///
/// Whoever has the URL reads the content, or the thumbnail, until the link ends: at `expires_at`, with the key that issued
/// it, or with the file.
#[utoipa::path(
    post, path = "/api/files/{id}/links", operation_id = "create_link", tag = "files",
    params(FilePath, IdempotencyHeader),
    request_body = NewLink,
    responses((status = 201, description = "The link.", body = LinkView, headers(
        ("Location" = String, description = "The link itself."),
    ))),
    extensions(("x-problems" = json!([FileNotFound, UnknownThumbnailSize, NotAnImage, IdempotencyConflict]))),
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
    let (thumbnail, download) = (fields.string("thumbnail"), fields.flag("download"));
    if thumbnail.is_some() && download {
        fields.refuse("download", "does not go with a thumbnail, which is always shown in place");
    }
    fields.finish()?;
    let file = state.files.get(&who, id).await?;
    let path = format!("{}/api/files/{id}", state.public_url);
    let (before, shown) = match thumbnail {
        Some(size) => {
            let version = state.thumbnails.version_of(&file, &size)?;
            (format!("{path}/thumbnails/{size}?v={version}&"), Shown::Thumbnail(size))
        }
        None if download => (format!("{path}/content?download=true&"), Shown::Download),
        None => (format!("{path}/content?"), Shown::Inline),
    };
    let view = |link: &Link| {
        let url = format!("{before}{PARAMETER}={}", link.text);
        Created::at(url.clone(), &LinkView { url, expires_at: link.expires_at })
    };
    let link = state.auth.issue_link(&who, file.id, shown, life, once.keeping(view)).await?;
    Ok(view(&link).into_response())
}

/// When the link ends by which a request came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkEnds(pub(super) Timestamp);

impl<S: Sync> OptionalFromRequestParts<S> for LinkEnds {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Ok(parts.extensions.get().copied())
    }
}

/// Who comes by a link; `None` if the request has none.
pub(super) async fn bearer(state: &Services, request: &Parts) -> Result<Option<Guest>> {
    let Some((file, thumbnail)) = linked(request.uri.path()) else { return Ok(None) };
    let mut params = Params::parse(request.uri.query().unwrap_or_default());
    let Some(text) = params.one::<String>(PARAMETER)? else { return Ok(None) };
    let shown = match thumbnail {
        Some(size) => Shown::Thumbnail(size.to_owned()),
        None if params.one("download")?.unwrap_or(false) => Shown::Download,
        None => Shown::Inline,
    };
    state.auth.open_link(&text, file, &shown).await.map(Some)
}

/// What a path leads to that can be linked to: the content of a file, or its thumbnail of a size.
fn linked(path: &str) -> Option<(FileId, Option<&str>)> {
    let (file, rest) = path.strip_prefix("/api/files/")?.split_once('/')?;
    let thumbnail = match rest {
        "content" => None,
        rest => Some(rest.strip_prefix("thumbnails/")?),
    };
    Some((file.parse().ok()?, thumbnail))
}

/// A link as JSON.
#[derive(Debug, Serialize, ToSchema)]
struct LinkView {
    /// Relative unless `server.public_url` is set.
    url: String,
    expires_at: Timestamp,
}
