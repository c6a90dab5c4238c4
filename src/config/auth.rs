//! `auth`: who may call. Called by `Config::read`, which also holds it against `server.listen`.

use super::reader::Reader;
use super::value::Choice;
use crate::base::Secret;

/// The first operator key comes from this variable, or from the file that this one with `_FILE` names.
const ADMIN_KEY: &str = "CIFRA_ADMIN_KEY";
/// It is typed by people and compared by its hash: a short one could be guessed.
pub const ADMIN_KEY_CHARS_MIN: usize = 32;

/// Section `auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// How callers prove who they are.
    pub mode: AuthMode,
    /// With [`AuthMode::Open`]: the listener need not be on a loopback address.
    pub allow_open_network: bool,
    /// The first operator key, if the environment gives one; at least [`ADMIN_KEY_CHARS_MIN`] characters.
    pub admin_key: Option<Secret>,
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Not at all: everybody who reaches the listener is the operator.
    Open,
    /// By a key.
    Keys,
}

impl Choice for AuthMode {
    const ALL: &'static [(&'static str, Self)] = &[("open", Self::Open), ("keys", Self::Keys)];
}

impl Auth {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        Self {
            mode: from.take("mode", "open", "whoever reaches the listener may do everything, or needs a key"),
            allow_open_network: from.take(
                "allow_open_network",
                "false",
                "true = with mode open, listen beyond loopback all the same",
            ),
            admin_key: from.secret(ADMIN_KEY, ADMIN_KEY_CHARS_MIN),
        }
    }
}
