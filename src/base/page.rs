//! Lists in pages: a bounded number of items and an opaque cursor to the next ones.
//!
//! A cursor is bound to what was asked for (tenant and filter), so that one cannot be used to read through
//! another's list.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::error::{Code, Error, Result};

/// How many items a page has at most: 1 to 500, 50 if nobody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u32);

impl Limit {
    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

/// Not a [`Limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidLimit;

impl fmt::Display for InvalidLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be 1 to 500")
    }
}

impl std::error::Error for InvalidLimit {}

impl FromStr for Limit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        text.parse().ok().filter(|limit| (1..=500).contains(limit)).map(Self).ok_or(InvalidLimit)
    }
}

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
    URL_SAFE_NO_PAD.encode(format!("{:016x}{position}", binding(position, scope)))
}

/// Reads a cursor that was written for the same `scope`. It is not signed: whoever makes one up for a list of their
/// own reads it from where they like.
///
/// # Errors
/// `InvalidRequest` for anything else.
pub fn decode_cursor(cursor: &str, scope: &str) -> Result<String> {
    let foreign =
        || Error::new(Code::InvalidRequest, "`cursor` is not one of this list: leave it out to start again");
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| foreign())?;
    let text = String::from_utf8(bytes).map_err(|_| foreign())?;
    let (bound, position) = text.split_at_checked(16).ok_or_else(foreign)?;
    if bound != format!("{:016x}", binding(position, scope)) {
        return Err(foreign());
    }
    Ok(position.to_owned())
}

/// Tells lists apart, and cursors that were cut.
fn binding(position: &str, scope: &str) -> u64 {
    super::crc::of(format!("{scope}\0{position}").as_bytes()).value()
}
