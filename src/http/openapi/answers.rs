//! Answers that several operations have.

use utoipa::IntoResponses;

/// The client has the current one already.
#[derive(IntoResponses)]
#[response(status = 304, headers(("ETag" = String, description = "Names the current one.")))]
pub(in crate::http) struct NotModified;
