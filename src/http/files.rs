//! Files: `/api/files`. Translates; `FileService` decides.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::cached;
use super::conditions::{self, Validators, Verdict};
use super::extract::{Json, Path, Query, Who};
use super::file_view::FileView;
use super::multipart;
use super::openapi::answers::NotModified;
use super::openapi::requests::{Conditions, FileChange as FileChangeBody, FilePath, FileQuery, PageQuery};
use super::problem::Answer;
use super::reply::json;
use super::serve;
use crate::app::Services;
use crate::base::Code::{FileNotFound, PreconditionFailed, RangeNotSatisfiable};
use crate::base::FileId;
use crate::base::metadata;
use crate::base::page::Limit;
use crate::files::{FileChange, FileFilter, Order};

/// List files
///
/// `metadata.KEY=VALUE` in the query finds those with that pair; it may be given for several keys. Pages follow each
/// other without gap or repetition, whatever is added or deleted meanwhile.
#[utoipa::path(
    get, path = "/api/files", operation_id = "list_files", tag = "files",
    params(FileQuery, PageQuery),
    responses((status = 200, description = "A page of them.", body = FilePage)),
    extensions(("x-cached" = json!(true))),
)]
pub(super) async fn list(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Query(mut params): Query,
) -> Answer {
    let filter = FileFilter {
        content_type: params.one("content_type")?,
        name_begins: params.one("q")?,
        created_after: params.one("created_after")?,
        created_before: params.one("created_before")?,
        metadata: params.prefixed("metadata."),
    };
    let order: Order = params.one("sort")?.unwrap_or_default();
    let limit: Limit = params.one("limit")?.unwrap_or_default();
    let cursor: Option<String> = params.one("cursor")?;
    params.finish()?;
    let seen = state.files.list(&who, filter, order, limit, cursor.as_deref()).await?;
    let page = seen.value;
    let pictured: Vec<_> = page.items().iter().map(|record| state.thumbnails.describe(record)).collect();
    let views = page.items().iter().zip(&pictured);
    let items = views.map(|(record, pictured)| FileView::of(&state, &record.file, pictured)).collect();
    let mut response = json(&FilePage { items, next_cursor: page.next_cursor.clone() });
    cached::tell(&mut response, seen.source, seen.took);
    Ok(response)
}

/// Look at a file
#[utoipa::path(
    get, path = "/api/files/{id}", operation_id = "get_file", tag = "files",
    params(FilePath, Conditions),
    responses(
        (status = 200, description = "The file.", body = FileView, headers(
            ("ETag" = String, description = "Changes with the record: `\"VERSION.DERIVED\"`"),
        )),
        NotModified,
    ),
    extensions(("x-problems" = json!([FileNotFound, PreconditionFailed])), ("x-cached" = json!(true))),
)]
pub(super) async fn show(
    State(state): State<Arc<Services>>,
    Path(id): Path<FileId>,
    Who(who): Who,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let seen = state.files.record(&who, id).await?;
    let (record, file) = (&seen.value, &seen.value.file);
    let etag = file.etag();
    let validators = Validators { etag: &etag, modified: file.updated_at };
    let mut response = match conditions::evaluate(&method, &headers, &validators)? {
        Verdict::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Verdict::Proceed => json(&FileView::of(&state, file, &state.thumbnails.describe(record))),
    };
    cached::tell(&mut response, seen.source, seen.took);
    response.headers_mut().insert(header::ETAG, validators.etag_value());
    Ok(response)
}

