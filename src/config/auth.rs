//! `auth`: who may call. Called by `Config::read`, which also holds it against `server.listen`.

use super::reader::Reader;
use super::value::Choice;

/// Section `auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// How callers prove who they are.
    pub mode: AuthMode,
    /// With [`AuthMode::Open`]: the listener need not be on a loopback address.
    pub allow_open_network: bool,
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Not at all: everybody who reaches the listener is the operator.
    Open,
}

impl Choice for AuthMode {
    const ALL: &'static [(&'static str, Self)] = &[("open", Self::Open)];
    const NOT_BUILT: &'static [&'static str] = &["keys"];
}

impl Auth {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        Self {
            mode: from.take("mode", "open", "everybody who reaches the listener may do everything"),
            allow_open_network: from.take(
                "allow_open_network",
                "false",
                "true = with mode open, listen beyond loopback all the same",
            ),
        }
    }
}
