//! `audit`: the log of changes. Called by `Config::read`.

use std::time::Duration;

use super::reader::Reader;

/// Section `audit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Older entries are dropped.
    pub retention: Duration,
}

impl Audit {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        Self { retention: from.take("retention", "90d", "the log of changes forgets what is older") }
    }
}
