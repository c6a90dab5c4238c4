//! Lists in pages: a bounded number of items and an opaque cursor to the next ones.
//!
//! A cursor is bound to what was asked for (tenant and filter), so that one cannot be used to read through
//! another's list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::error::{Code, Error, Result};

/// Some items, and where to go on.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T> {
    /// At most the limit that was asked for.
    pub items: Vec<T>,
    /// Give it as `cursor` with the same filter; `None` after the last page.
    pub next_cursor: Option<String>,
}

/// Writes a cursor: `position` (what the next page starts after), bound to `scope`.
pub fn encode_cursor(position: &str, scope: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{:016x}{position}", super::crc::of(scope.as_bytes()).value()))
}

/// Reads a cursor that was written for the same `scope`.
///
/// # Errors
/// `InvalidRequest` for anything else.
pub fn decode_cursor(cursor: &str, scope: &str) -> Result<String> {
    let foreign =
        || Error::new(Code::InvalidRequest, "`cursor` is not one of this list: leave it out to start again");
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| foreign())?;
    let text = String::from_utf8(bytes).map_err(|_| foreign())?;
    let (binding, position) = text.split_at_checked(16).ok_or_else(foreign)?;
    if binding != format!("{:016x}", super::crc::of(scope.as_bytes()).value()) {
        return Err(foreign());
    }
    Ok(position.to_owned())
}
