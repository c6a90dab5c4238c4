//! Uploads, their lists and receipts as JSON. Made by the handlers of `uploads` and `events`.

use serde::Serialize;
use utoipa::ToSchema;

use super::file_view::FileView;
use super::openapi::types::ChunkRange;
use crate::app::Services;
use crate::base::digest::Checksum;
use crate::base::metadata::Metadata;
use crate::base::{ChunkIndex, Timestamp, UploadId};
use crate::media::Pictured;
use crate::upload::{ChunkReceipt, FinishProgress, Progress, Status, Upload, UploadState};

/// An upload as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Upload)]
pub(super) struct UploadView<'a> {
    upload_id: UploadId,
    #[schema(value_type = UploadState)]
    state: &'static str,
    protocol: &'static str,
    filename: &'a str,
    #[schema(required)]
    content_type: Option<&'a str>,
    total_size: u64,
    chunk_size: u64,
    chunk_count: u32,
    received_bytes: u64,
    received_chunks: u32,
    /// Bytes from the start without a gap; not told in lists.
    #[schema(required)]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<ChunkRange>>)]
    missing: Option<&'a [(u32, u32)]>,
    missing_count: u32,
    #[schema(required)]
    checksum: Option<Checksum>,
    metadata: &'a Metadata,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[schema(required)]
    error: Option<&'a str>,
    /// Only while it is being finalized; not told in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressView>,
    #[schema(required)]
    file: Option<FileView<'a>>,
}

impl<'a> UploadView<'a> {
    /// `pictured` is what is known of the file that it became, if it became one.
    pub(super) fn of(state: &Services, status: &'a Status, pictured: &'a Pictured) -> Self {
        Self {
            offset: Some(status.offset),
            missing: Some(&status.missing),
            progress: status.progress.map(ProgressView::from),
            file: status.file.as_ref().map(|file| FileView::of(state, file, pictured)),
            ..Self::of_row(&status.upload)
        }
    }

    /// As lists have it, and how far its end is.
    pub(super) fn of_progress(progress: &'a Progress) -> Self {
        Self { progress: progress.finish.map(ProgressView::from), ..Self::of_row(&progress.upload) }
    }

    /// As lists have it: without what the row does not tell.
    pub(super) fn of_row(upload: &'a Upload) -> Self {
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
            progress: None,
            file: None,
        }
    }
}

/// A page of uploads as JSON.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadPage<'a> {
    pub(super) items: Vec<UploadView<'a>>,
    /// Give it as `cursor` for the next page; null after the last one.
    #[schema(required)]
    pub(super) next_cursor: Option<String>,
}

/// How far a finalize is, as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FinalizeProgress)]
pub(super) struct ProgressView {
    done_bytes: u64,
    total_bytes: u64,
}

impl From<FinishProgress> for ProgressView {
    fn from(progress: FinishProgress) -> Self {
        let FinishProgress { done_bytes, total_bytes } = progress;
        Self { done_bytes, total_bytes }
    }
}

/// The acknowledgement of a chunk as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChunkReceipt)]
pub(super) struct ReceiptView {
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
