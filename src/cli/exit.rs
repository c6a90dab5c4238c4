//! Exit codes: the same number means the same for every command.

use std::process::ExitCode;

use super::output;
use crate::base::error::Class;
use crate::client::{self, Kind};

/// The codes and the variables, as the help tells them.
pub(super) const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage, or a fault in the configuration
  3  not found
  4  refused by the server
  5  conflict: something else is there, or the file changed meanwhile
  6  unavailable: the server is away or too busy; the same command may succeed later

Environment:
  CIFRA_SERVER        the server of upload, download, ls, info, rm, cache and health
  CIFRA_API_KEY       the key for it; CIFRA_API_KEY_FILE names a file that has it
  CIFRA_CONFIG        the configuration file of serve, config, health, thumbnails, tenant and key
  CIFRA__SECTION__KEY overrides a key of that file";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Refused = 4,
    Conflict = 5,
    Unavailable = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Kind> for Exit {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Failed => Self::Failed,
            Kind::Usage => Self::Usage,
            Kind::NotFound => Self::NotFound,
            Kind::Refused => Self::Refused,
            Kind::Conflict => Self::Conflict,
            Kind::Unavailable => Self::Unavailable,
        }
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// For the person at the terminal; empty when everything has been said.
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Tells the user, and the code for the process.
    pub(super) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            output::complain(&self.message);
        }
        self.exit.into()
    }
}

impl From<crate::base::Error> for Failure {
    fn from(error: crate::base::Error) -> Self {
        let exit = match error.code().class() {
            Class::Invalid => Exit::Usage,
            Class::NotFound | Class::Gone => Exit::NotFound,
            Class::Unauthenticated | Class::Forbidden => Exit::Refused,
            Class::Conflict | Class::PreconditionFailed => Exit::Conflict,
            Class::Unavailable => Exit::Unavailable,
            _ => Exit::Failed,
        };
        Self::new(exit, output::explain(&error))
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::new(error.kind().into(), error.to_string())
    }
}
