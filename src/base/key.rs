//! Names of blobs and of blobs in the making. Made by us from ids, never from what a client sent.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

use super::id::{FileId, TenantId};
use super::thumbnail::{SizeName, SpecVersion};

/// The key of a blob: `{tenant}/{two hex digits}/{id}`, of a file's thumbnail with more behind it. The digits spread
/// files over 256 folders.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct BlobKey(String);

impl BlobKey {
    /// Where the bytes of a file live.
    pub fn of_file(tenant: &TenantId, id: FileId) -> Self {
        // The last byte of a UUIDv7 is random; its first ones are the time.
        let spread = id.as_uuid().as_bytes()[15];
        Self(format!("{tenant}/{spread:02x}/{id}"))
    }

    /// The file whose bytes live there; `None` for a key of another kind.
    pub fn file(&self) -> Option<(TenantId, FileId)> {
        let (tenant, rest) = self.0.split_once('/')?;
        let (tenant, id) = (tenant.parse().ok()?, rest.split_once('/')?.1.parse().ok()?);
        (Self::of_file(&tenant, id) == *self).then_some((tenant, id))
    }

    /// Where one making of a file's thumbnail lives: `{file's key}.{size}.{spec version}.{12 hex digits of making}`.
    ///
    /// Made again it lives elsewhere (`making` is by chance), so that a key which is announced or noted for removal is
    /// never one that a row names.
    pub fn of_thumbnail(
        tenant: &TenantId,
        id: FileId,
        size: &SizeName,
        version: &SpecVersion,
        making: Uuid,
    ) -> Self {
        let making = hex::encode(&making.as_bytes()[10..]);
        Self(format!("{}.{size}.{version}.{making}", Self::of_file(tenant, id)))
    }

    /// The file of whose thumbnails one lives there; `None` for a key of another kind.
    pub fn thumbnail_of(&self) -> Option<(TenantId, FileId)> {
        let (file, rest) = self.0.split_once('.')?;
        let is_one = rest.split('.').count() == 3 && rest.split('.').all(|part| !part.is_empty());
        is_one.then(|| Self(file.to_owned()).file()).flatten()
    }

    /// A key that was read from our own database or listing; `None` if it could leave its store.
    pub fn parse(text: &str) -> Option<Self> {
        let segment = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed)
        };
        (text.len() <= 512 && text.split('/').all(segment)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BlobKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).ok_or_else(|| de::Error::custom("not a blob's key"))
    }
}

/// A store's name for a blob in the making (locally the staging file's, on S3 the multipart upload's id).
#[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct PartsId(String);

impl PartsId {
    /// Wraps a store's own name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
