//! Native uploads: `/api/uploads`. Translates; `UploadService` decides.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Bytes, Json, Path, Path2, Query, Who};
use super::fields::invalid;
use super::files::FileView;
use super::openapi::requests::{
    ChunkPath, DigestHeaders, Finalize as FinalizeBody, NewUpload as NewUploadBody, PageQuery, UploadPath,
};
use super::problem::Answer;
use super::reply::json;
use crate::app::Services;
use crate::base::Code::{
    ChecksumMismatch, ChunkBusy, ChunkConflict, ChunkOutOfRange, ChunkSizeMismatch, FileTooLarge,
    InvalidDigest, QuotaExceeded, StorageFull, TooManyUploads, UploadFinalized, UploadGone, UploadIncomplete,
    UploadNotFound,
};
use crate::base::digest::Checksum;
use crate::base::metadata::Metadata;
use crate::base::{ChunkIndex, Timestamp, UploadId};
use crate::upload::{ChunkIn, ChunkReceipt, NewUpload, OnRepeat, Status, Upload, UploadFilter};

/// Lists answer this many items when the client does not say.
const LIMIT_DEFAULT: u32 = 50;
/// And at most this many.
const LIMIT_MAX: u32 = 500;

/// Begin an upload
///
/// The server decides the size of the chunks: the wish counts, within what it can do.
#[utoipa::path(
    post, path = "/api/uploads", operation_id = "create_upload", tag = "uploads",
    request_body = NewUploadBody,
    responses(
        (status = 201, description = "The upload.", body = UploadView, headers(
            ("Location" = String, description = "`/api/uploads/{id}`"),
        )),
    ),
    extensions(("x-problems" = json!([FileTooLarge, InvalidDigest, QuotaExceeded, StorageFull, TooManyUploads]))),
)]
pub(super) async fn create(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Json(mut fields): Json,
) -> Answer {
    let (filename, total_size) = (fields.string("filename"), fields.number("total_size"));
    let new = NewUpload {
        filename: fields.required("filename", filename),
        total_size: fields.required("total_size", total_size),
        content_type: fields.string("content_type"),
        chunk_size: fields.number("chunk_size"),
        checksum: fields.parsed("checksum")?,
        metadata: Metadata::new(fields.strings("metadata"))?,
    };
    fields.finish()?;
    let status = state.uploads.create(&who, new).await?;
    let location = [(header::LOCATION, format!("/api/uploads/{}", status.upload.id))];
    Ok((StatusCode::CREATED, location, json(&UploadView::of(&state, &status))).into_response())
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
    Ok(json(&UploadView::of(&state, &status)))
}

/// List uploads
///
/// `metadata.KEY=VALUE` in the query finds those with that pair; it may be given for several keys.
#[utoipa::path(
    get, path = "/api/uploads", operation_id = "list_uploads", tag = "uploads",
    params(
        ("state" = Option<String>, Query, description = "Only those in this state."),
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
    let limit = params.one("limit")?.unwrap_or(LIMIT_DEFAULT);
    let cursor: Option<String> = params.one("cursor")?;
    params.finish()?;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid("limit", &format!("must be 1 to {LIMIT_MAX}")).into());
    }
    let page = state.uploads.list(&who, filter, limit, cursor.as_deref()).await?;
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
        (status = 200, description = "The file, which was there already.", body = FileView),
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
    let checksum = fields.parsed("checksum")?;
    fields.finish()?;
    let finished = state.uploads.finalize(&who, id, checksum).await?;
    let view = json(&FileView::of(&state, &finished.file));
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

/// An upload as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Upload)]
struct UploadView<'a> {
    upload_id: UploadId,
    state: &'static str,
    protocol: &'static str,
    filename: &'a str,
    content_type: Option<&'a str>,
    total_size: u64,
    chunk_size: u64,
    chunk_count: u32,
    received_bytes: u64,
    received_chunks: u32,
    /// Bytes from the start without a gap; not told in lists.
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'a [(u32, u32)]>,
    missing_count: u32,
    checksum: Option<Checksum>,
    metadata: &'a Metadata,
    created_at: Timestamp,
    expires_at: Timestamp,
    error: Option<&'a str>,
    file: Option<FileView<'a>>,
}

impl<'a> UploadView<'a> {
    fn of(state: &Services, status: &'a Status) -> Self {
        Self {
            offset: Some(status.offset),
            missing: Some(&status.missing),
            file: status.file.as_ref().map(|file| FileView::of(state, file)),
            ..Self::of_row(&status.upload)
        }
    }

    fn of_row(upload: &'a Upload) -> Self {
        Self {
            upload_id: upload.id,
            state: upload.state.as_str(),
            protocol: upload.protocol.as_str(),
            filename: &upload.filename,
            content_type: upload.content_type.as_deref(),
            total_size: upload.total_size,
            chunk_size: upload.chunk_size,
            chunk_count: upload.chunk_count,
            received_bytes: upload.received_bytes,
            received_chunks: upload.received_chunks,
            offset: None,
            missing: None,
            missing_count: upload.chunk_count.saturating_sub(upload.received_chunks),
            checksum: upload.checksum,
            metadata: &upload.metadata,
            created_at: upload.created_at,
            expires_at: upload.expires_at,
            error: upload.error.as_deref(),
            file: None,
        }
    }
}

/// A page of uploads as JSON.
#[derive(Debug, Serialize, ToSchema)]
struct UploadPage<'a> {
    items: Vec<UploadView<'a>>,
    /// Give it as `cursor` for the next page; null after the last one.
    next_cursor: Option<String>,
}

/// The acknowledgement of a chunk as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChunkReceipt)]
struct ReceiptView {
    upload_id: UploadId,
    index: ChunkIndex,
    size: u64,
    checksum: Checksum,
    received_bytes: u64,
    received_chunks: u32,
    chunk_count: u32,
}

impl From<ChunkReceipt> for ReceiptView {
    fn from(receipt: ChunkReceipt) -> Self {
        let ChunkReceipt { upload_id, index, size, checksum, received_bytes, received_chunks, chunk_count } =
            receipt;
        Self { upload_id, index, size, checksum, received_bytes, received_chunks, chunk_count }
    }
}
