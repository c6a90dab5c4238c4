//! One connection of either engine, and the macro that gives a statement to the one it is.
//!
//! Statements are the same text on both (`$1` works on both); where they cannot be, match on [`Conn`].

use std::fmt;

use sqlx::SqliteConnection;

use super::postgres::PostgresConn;

/// A connection that was lent to a closure by [`super::Db::read`] or [`super::Db::write`].
pub enum Conn {
    /// SQLite.
    Sqlite(Box<SqliteConnection>),
    /// PostgreSQL.
    Postgres(PostgresConn),
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "Conn::Sqlite",
            Self::Postgres(_) => "Conn::Postgres",
        })
    }
}

/// Runs `$body` with `$c` as the connection that `$conn` is: `on!(conn, c => query(TEXT).execute(&mut *c).await)`.
macro_rules! on {
    ($conn:expr, $c:ident => $body:expr) => {
        match $conn {
            $crate::db::Conn::Sqlite(connection) => {
                let $c = &mut **connection;
                $body
            }
            $crate::db::Conn::Postgres(connection) => {
                let $c = &mut **connection;
                $body
            }
        }
    };
}
pub(super) use on;
