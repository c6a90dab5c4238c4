//! What can go wrong between the command line and a server, and which [`Kind`] of trouble that is.
//!
//! A server's refusal arrives as a [`Problem`] (RFC 9457). Which errors pass by themselves is decided here
//! ([`Error::passes`]), how often to try again in `retry`. Messages are for the person at the terminal.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Map, Value};

/// What a call answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug)]
pub enum Error {
    /// The server said no.
    Problem(Box<Problem>),
    /// No answer: refused, cut, or too late. The text says which.
    NoAnswer(String),
    /// The trouble did not pass in time.
    GaveUp {
        /// How long it was tried.
        after: Duration,
        /// What came of the last attempt.
        last: Box<Error>,
    },
    /// An answer that no cifra server gives.
    Foreign(String),
    /// The file is not what it was when the upload began.
    Changed(PathBuf),
    /// The file to write is there already, or another download writes it.
    Exists(PathBuf, &'static str),
    /// What was downloaded has not the digest of the file.
    Damaged {
        /// What the server says of the file.
        expected: String,
        /// What the bytes have.
        actual: String,
    },
    /// Reading or writing here failed.
    Local {
        /// What was done to which file: `reading a.bin`.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A setting is wrong.
    Settings(String),
}

/// What kind of trouble, for those who only need to know that: exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// None of the others.
    Failed,
    /// The caller asked for something that makes no sense.
    Usage,
    /// No such thing, or no longer.
    NotFound,
    /// The server will not do this.
    Refused,
    /// Something else is there already, or changed meanwhile.
    Conflict,
    /// The server is away or too busy.
    Unavailable,
}

/// A server's refusal.
#[derive(Debug, Clone, Default)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The kebab-case code; empty when the answer was not cifra's (a proxy's, for example).
    pub code: String,
    /// For people.
    pub detail: String,
    /// The machine-readable members.
    pub members: Map<String, Value>,
    /// When to come back.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An I/O error with what was being done.
    pub(super) fn local(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let doing = format!("{doing} {}", path.display());
        move |source| Self::Local { doing, source }
    }

    /// A request that got no answer, or an answer that broke off.
    pub(super) fn no_answer(error: &reqwest::Error) -> Self {
        Self::NoAnswer(reason(error))
    }

    /// Which kind of trouble.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Problem(problem) => problem.kind(),
            Self::NoAnswer(_) | Self::GaveUp { .. } => Kind::Unavailable,
            Self::Changed(_) | Self::Exists(..) => Kind::Conflict,
            Self::Settings(_) => Kind::Usage,
            Self::Foreign(_) | Self::Damaged { .. } | Self::Local { .. } => Kind::Failed,
        }
    }

    /// Whether the same request may succeed later: no answer, 408, 429, 5xx, another sender at the same chunk,
    /// or the same request still on its way.
    pub fn passes(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Problem(problem) => {
                matches!(problem.status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
                    || problem.status.is_server_error()
                    || problem.code == "chunk-busy"
                    // The first request of the key is still being served: its answer will be ours.
                    || (problem.code == "idempotency-conflict" && problem.retry_after.is_some())
            }
            _ => false,
        }
    }

    /// When the server asked to come back.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem(problem) => problem.retry_after,
            _ => None,
        }
    }

    /// Whether the server said no with this code.
    pub(super) fn is(&self, code: &str) -> bool {
        matches!(self, Self::Problem(problem) if problem.code == code)
    }

    /// Whether the server remembers that the upload session was there, but has ended.
    pub fn session_has_ended(&self) -> bool {
        self.is("upload-gone")
    }

    /// Whether the upload session has ended, or was never there.
    pub(super) fn session_is_gone(&self) -> bool {
        self.is("upload-gone") || self.is("upload-not-found")
    }
}

impl Problem {
    fn kind(&self) -> Kind {
        match self.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Kind::NotFound,
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Kind::Conflict,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Kind::Unavailable,
            status if status.is_client_error() => Kind::Refused,
            _ => Kind::Unavailable,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            write!(f, "{}: {}", self.status, self.detail)
        } else {
            write!(f, "{} ({}, {})", self.detail, self.code, self.status.as_u16())
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(problem) if problem.code == "chunk-conflict" => write!(
                f,
                "{problem}: the file changed since the upload began, or another program sends to the same \
                 upload; --fresh starts over"
            ),
            Self::Problem(problem) if problem.status == StatusCode::UNAUTHORIZED => write!(
                f,
                "{problem}: set CIFRA_API_KEY, or CIFRA_API_KEY_FILE, to a key of this server; its operator makes one \
                 with `cifra key create`"
            ),
            Self::Problem(problem) if problem.status == StatusCode::FORBIDDEN => {
                write!(
                    f,
                    "{problem}: ask the server's operator for what is missing, or use another CIFRA_API_KEY"
                )
            }
            Self::Problem(problem) => problem.fmt(f),
            Self::NoAnswer(why) => write!(f, "the server does not answer: {why}"),
            Self::GaveUp { after, last } if after.is_zero() => last.fmt(f),
            Self::GaveUp { after, last } => write!(f, "gave up after {} s: {last}", after.as_secs()),
            Self::Foreign(what) => write!(f, "this does not seem to be a cifra server: {what}"),
            Self::Changed(path) => write!(
                f,
                "{} changed during the upload: nothing was stored; run the command again to upload it as it \
                 is now",
                path.display()
            ),
            Self::Exists(path, why) => write!(f, "{} {why}", path.display()),
            Self::Damaged { expected, actual } => {
                write!(f, "the bytes that came have {actual}, the file has {expected}: they were not kept")
            }
            Self::Local { doing, source } => write!(f, "{doing}: {source}"),
            Self::Settings(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::GaveUp { last, .. } => Some(last),
            Self::Local { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What lies at the bottom of an error: `connection refused` rather than `error sending request`.
pub(super) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
