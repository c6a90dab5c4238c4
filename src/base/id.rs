//! The names of things: uploads, files, tenants, chunks.
//!
//! Each is a type of its own, parsed once at the border, so that an id is never a path and never another
//! thing's id. Random and time parts come from `uuid`; nothing here reads a clock of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

use super::clock::Timestamp;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId(pub(super) &'static str);

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidId {}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id (UUIDv7, RFC 9562 5.7): sorts by `now`, then by chance.
            pub fn new(now: Timestamp) -> Self {
                let micros = u64::try_from(now.as_micros()).unwrap_or(0);
                let nanos = u32::try_from(micros % 1_000_000).unwrap_or(0) * 1_000;
                Self(Uuid::new_v7(uuid::Timestamp::from_unix_time(micros / 1_000_000, nanos, 0, 0)))
            }

            /// The 128 bits.
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// Wraps an id that was read from our own database.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Only the hyphenated form of 36 characters, so that each thing has one URL.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.len() != 36 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Err(InvalidId("not an id: expected 36 characters, lower-case hex with hyphens"));
                }
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId("not an id: expected 36 characters, lower-case hex with hyphens"))
            }
        }
    };
}

uuid_id! {
    /// An upload. Once finalized, its file has the same 128 bits: see [`UploadId::file`].
    UploadId
}
uuid_id! {
    /// A file. One that came in by an upload has the upload's 128 bits: see [`FileId::upload`].
    FileId
}

uuid_id! {
    /// An API key: the part of it that is no secret.
    KeyId
}

uuid_id! {
    /// An upload token.
    TokenId
}

impl UploadId {
    /// The id of the file that this upload becomes.
    pub fn file(self) -> FileId {
        FileId(self.0)
    }
}

impl FileId {
    /// The id of the upload that this file may have come from.
    pub fn upload(self) -> UploadId {
        UploadId(self.0)
    }
}

/// A tenant: a slug of 1 to 63 characters `a-z 0-9 -`, not beginning or ending with `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct TenantId(String);

impl TenantId {
    /// The tenant of a service without tenants.
    pub fn default_tenant() -> Self {
        Self("default".to_owned())
    }

    /// The slug.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self::default_tenant()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=63).contains(&text.len()) || !text.bytes().all(allowed) {
            return Err(InvalidId("not a tenant: expected 1 to 63 characters of a-z, 0-9 and -"));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(InvalidId("not a tenant: it must not begin or end with -"));
        }
        if text == "global" {
            return Err(InvalidId("not a tenant: `global` is reserved"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// The number of a chunk, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChunkIndex(u32);

impl ChunkIndex {
    /// The chunk `index`, from 0.
    pub fn new(index: u32) -> Self {
        Self(index)
    }

    /// From 0.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ChunkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ChunkIndex {
    type Err = InvalidId;

    /// Plain decimal digits: no sign, no leading zero, at most `u32::MAX`.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let canonical =
            text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        let number = if canonical { text.parse().ok() } else { None };
        number.map(Self).ok_or(InvalidId("not a chunk index: expected a decimal number from 0"))
    }
}
