//! `files`: what becomes of files once they are there. Called by `Config::read`.

use std::time::Duration;

use super::reader::Reader;

/// Section `files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The bytes of a deleted file are removed this much later; `None`: as suits its store.
    pub purge_delay: Option<Duration>,
}

impl Files {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        Self {
            purge_delay: from.optional(
                "purge_delay",
                "bytes of a deleted file go this much later; null = 0s where they are local, else 1h",
            ),
        }
    }
}