/// Change a file
///
/// Its name, its metadata, or both; its bytes never change. `metadata` takes the place of all that was there, so `{}`
/// removes it. What is absent or null stays. Where nothing would be different, the version stays too.
#[utoipa::path(
    patch, path = "/api/files/{id}", operation_id = "change_file", tag = "files",
    params(
        FilePath,
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the file must have; only VERSION counts."),
    ),
    request_body = Option<FileChangeBody>,
    responses(
        (status = 200, description = "The file as it is now.", body = FileView, headers(
            ("ETag" = String, description = "Of the changed record: `\"VERSION.DERIVED\"`"),
        )),
    ),
    extensions(("x-problems" = json!([FileNotFound, PreconditionFailed]))),
)]
pub(super) async fn change(
    State(state): State<Arc<Services>>,
    Path(id): Path<FileId>,
    Who(who): Who,
    headers: HeaderMap,
    Json(mut fields): Json,
) -> Answer {
    let change = FileChange {
        filename: fields.checked("filename", metadata::check_filename),
        metadata: fields.metadata(),
    };
    fields.finish()?;
    let file = state.files.change(&who, id, change, conditions::expected_version(&headers)).await?;
    let pictured = state.thumbnails.describe_one(&file).await?;
    let etag = [(header::ETAG, file.etag())];
    Ok((etag, json(&FileView::of(&state, &file, &pictured))).into_response())
}

/// Read a file
///
/// Whole, or ranges of it: several come as `multipart/byteranges`, those that overlap as one. What a browser could
/// run is answered as an attachment.
#[utoipa::path(
    get, path = "/api/files/{id}/content", operation_id = "get_content", tag = "files",
    params(
        FilePath, Conditions,
        ("download" = Option<bool>, Query, description = "As an attachment, to be saved."),
        ("link" = Option<String>, Query, description = "The signed part of a link; takes the place of a key."),
        ("Range" = Option<String>, Header, description = "Which bytes, such as `bytes=0-1023` or `bytes=0-9,-10`. \
            More than 32 ranges are ignored."),
        ("If-Range" = Option<String>, Header, description = "The range only if this is the `ETag`; else all."),
    ),
    responses(
        (status = 200, description = "The bytes.", body = [u8], content_type = "*/*"),
        (status = 206, description = "The bytes of the range, or of the ranges.", body = [u8], content_type = "*/*"),
        NotModified,
    ),
    extensions(
        ("x-problems" = json!([FileNotFound, PreconditionFailed, RangeNotSatisfiable])),
        ("x-cached" = json!(true)),
    ),
)]
pub(super) async fn content(
    State(state): State<Arc<Services>>,
    Path(id): Path<FileId>,
    Who(who): Who,
    Query(mut params): Query,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let download = params.one("download")?.unwrap_or(false);
    // Whether it holds was asked at the door.
    let link: Option<String> = params.one("link")?;
    params.finish()?;
    let seen = state.files.record(&who, id).await?;
    let file = seen.value.file.clone();
    let disposition = if download { serve::Disposition::Attachment } else { serve::Disposition::ByType };
    let plan = serve::plan(&file, disposition, &method, &headers)?;
    let body = match &plan.body {
        serve::Part::None => Body::empty(),
        serve::Part::Range(range) => Body::from_stream(state.files.read(&who, &file, *range).await?),
        serve::Part::Ranges(parts) => {
            Body::from_stream(multipart::body(&state.files, who, file, parts.clone()).await?)
        }
    };
    let mut response = plan.respond(body);
    cached::tell(&mut response, seen.source, seen.took);
    if link.is_some() {
        serve::share(&mut response);
    }
    Ok(response)
}

/// Delete a file
#[utoipa::path(
    delete, path = "/api/files/{id}", operation_id = "delete_file", tag = "files",
    params(FilePath),
    responses((status = 204, description = "It is gone.")),
    extensions(("x-problems" = json!([FileNotFound]))),
)]
pub(super) async fn delete(
    State(state): State<Arc<Services>>,
    Path(id): Path<FileId>,
    Who(who): Who,
) -> Answer {
    state.files.delete(&who, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A page of files as JSON.
#[derive(Debug, Serialize, ToSchema)]
struct FilePage<'a> {
    items: Vec<FileView<'a>>,
    /// Give it as `cursor` with the same filter and order; null after the last page.
    next_cursor: Option<String>,
}
