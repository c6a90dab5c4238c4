//! `database`: which database, and how patient with it. Called by `Config::read`; `db` opens what it names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::reader::Reader;
use super::secret::InFile;
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
    /// After this long `PostgreSQL` gives a statement up.
    pub statement_timeout: Duration,
    /// After this long `PostgreSQL` gives up waiting for a lock that another transaction holds.
    pub lock_timeout: Duration,
}

/// Which database.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// An `SQLite` file, by its absolute path.
    Sqlite(PathBuf),
    /// `postgres://user:password@host:port/name`, with `PostgreSQL`'s own parameters (`sslmode`, `sslrootcert`…).
    Postgres(String),
}

impl fmt::Debug for DatabaseUrl {
    /// A URL may hold a password, so it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(…)"),
        }
    }
}

impl Database {
    pub(super) fn read(from: &mut Reader<'_>, data_dir: &Path) -> Self {
        let default_file = DatabaseUrl::Sqlite(data_dir.join("cifra.db"));
        let url = from.derived(
            "url",
            default_file.clone(),
            "sqlite://FILE or postgres://USER:PASSWORD@HOST/NAME; null = cifra.db in data_dir",
        );
        let in_file: Option<InFile<DatabaseUrl>> = from.optional("url_file", "a file with the URL, instead");
        let both = in_file.is_some() && url != default_file;
        from.check(&["database.url_file", "database.url"], !both, "one of the two");
        let read = Self {
            url: in_file.map_or(url, InFile::into_inner),
            max_connections: from.take("max_connections", "16", "connections open at once"),
            slow_query_ms: from.take("slow_query_ms", "100", "slower queries are logged as warnings"),
            statement_timeout: from.take("statement_timeout", "30s", "then PostgreSQL gives a statement up"),
            lock_timeout: from.take("lock_timeout", "10s", "then PostgreSQL gives up waiting for a lock"),
        };
        from.check(
            &["database.max_connections"],
            (1..=1_000).contains(&read.max_connections),
            "a number from 1 to 1000",
        );
        from.check(&["database.statement_timeout"], !read.statement_timeout.is_zero(), "more than zero");
        from.check(&["database.lock_timeout"], !read.lock_timeout.is_zero(), "more than zero");
        read
    }
}

/// What a path must not show in a URL: `%` begins an escape, `?` the parameters, `#` the fragment.
const IN_PATH: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

impl Value for DatabaseUrl {
    fn expected() -> String {
        "null, sqlite://FILE (without parameters) or postgres://USER:PASSWORD@HOST:PORT/NAME".to_owned()
    }

    fn parse(text: &str, base: &Path) -> Result<Self, Refusal> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return postgres(text);
        }
        let file = text.strip_prefix("sqlite://").ok_or(Refusal::Malformed)?;
        if file.contains(['?', '#']) || file.starts_with(':') || file.ends_with('/') {
            return Err(Refusal::Malformed);
        }
        let file = percent_decode_str(file).decode_utf8().map_err(|_| Refusal::Malformed)?;
        Ok(Self::Sqlite(resolve(&file, base)?))
    }

    /// What people may see: of a `PostgreSQL` URL all but its passwords.
    fn render(&self) -> String {
        match self {
            Self::Sqlite(file) => {
                format!("sqlite://{}", utf8_percent_encode(&file.to_string_lossy(), IN_PATH))
            }
            Self::Postgres(url) => without_passwords(url),
        }
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

/// The parameters of a URL that the driver knows and that hold no secret; `options` may.
const SHOWN: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "application_name",
];

/// A URL that `PostgreSQL`'s driver takes as a whole, and of which we know where a password can be.
fn postgres(text: &str) -> Result<DatabaseUrl, Refusal> {
    const ESCAPED: &str =
        "a postgres:// URL, in whose name and password @ : / ? # % are written %40 %3A %2F %3F %23 %25";
    const KNOWN: &str = "a postgres:// URL with the parameters sslmode, sslrootcert, sslcert, sslkey, host, hostaddr, \
                         port, dbname, user, password, application_name, options or statement-cache-capacity";
    let (_, rest) = text.split_once("://").ok_or(Refusal::Malformed)?;
    // Else a piece of a password would be taken for the name of the database, and shown.
    let after = &rest[rest.find(['/', '?']).unwrap_or(rest.len())..];
    if rest.contains('#') || after.contains('@') {
        return Err(Refusal::Expected(ESCAPED));
    }
    // The driver would log what it does not know, and go on without.
    let known = |pair: &str| {
        let name = name_of(pair);
        SHOWN.contains(&name.as_str())
            || ["password", "options"].contains(&name.as_str())
            || name.starts_with("options[")
    };
    if after.split_once('?').is_some_and(|(_, pairs)| !pairs.split('&').all(known)) {
        return Err(Refusal::Expected(KNOWN));
    }
    sqlx::postgres::PgConnectOptions::from_str(text).map_err(|_| Refusal::Expected(ESCAPED))?;
    Ok(DatabaseUrl::Postgres(text.to_owned()))
}

/// A URL that [`postgres`] took, with `…` in the place of all that may be secret.
fn without_passwords(url: &str) -> String {
    let masked = |pair: &str| {
        let name = name_of(pair);
        if SHOWN.contains(&name.as_str()) { pair.to_owned() } else { format!("{name}=…") }
    };
    let (place, pairs) = url.split_once('?').map_or((url, None), |(place, pairs)| (place, Some(pairs)));
    let place = match place.rsplit_once('@') {
        Some((user, host)) => match user.rsplit_once(':') {
            Some((user, _)) if user.contains("://") => format!("{user}:…@{host}"),
            _ => place.to_owned(),
        },
        None => place.to_owned(),
    };
    let Some(pairs) = pairs else { return place };
    format!("{place}?{}", pairs.split('&').map(masked).collect::<Vec<_>>().join("&"))
}

/// The name of `name=value`.
fn name_of(pair: &str) -> String {
    percent_decode_str(pair.split('=').next().unwrap_or_default()).decode_utf8_lossy().into_owned()
}
