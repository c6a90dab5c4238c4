//! Upload tokens: `/api/upload-tokens`. Translates; `AuthService` decides.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Json, Who};
use super::openapi::requests::NewUploadToken as NewUploadTokenBody;
use super::problem::Answer;
use super::reply::json;
use crate::app::Services;
use crate::auth::NewUploadToken;
use crate::base::{Timestamp, TokenId};

/// Issue an upload token
///
/// A bearer that may only upload: begin uploads, send files in one request, and reach what it began. For browsers and
/// programs that must not have a key. It ends at `expires_at`, or with the key that issued it.
#[utoipa::path(
    post, path = "/api/upload-tokens", operation_id = "create_upload_token", tag = "uploads",
    request_body = NewUploadTokenBody,
    responses((status = 201, description = "The token.", body = UploadTokenView)),
)]
pub(super) async fn create(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Json(mut fields): Json,
) -> Answer {
    let (max_size, seconds) = (fields.number("max_size"), fields.number("expires_in_seconds"));
    let new = NewUploadToken {
        max_size: fields.required("max_size", max_size),
        content_types: fields.list("content_types"),
        metadata: fields.metadata().unwrap_or_default(),
        max_files: fields.number("max_files"),
        life: Duration::from_secs(fields.required("expires_in_seconds", seconds)),
    };
    fields.finish()?;
    let token = state.auth.issue_upload_token(&who, new).await?;
    let view = UploadTokenView { id: token.id, token: token.text.expose(), expires_at: token.expires_at };
    Ok((StatusCode::CREATED, json(&view)).into_response())
}

/// An upload token as JSON.
#[derive(Serialize, ToSchema)]
struct UploadTokenView<'a> {
    /// As the audit log names it.
    id: TokenId,
    /// To be sent as `Authorization: Bearer TOKEN`.
    token: &'a str,
    expires_at: Timestamp,
}
