//! What a client says of its file: its name and its own key-value pairs. Parsed once, at the border.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{Code, Error, Result};

/// At most this many pairs on one upload or file.
pub const KEYS_MAX: usize = 64;
/// At most this many bytes in all keys and values together.
pub const BYTES_MAX: usize = 8 * 1024;
/// A filename's length at most, in bytes: longer than any file system allows (255), short enough for a header.
pub const FILENAME_BYTES_MAX: usize = 1024;

/// String-to-string pairs of a client's own, in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// Checks the pairs.
    ///
    /// # Errors
    /// `InvalidRequest` for an empty key, a NUL (no database takes one in a text), too many pairs or bytes.
    pub fn new(pairs: BTreeMap<String, String>) -> Result<Self> {
        let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        if pairs.len() > KEYS_MAX || bytes > BYTES_MAX {
            let detail = format!(
                "`metadata` has {} keys and {bytes} bytes; at most {KEYS_MAX} keys and {BYTES_MAX} bytes are taken",
                pairs.len()
            );
            return Err(Error::new(Code::InvalidRequest, detail));
        }
        if pairs.keys().any(String::is_empty) {
            return Err(Error::new(Code::InvalidRequest, "`metadata` has an empty key"));
        }
        if pairs.iter().any(|(key, value)| key.contains('\0') || value.contains('\0')) {
            return Err(Error::new(Code::InvalidRequest, "`metadata` contains a NUL character"));
        }
        Ok(Self(pairs))
    }

    /// The pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// As the database keeps it.
    ///
    /// # Panics
    /// Never: a map of strings is JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("INVARIANT: a map of strings is JSON")
    }

    /// Reads what [`Metadata::to_json`] wrote; `None` when the row is damaged.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }
}

/// Checks a filename. It is a label, never a path: any text without control characters, 1 to 1,024 bytes.
///
/// # Errors
/// `InvalidRequest`.
pub fn check_filename(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > FILENAME_BYTES_MAX {
        let detail = format!("`filename` has {} bytes; 1 to {FILENAME_BYTES_MAX} are taken", name.len());
        return Err(Error::new(Code::InvalidRequest, detail));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::new(Code::InvalidRequest, "`filename` contains a control character"));
    }
    Ok(())
}

/// Checks a media type that a client claims: `type/subtype`, maybe with parameters; 1 to 255 visible ASCII
/// characters (RFC 9110 8.3.1), so that it can stand in a header as it is.
///
/// # Errors
/// `InvalidRequest`.
pub fn check_content_type(text: &str) -> Result<()> {
    let token = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !part.is_empty() && part.bytes().all(allowed)
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let well_formed = essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype));
    let printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if text.len() > 255 || !well_formed || !printable {
        let detail =
            "`content_type` is not a media type: expected something like image/jpeg, at most 255 characters";
        return Err(Error::new(Code::InvalidRequest, detail));
    }
    Ok(())
}
