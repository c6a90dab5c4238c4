//! Files that come in one request: `POST /api/files`. Translates; `UploadService` decides.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Bytes, Query, Who};
use super::fields::{Params, invalid};
use super::file_view::FileView;
use super::form::{FilePart, Form};
use super::idempotency::Once;
use super::openapi::requests::{DigestHeaders, FormBody, IdempotencyHeader};
use super::problem::Answer;
use super::reply::{Created, text};
use crate::app::Services;
use crate::base::Code::{
    ChecksumMismatch, FileTooLarge, IdempotencyConflict, InvalidDigest, QuotaExceeded, StorageFull,
};
use crate::base::metadata::Metadata;
use crate::base::{Code, Error, Result};
use crate::files::File;
use crate::upload::{Batch, NewFile};

/// Create files in one request
///
/// For small files: what is lost on the way has to be sent again from the start. `metadata.KEY=VALUE` in the query
/// gives the file that pair; it may be given for several keys. `Content-Type` says what the bytes are, where they do
/// not say it themselves.
///
/// A form has fields `metadata.KEY` first, which hold for all its files, then at most 100 files, of any field's name;
/// `Content-Digest` in a part's head covers that part. All of them are taken, or none.
#[utoipa::path(
    post, path = "/api/files", operation_id = "create_file", tag = "files",
    params(
        ("filename" = Option<String>, Query, min_length = 1, max_length = 1024,
            pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
            description = "A label, not a path; without control characters. Not for a form; else required."),
        DigestHeaders, IdempotencyHeader,
    ),
    request_body(
        content(([u8] = "application/octet-stream"), (FormBody = "multipart/form-data")),
        description = "The file's bytes, or a form with files.",
    ),
    responses((status = 201, description = "The file; for a form all of them.", body = CreatedView, headers(
        ("Location" = String, description = "The path of the file; not for a form."),
    ))),
    extensions(("x-problems" = json!([
        InvalidDigest, FileTooLarge, QuotaExceeded, ChecksumMismatch, StorageFull, IdempotencyConflict,
    ]))),
)]
pub(super) async fn create(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    once: Once,
    Query(params): Query,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let batch = state.uploads.batch(&who)?;
    let (batch, answer): (Batch, Show) = match Form::boundary(&headers) {
        Some(boundary) => {
            params.finish()?;
            (take_form(batch, &boundary?, body).await?, form_answer)
        }
        None => (take_raw(batch, params, &headers, body).await?, raw_answer),
    };
    let view = move |files: &[File]| answer(&state, files);
    let files = batch.publish(once.keeping(view.clone())).await?;
    Ok(view(&files).into_response())
}

/// What was created, as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Created)]
enum CreatedView<'a> {
    /// By a raw body.
    Raw(Box<FileView<'a>>),
    /// By a form, in its order.
    Form { items: Vec<FileView<'a>> },
}

/// How files are shown.
type Show = fn(&Services, &[File]) -> Created;

/// A raw body is one file.
fn raw_answer(state: &Services, files: &[File]) -> Created {
    let pictured = state.thumbnails.describe_new(&files[0]);
    let view = CreatedView::Raw(Box::new(FileView::of(state, &files[0], &pictured)));
    Created::at(format!("/api/files/{}", files[0].id), &view)
}

fn form_answer(state: &Services, files: &[File]) -> Created {
    let pictured: Vec<_> = files.iter().map(|file| state.thumbnails.describe_new(file)).collect();
    let items = files.iter().zip(&pictured).map(|(file, pictured)| FileView::of(state, file, pictured));
    let items = items.collect();
    Created { location: None, body: text(&CreatedView::Form { items }) }
}

async fn take_raw(mut batch: Batch, mut params: Params, headers: &HeaderMap, body: Bytes) -> Result<Batch> {
    let filename = params.one("filename")?.ok_or_else(|| invalid("filename", &"is required"))?;
    let metadata = Metadata::new(params.pairs("metadata.")?)?;
    params.finish()?;
    let Bytes { announced, declared, stream } = body;
    let content_type = claimed_type(headers)?;
    batch.add(NewFile { filename, content_type, metadata, announced, declared, body: stream }).await?;
    Ok(batch)
}

async fn take_form(mut batch: Batch, boundary: &str, body: Bytes) -> Result<Batch> {
    if !body.declared.is_empty() {
        let detail = "a digest of a whole form is not taken: declare each file's in the head of its part";
        return Err(Error::new(InvalidDigest, detail));
    }
    let mut form = Form::new(boundary, body.stream)?;
    while let Some(FilePart { filename, content_type, declared, body }) = form.next().await? {
        let metadata = form.metadata()?;
        let new = NewFile { filename, content_type, metadata, announced: None, declared, body };
        if let Err(error) = batch.add(new).await {
            return Err(form.fault().unwrap_or(error));
        }
    }
    Ok(batch)
}

/// What the client says the bytes are. A form's type is no claim: curl sends it with `--data-binary` by itself.
fn claimed_type(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text =
        value.to_str().map_err(|_| Error::new(Code::InvalidRequest, "Content-Type is not a media type"))?;
    Ok((text != "application/x-www-form-urlencoded").then(|| text.to_owned()))
}
