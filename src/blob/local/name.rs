//! The name of a staging file: made from the blob's key, so that it is known before there is a file.

use crate::blob::{BlobError, BlobErrorKind, BlobKey, BlobResult, PartsId};

/// A filename takes 255 bytes; `.failed` is added to it.
const BYTES_MAX: usize = 240;

/// A key with `+` (which no key has) in place of `/`: one name for each key, and a key for each name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct StagedName(String);

impl StagedName {
    /// Of the upload that becomes `key`.
    pub(super) fn of(key: &BlobKey) -> BlobResult<Self> {
        Self::checked(key.as_str().replace('/', "+"))
    }

    /// What [`StagedName::parts`] made.
    pub(super) fn parse(parts: &PartsId) -> BlobResult<Self> {
        Self::checked(parts.as_str().to_owned())
    }

    fn checked(name: String) -> BlobResult<Self> {
        if name.len() <= BYTES_MAX && !name.contains('/') && BlobKey::parse(&name.replace('+', "/")).is_some()
        {
            return Ok(Self(name));
        }
        Err(BlobError::new(BlobErrorKind::Internal, format!("`{name}` is not a name for staged bytes")))
    }

    /// The key that it was made from.
    pub(super) fn key(&self) -> BlobKey {
        BlobKey::parse(&self.0.replace('+', "/")).expect("INVARIANT: it was checked when this was made")
    }

    /// For the journal.
    pub(super) fn parts(&self) -> PartsId {
        PartsId::new(self.0.clone())
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}
