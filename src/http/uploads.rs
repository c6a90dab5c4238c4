//! Native uploads: `/api/uploads`. Translates; `UploadService` decides.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::extract::{Bytes, Json, Path, Path2, Query, Who};
use super::file_view::FileView;
use super::idempotency::Once;
use super::openapi::requests::{
    ChunkPath, DigestHeaders, Finalize as FinalizeBody, IdempotencyHeader, NewUpload as NewUploadBody,
    PageQuery, UploadPath,
};
use super::problem::Answer;
use super::reply::{Created, json};
use super::upload_view::{ReceiptView, UploadPage, UploadView};
use crate::app::Services;
use crate::base::Code::{
    ChecksumMismatch, ChunkBusy, ChunkConflict, ChunkOutOfRange, ChunkSizeMismatch, FileTooLarge,
    IdempotencyConflict, InvalidDigest, QuotaExceeded, StorageFull, TooManyUploads, UploadFinalized,
    UploadGone, UploadIncomplete, UploadNotFound,
};
use crate::base::metadata;
use crate::base::page::Limit;
use crate::base::{ChunkIndex, UploadId};
use crate::media::Pictured;
use crate::upload::{ChunkIn, Finalized, NewUpload, OnRepeat, Status, UploadFilter, UploadState};

/// Seconds: whoever asks again waits with us, not before the door.
const FINALIZE_RETRY_AFTER: &str = "1";

/// Begin an upload
///
/// The server decides the size of the chunks: the wish counts, within what it can do.
#[utoipa::path(
    post, path = "/api/uploads", operation_id = "create_upload", tag = "uploads",
    params(IdempotencyHeader),
    request_body = NewUploadBody,
    responses(
        (status = 201, description = "The upload.", body = UploadView, headers(
            ("Location" = String, description = "`/api/uploads/{id}`"),
        )),
    ),
    extensions(("x-problems" = json!([
        FileTooLarge, IdempotencyConflict, InvalidDigest, QuotaExceeded, StorageFull, TooManyUploads,
    ]))),
)]
pub(super) async fn create(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    once: Once,
    Json(mut fields): Json,
) -> Answer {
    let filename = fields.checked("filename", metadata::check_filename);
    let total_size = fields.number("total_size");
    let new = NewUpload {
        filename: fields.required("filename", filename),
        total_size: fields.required("total_size", total_size),
        content_type: fields.checked("content_type", metadata::check_content_type),
        chunk_size: fields.number("chunk_size"),
        checksum: fields.parsed("checksum"),
        metadata: fields.metadata().unwrap_or_default(),
    };
    fields.finish()?;
    let view = |status: &Status| {
        let location = format!("/api/uploads/{}", status.upload.id);
        Created::at(location, &UploadView::of(&state, status, &Pictured::default()))
    };
    let status = state.uploads.create(&who, new, once.keeping(view)).await?;
    Ok(view(&status).into_response())
}

/// Send a chunk
///
/// Every chunk but the last has exactly `chunk_size` bytes. Any order, any number at once. A chunk sent again with the
/// same bytes is answered with the old receipt.
#[utoipa::path(
    put, path = "/api/uploads/{id}/chunks/{index}", operation_id = "put_chunk", tag = "uploads",
    params(
        ChunkPath, DigestHeaders,
        ("replace" = Option<bool>, Query, description = "Replace the accepted chunk, if there is one."),
    ),
    request_body(content = [u8], content_type = "application/octet-stream", description = "The chunk's bytes."),
    responses((status = 200, description = "The chunk counts.", body = ReceiptView)),
    extensions(("x-problems" = json!([
        InvalidDigest, ChunkOutOfRange, UploadNotFound, ChunkConflict, ChunkBusy, UploadFinalized, UploadGone,
        ChunkSizeMismatch, ChecksumMismatch, StorageFull,
    ]))),
)]
pub(super) async fn put_chunk(
    State(state): State<Arc<Services>>,
    Path2(id, index): Path2<UploadId, ChunkIndex>,
    Who(who): Who,
    Query(mut params): Query,
    body: Bytes,
) -> Answer {
    let on_repeat =
        if params.one("replace")?.unwrap_or(false) { OnRepeat::Replace } else { OnRepeat::Compare };
    params.finish()?;
    let Bytes { announced, declared, stream } = body;
    let chunk = ChunkIn { index, announced, declared, on_repeat, body: stream };
    let receipt = state.uploads.write_chunk(&who, id, chunk).await?;
    Ok(json(&ReceiptView::from(receipt)))
}

