//! One bad picture, and what must come of it.

use cifra::imaging::Reason;

/// What is hidden in files that are two things at once: no thumbnail may have it.
pub(super) const PAYLOAD: &[u8] = b"<script>alert('cifra-payload')</script>";

/// The most bytes that one picture may take beside its source: what the corpus' expectations are of.
pub(super) const MEMORY_MAX: u64 = 128 << 20;

/// See the module.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: Expected,
}

/// What must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Thumbnails of a whole picture with these sides, as seen.
    Made(u32, u32),
    /// No thumbnails, for this reason.
    Refused(Reason),
    /// Thumbnails of what is there of it, and that it is not whole is told; or refused as corrupt.
    Broken,
    /// Thumbnails of a whole picture with these sides, unless that takes too long.
    Slow(u32, u32),
    /// Thumbnails or not, as decoders happen to see it: it ends in time, within its memory, and nothing crashes.
    Anything,
}

impl Case {
    pub(super) fn new(name: impl Into<String>, bytes: Vec<u8>, expected: Expected) -> Self {
        Self { name: name.into(), bytes, expected }
    }

    /// The same, of a kind.
    pub(super) fn of(mut self, kind: &str) -> Self {
        self.name = format!("{kind}: {}", self.name);
        self
    }
}

pub(super) fn made(width: u32, height: u32) -> Expected {
    Expected::Made(width, height)
}

pub(super) fn slow(width: u32, height: u32) -> Expected {
    Expected::Slow(width, height)
}

pub(super) fn refused(reason: Reason) -> Expected {
    Expected::Refused(reason)
}
