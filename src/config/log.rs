//! `log`: what is logged and how. Called by `Config::read`; `telemetry` acts on it.

use std::path::Path;

use tracing_subscriber::EnvFilter;

use super::reader::Reader;
use super::value::{Choice, Refusal, Value};

/// Section `log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged.
    pub level: LogFilter,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged: a level, or a list of `target=level`. `tracing_subscriber::EnvFilter` takes the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl Log {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        Self {
            format: from.take("format", "text", "for people, or one object a line"),
            level: from.take(
                "level",
                "info",
                "off, error, warn, info, debug, trace; or such as info,cifra::db=debug",
            ),
        }
    }
}

impl Choice for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl LogFilter {
    /// The text, which `EnvFilter` understands.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for LogFilter {
    fn expected() -> String {
        "off, error, warn, info, debug or trace, or a list such as info,cifra::db=debug".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        // `EnvFilter` takes any bare word for a target and logs all of it: `inof` would be everything about a
        // module of that name, and nothing else. A directive with a span (`[…]`) is left to `EnvFilter`
        // alone.
        let level = |word: &str| {
            ["off", "error", "warn", "info", "debug", "trace"]
                .iter()
                .any(|name| word.eq_ignore_ascii_case(name))
        };
        let plain = |part: &str| level(part.rsplit_once('=').map_or(part, |(_, level)| level).trim());
        let known = text.contains('[') || text.split(',').all(plain);
        if known && EnvFilter::try_new(text).is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::Malformed)
        }
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}
