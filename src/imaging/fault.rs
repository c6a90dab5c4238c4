//! Why a picture has no thumbnails. Each reason has one word, which rows, JSON and metrics carry.

use std::fmt;

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub reason: Reason,
    /// In words, for people: lower case, no full stop, nothing internal.
    pub detail: String,
}

/// The reasons. Those of [`Reason::is_skip`] say that this was never going to be done; the others that it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The bytes are no picture of a format that we know.
    NotAnImage,
    /// A picture of a format that this build does not decode (HEIC, AVIF, JPEG XL, SVG …).
    UnsupportedFormat,
    /// It would take more pixels or memory than allowed.
    TooLarge,
    /// It does not decode.
    Corrupt,
    /// It took longer than allowed.
    TimedOut,
    /// The decoder gave up in a way that is a bug (of ours or of a library).
    Crashed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NotAnImage,
        Self::UnsupportedFormat,
        Self::TooLarge,
        Self::Corrupt,
        Self::TimedOut,
        Self::Crashed,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAnImage => "not_an_image",
            Self::UnsupportedFormat => "unsupported_format",
            Self::TooLarge => "too_large",
            Self::Corrupt => "corrupt",
            Self::TimedOut => "timed_out",
            Self::Crashed => "crashed",
        }
    }

    /// The reason that has this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Whether the picture was left alone, rather than tried in vain.
    pub const fn is_skip(self) -> bool {
        matches!(self, Self::NotAnImage | Self::UnsupportedFormat | Self::TooLarge)
    }
}

impl Fault {
    /// One of `reason`, told as `detail`.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Fault {}
