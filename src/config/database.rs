//! `database`: which database, and how patient with it. Called by `Config::read`; `db` opens what it names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::reader::Reader;
use super::value::{Refusal, Value, quoted, resolve};

/// Section `database`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Which database; `null` in the file stands for `cifra.db` in the data folder.
    pub url: DatabaseUrl,
    /// Connections that may be open at once, 1 to 1,000.
    pub max_connections: u32,
    /// Queries slower than this many milliseconds are logged as warnings; 0: all of them.
    pub slow_query_ms: u64,
    /// After this long a statement is given up.
    pub statement_timeout: Duration,
}

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// An `SQLite` file, by its absolute path.
    Sqlite(PathBuf),
}

impl Database {
    pub(super) fn read(from: &mut Reader<'_>, data_dir: &Path) -> Self {
        let default_file = DatabaseUrl::Sqlite(data_dir.join("cifra.db"));
        let read = Self {
            url: from.derived("url", default_file, "sqlite://FILE; null = cifra.db in data_dir"),
            max_connections: from.take("max_connections", "16", "connections open at once"),
            slow_query_ms: from.take("slow_query_ms", "100", "slower queries are logged as warnings"),
            statement_timeout: from.take("statement_timeout", "30s", "then a statement is given up"),
        };
        from.check(
            &["database.max_connections"],
            (1..=1_000).contains(&read.max_connections),
            "a number from 1 to 1000",
        );
        from.check(&["database.statement_timeout"], !read.statement_timeout.is_zero(), "more than zero");
        read
    }
}

/// What a path must not show in a URL: `%` begins an escape, `?` the parameters, `#` the fragment.
const IN_PATH: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

impl Value for DatabaseUrl {
    fn expected() -> String {
        "null or sqlite://FILE (without parameters)".to_owned()
    }

    fn parse(text: &str, base: &Path) -> Result<Self, Refusal> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Err(Refusal::NotBuilt);
        }
        let file = text.strip_prefix("sqlite://").ok_or(Refusal::Malformed)?;
        if file.contains(['?', '#']) || file.starts_with(':') || file.ends_with('/') {
            return Err(Refusal::Malformed);
        }
        let file = percent_decode_str(file).decode_utf8().map_err(|_| Refusal::Malformed)?;
        Ok(Self::Sqlite(resolve(&file, base)?))
    }

    fn render(&self) -> String {
        let Self::Sqlite(file) = self;
        format!("sqlite://{}", utf8_percent_encode(&file.to_string_lossy(), IN_PATH))
    }

    /// A database URL may hold a password, in more than one place: only `SQLite`'s is repeated.
    fn describe(text: &str) -> String {
        match text.split_once("://") {
            Some(("sqlite", _)) => quoted(text),
            Some((scheme @ ("postgres" | "postgresql"), _)) => format!("{scheme}://…"),
            _ => "another text (not shown, it may hold a password)".to_owned(),
        }
    }
}
