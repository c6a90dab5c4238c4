//! What a database's error means to a client: come back, no room, or our fault.
//!
//! Every `?` on a `sqlx` call in this folder goes through here. The client reads a fixed sentence; what the
//! database said is the error's source, for the log.

use std::fmt;

use crate::base::{Code, Error};

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match kind(&error) {
            Kind::Away => Self::unavailable("the database is away", error),
            Kind::Full => {
                let detail = "the database has no room left; nothing of this request was kept";
                Self::new(Code::StorageFull, detail).caused_by(error)
            }
            Kind::Damaged => {
                let detail = "the database is damaged: restore a backup, or stop cifra and save what can be read \
                              with `sqlite3 cifra.db .recover | sqlite3 new.db`";
                Self::internal(detail, error)
            }
            Kind::Other => Self::internal("the database failed", error),
        }
    }
}

/// What kind of trouble a database reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not reachable, too busy, restarting: passes by itself.
    Away,
    /// Its disk is full.
    Full,
    /// Its file is not what it should be.
    Damaged,
    /// A statement or a row that should not be: a bug.
    Other,
}

/// Sorts an error of either engine.
pub(super) fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Database(database) => match database.code() {
            Some(code) if code.len() == 5 => postgres_kind(&code),
            Some(code) => code.parse().map_or(Kind::Other, sqlite_kind),
            None => Kind::Other,
        },
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Kind::Full,
        // A connection that broke in the middle of an answer shows as a protocol error.
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Kind::Away
        }
        _ => Kind::Other,
    }
}

/// PostgreSQL's codes (its manual, appendix A). All have five characters; no SQLite code has.
fn postgres_kind(code: &str) -> Kind {
    match code {
        "53100" => Kind::Full,
        "XX001" | "XX002" => Kind::Damaged,
        // A replica after a failover; a lock or a statement that took too long; a serialization to be repeated.
        "25006" | "40001" | "40P01" | "55P03" | "57014" => Kind::Away,
        _ if code.starts_with("08") || code.starts_with("53") || code.starts_with("57P0") => Kind::Away,
        _ => Kind::Other,
    }
}

/// SQLite's extended result codes; the low byte is the primary one (`sqlite.org/rescode.html`).
fn sqlite_kind(code: u32) -> Kind {
    match code & 0xff {
        5 | 6 => Kind::Away,      // BUSY, LOCKED
        13 => Kind::Full,         // FULL
        11 | 26 => Kind::Damaged, // CORRUPT, NOTADB
        _ => Kind::Other,
    }
}

/// Two transactions stood in each other's way on PostgreSQL: this one did nothing and can simply run again.
pub(super) fn is_to_be_repeated(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<sqlx::Error>());
    let Some(sqlx::Error::Database(database)) = source else { return false };
    matches!(database.code().as_deref(), Some("40001" | "40P01"))
}

/// The connection to PostgreSQL, or the server behind it, is gone: what rests in the pool probably is, too.
pub(super) fn is_broken(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<sqlx::Error>());
    match source {
        Some(
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed,
        ) => true,
        // Ended by an administrator or a crash; a primary that is a replica by now.
        Some(sqlx::Error::Database(database)) => database
            .code()
            .is_some_and(|code| code == "25006" || code.starts_with("08") || code.starts_with("57P0")),
        _ => false,
    }
}

/// A row that breaks what the schema promises: `Internal`, with table and id for the log.
pub(super) fn damaged(table: &'static str, id: impl fmt::Display, what: &str) -> Error {
    Error::internal("a row of the database is damaged", format!("row {id} of {table}: {what}"))
}

/// A number from a row that must not be negative (or not that large).
pub(super) fn number<T: TryFrom<i64>>(
    table: &'static str,
    id: impl fmt::Display,
    value: i64,
) -> Result<T, Error> {
    T::try_from(value).map_err(|_| damaged(table, id, &format!("a number is {value}")))
}

/// A number for a row. What cannot be kept (over 8 EiB) never passed the limits at the border.
///
/// # Errors
/// `InvalidRequest` for numbers from 2^63 on.
pub(super) fn to_row(value: u64) -> Result<i64, Error> {
    i64::try_from(value)
        .map_err(|_| Error::new(Code::InvalidRequest, format!("the number {value} is too large to be kept")))
}
