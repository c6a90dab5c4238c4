//! How often a file was read: `/api/files/{id}/reads`. Translates; `FileService` counts.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Path, Who};
use super::openapi::requests::FilePath;
use super::problem::Answer;
use super::reply::json;
use crate::app::Services;
use crate::base::Code::FileNotFound;
use crate::base::{FileId, Timestamp};
use crate::files::Reads;

/// How often a file was read
///
/// A download counts once, when its first byte is sent; ranges that begin further behind go on with one. Thumbnails, HEAD
/// and 304 do not count. It shows after a second or two.
#[utoipa::path(
    get, path = "/api/files/{id}/reads", operation_id = "get_file_reads", tag = "files",
    params(FilePath),
    responses((status = 200, description = "How often, and when last.", body = ReadsView)),
    extensions(("x-problems" = json!([FileNotFound]))),
)]
pub(super) async fn show(
    State(state): State<Arc<Services>>,
    Path(id): Path<FileId>,
    Who(who): Who,
) -> Answer {
    let Reads { reads, last_read_at } = state.files.reads(&who, id).await?;
    Ok(json(&ReadsView { reads, last_read_at }))
}

/// How often a file was read, as JSON.
#[derive(Debug, Serialize, ToSchema)]
struct ReadsView {
    reads: u64,
    /// `null`: never.
    #[schema(required)]
    last_read_at: Option<Timestamp>,
}
