//! Files that come in one request: `POST /api/files`. Translates; `UploadService` decides.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;

use super::extract::{Bytes, Query, Who};
use super::fields::invalid;
use super::files::FileView;
use super::openapi::requests::DigestHeaders;
use super::problem::Answer;
use super::reply::json;
use crate::app::Services;
use crate::base::Code::{ChecksumMismatch, FileTooLarge, InvalidDigest, QuotaExceeded, StorageFull};
use crate::base::metadata::Metadata;
use crate::base::{Code, Error, Result};
use crate::upload::NewFile;

/// Create a file in one request
///
/// For small files: what is lost on the way has to be sent again from the start. `metadata.KEY=VALUE` in the query
/// gives the file that pair; it may be given for several keys. `Content-Type` says what the bytes are.
#[utoipa::path(
    post, path = "/api/files", operation_id = "create_file", tag = "files",
    params(
        ("filename" = String, Query, description = "A label, not a path."),
        DigestHeaders,
    ),
    request_body(content = [u8], content_type = "application/octet-stream", description = "The file's bytes."),
    responses((status = 201, description = "The file.", body = FileView, headers(
        ("Location" = String, description = "The path of the file."),
    ))),
    extensions(("x-problems" = json!([InvalidDigest, FileTooLarge, QuotaExceeded, ChecksumMismatch, StorageFull]))),
)]
pub(super) async fn create(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Query(mut params): Query,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let filename = params.one("filename")?.ok_or_else(|| invalid("filename", &"is required"))?;
    let metadata = Metadata::new(params.pairs("metadata.")?)?;
    params.finish()?;
    let Bytes { announced, declared, stream } = body;
    let content_type = claimed_type(&headers)?;
    let mut batch = state.uploads.batch(&who)?;
    batch.add(NewFile { filename, content_type, metadata, announced, declared, body: stream }).await?;
    let files = batch.publish().await?;
    let location = [(header::LOCATION, format!("/api/files/{}", files[0].id))];
    Ok((StatusCode::CREATED, location, json(&FileView::of(&state, &files[0]))).into_response())
}

/// What the client says the bytes are. A form's type is no claim: curl sends it with `--data-binary` by itself.
fn claimed_type(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text =
        value.to_str().map_err(|_| Error::new(Code::InvalidRequest, "Content-Type is not a media type"))?;
    Ok((text != "application/x-www-form-urlencoded").then(|| text.to_owned()))
}