/// Look at an upload
#[utoipa::path(
    get, path = "/api/uploads/{id}", operation_id = "get_upload", tag = "uploads",
    params(UploadPath),
    responses((status = 200, description = "The upload, with what is missing.", body = UploadView)),
    extensions(("x-problems" = json!([UploadNotFound, UploadGone]))),
)]
pub(super) async fn show(
    State(state): State<Arc<Services>>,
    Path(id): Path<UploadId>,
    Who(who): Who,
) -> Answer {
    let status = state.uploads.status(&who, id).await?;
    let pictured = match &status.file {
        Some(file) => state.thumbnails.describe_one(file).await?,
        None => Pictured::default(),
    };
    Ok(json(&UploadView::of(&state, &status, &pictured)))
}

/// List uploads
///
/// `metadata.KEY=VALUE` in the query finds those with that pair; it may be given for several keys.
#[utoipa::path(
    get, path = "/api/uploads", operation_id = "list_uploads", tag = "uploads",
    params(
        ("state" = Option<UploadState>, Query, description = "Only those in this state."),
        PageQuery,
    ),
    responses((status = 200, description = "A page of them, without `missing`.", body = UploadPage)),
)]
pub(super) async fn list(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Query(mut params): Query,
) -> Answer {
    let filter = UploadFilter { state: params.one("state")?, metadata: params.prefixed("metadata.") };
    let limit: Limit = params.one("limit")?.unwrap_or_default();
    let cursor: Option<String> = params.one("cursor")?;
    params.finish()?;
    let page = state.uploads.list(&who, filter, limit.get(), cursor.as_deref()).await?;
    let items = page.items.iter().map(UploadView::of_row).collect();
    Ok(json(&UploadPage { items, next_cursor: page.next_cursor }))
}

/// Make the file
///
/// May be sent again: the answer is then the same file.
#[utoipa::path(
    post, path = "/api/uploads/{id}/finalize", operation_id = "finalize_upload", tag = "uploads",
    params(UploadPath),
    request_body = Option<FinalizeBody>,
    responses(
        (status = 201, description = "The file.", body = FileView, headers(
            ("Location" = String, description = "`/api/files/{id}`"),
        )),
        (status = 200, description = "The file, which was there already, or was made meanwhile.", body = FileView),
        (status = 202, description = "Not done yet: ask again. The upload, with `progress`.", body = UploadView, headers(
            ("Location" = String, description = "`/api/uploads/{id}`"),
            ("Retry-After" = u64, description = "Come back after this many seconds."),
        )),
    ),
    extensions(("x-problems" = json!([
        InvalidDigest, UploadNotFound, UploadGone, UploadIncomplete, UploadFinalized, ChecksumMismatch, StorageFull,
    ]))),
)]
pub(super) async fn finalize(
    State(state): State<Arc<Services>>,
    Path(id): Path<UploadId>,
    Who(who): Who,
    Json(mut fields): Json,
) -> Answer {
    let checksum = fields.parsed("checksum");
    fields.finish()?;
    let finished = match state.uploads.finalize(&who, id, checksum).await? {
        Finalized::Done(finished) => finished,
        Finalized::Working(status) => {
            let view = json(&UploadView::of(&state, &status, &Pictured::default()));
            let location = (header::LOCATION, format!("/api/uploads/{id}"));
            let again = (header::RETRY_AFTER, FINALIZE_RETRY_AFTER.to_owned());
            return Ok((StatusCode::ACCEPTED, [location, again], view).into_response());
        }
    };
    let pictured = state.thumbnails.describe_one(&finished.file).await?;
    let view = json(&FileView::of(&state, &finished.file, &pictured));
    if !finished.created {
        return Ok(view);
    }
    let location = [(header::LOCATION, format!("/api/files/{}", finished.file.id))];
    Ok((StatusCode::CREATED, location, view).into_response())
}

/// Give an upload up
#[utoipa::path(
    delete, path = "/api/uploads/{id}", operation_id = "abort_upload", tag = "uploads",
    params(UploadPath),
    responses((status = 204, description = "It has ended; also when it had before.")),
    extensions(("x-problems" = json!([UploadNotFound, UploadFinalized, UploadGone]))),
)]
pub(super) async fn abort(
    State(state): State<Arc<Services>>,
    Path(id): Path<UploadId>,
    Who(who): Who,
) -> Answer {
    state.uploads.abort(&who, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
