//! Names of kinds of records: what caches, reads, exports and reports call `Contact` or `File`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::id::InvalidId;

/// Longer names help nobody, and they are part of every key.
const CHARS_MAX: usize = 64;

/// The name of an entity: a letter, then letters, digits and `_`, at most 64. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityName(Arc<str>);

impl EntityName {
    /// Files, each with what is known of its picture and thumbnails.
    pub const FILE: &str = "File";
    /// Uploads; always read from the database.
    pub const UPLOAD: &str = "Upload";
    /// Thumbnails, one of each size of a picture.
    pub const THUMBNAIL: &str = "Thumbnail";
    /// Tenants.
    pub const TENANT: &str = "Tenant";

    /// The entities that are there without being configured.
    pub const BUILT_IN: [&str; 4] = [Self::FILE, Self::UPLOAD, Self::THUMBNAIL, Self::TENANT];

    /// One of [`EntityName::BUILT_IN`], or another name that stands in our own code.
    ///
    /// # Panics
    /// If it is no name: a bug.
    pub fn of(name: &'static str) -> Self {
        name.parse().expect("INVARIANT: names in our own code are right")
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is there without being configured.
    pub fn is_built_in(&self) -> bool {
        Self::BUILT_IN.contains(&self.as_str())
    }
}

impl fmt::Display for EntityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EntityName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let right = text.len() <= CHARS_MAX
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(rest);
        if right {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId("not an entity: expected a letter, then letters, digits and _, at most 64"))
        }
    }
}
