//! SQLite: one writer that shares its commits, and readers that never wait for it (WAL).
//!
//! Not `sqlx`'s pool: that asks each connection for a sign of life whenever it comes back, in a task of its
//! own, which for a file in this process is more work than most statements. A reader here is a connection
//! in a list.

mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::writer::Writer;
use super::conn::Conn;
use super::error::{Kind, kind};
use super::job::{Job, Urgency};
use super::{DbOptions, Synchronous, closed, overloaded};
use crate::base::{Code, Error, Result};
use crate::telemetry::Tasks;

/// At most this many reads wait for a connection.
const READS_WAITING_MAX: usize = 1024;

/// A SQLite database; clones share its connections.
#[derive(Debug, Clone)]
pub struct SqliteDb {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    reading: SqliteConnectOptions,
    writing: SqliteConnectOptions,
    writer: Writer,
    idle: Mutex<Vec<Conn>>,
    permits: Arc<Semaphore>,
    readers_max: u32,
    places: Semaphore,
}

impl SqliteDb {
    /// Opens (or creates, for its owner only) the database and starts its writer.
    ///
    /// # Errors
    /// `Internal` with a sentence for the operator if the file is not a sound database.
    pub(super) async fn open(path: &Path, options: &DbOptions, tasks: &Tasks) -> Result<Self> {
        create(path.to_owned()).await?;
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match options.durability {
                Synchronous::Off | Synchronous::Normal => SqliteSynchronous::Normal,
                Synchronous::Full => SqliteSynchronous::Full,
            })
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(3))
            .page_size(4096)
            .pragma("temp_store", "MEMORY")
            // A checkpoint every 16 MiB of log: often enough that the log stays in the page cache, rare enough
            // that its two flushes do not show in the latency of receipts.
            .pragma("wal_autocheckpoint", "4096")
            .pragma("journal_size_limit", "67108864")
            .log_slow_statements(super::level("warn"), options.slow_query)
            .log_statements(super::level("debug"));
        // The one writer keeps the working set of many open uploads in memory: 16 MiB of pages at most.
        let writing = connect.clone().pragma("cache_size", "-16384");
        let mut connection = writing.connect().await.map_err(|error| explain(path, error))?;
        prove_sound(path, &mut connection).await?;
        let readers_max = options.max_connections.max(1);
        let inner = Inner {
            writer: Writer::start(connection, writing.clone(), options.durability, tasks),
            reading: connect.pragma("query_only", "ON"),
            writing,
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(readers_max as usize)),
            readers_max,
            places: Semaphore::new(READS_WAITING_MAX),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A connection of its own that may write (migrations, before anything else is at work).
    pub(super) async fn connect_writer(&self) -> Result<SqliteConnection> {
        Ok(self.inner.writing.connect().await?)
    }

    /// A connection for reading, each statement for itself.
    pub(super) async fn reader(&self) -> Result<Reader> {
        let _place = self.inner.places.try_acquire().map_err(|_| overloaded())?;
        let permit = Arc::clone(&self.inner.permits).acquire_owned().await.map_err(|_| closed())?;
        let idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => Conn::Sqlite(Box::new(self.inner.reading.connect().await?)),
        };
        Ok(Reader { conn: Some(conn), inner: Arc::clone(&self.inner), _permit: permit })
    }

    /// A connection of its own, for who asks so often that nobody wants it in the log.
    pub(super) async fn connect_watcher(&self) -> Result<SqliteConnection> {
        Ok(self.inner.reading.clone().disable_statement_logging().connect().await?)
    }

    /// Queues `job` for the writer.
    pub(super) fn submit(&self, urgency: Urgency, job: Job) -> Result<()> {
        self.inner.writer.submit(urgency, job)
    }

    /// Readers first, then the writer, which serves all that waits and empties the log into the database.
    pub(super) async fn close(&self) {
        let all = Arc::clone(&self.inner.permits).acquire_many_owned(self.inner.readers_max);
        // Whoever still reads after this is cut off by the end of the process.
        let _waited = tokio::time::timeout(Duration::from_secs(5), all).await;
        self.inner.permits.close();
        let idle = std::mem::take(&mut *self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for conn in idle {
            if let Conn::Sqlite(connection) = conn
                && let Err(error) = connection.close().await
            {
                tracing::warn!(%error, "closing a database connection failed: {error}");
            }
        }
        self.inner.writer.close().await;
    }
}

/// A connection on loan; goes back to the list when dropped.
#[derive(Debug)]
pub(super) struct Reader {
    conn: Option<Conn>,
    inner: Arc<Inner>,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// The connection.
    pub(super) fn conn(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("INVARIANT: taken only by `discard` and drop, which end the loan")
    }

    /// Closes the connection instead of lending it again: it may be busy with what nobody waits for.
    pub(super) fn discard(mut self) {
        self.conn = None;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }
}

/// Makes an empty file that only its owner may read (SQLite gives its log the same rights). An existing one is left as it
/// is, and not even opened: to close it would end the locks that this process has on it already, and another program
/// would take the log for its own (`sqlite.org/howtocorrupt.html`, 2.2).
async fn create(path: PathBuf) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let shown = path.display().to_string();
    let create = move || {
        if path.try_exists()? {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600).open(&path).map(drop)
    };
    tokio::task::spawn_blocking(create)
        .await
        .map_err(|error| Error::internal("the database could not be opened", error))?
        .map_err(|error: std::io::Error| cannot_open(&shown).caused_by(error))
}

fn cannot_open(file: impl std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("the database file `{file}` could not be opened or created"))
}

/// Reads the schema: enough to see that this is a database, cheap enough for every start. A page that is damaged
/// elsewhere fails the statements that need it, and only those.
async fn prove_sound(path: &Path, connection: &mut SqliteConnection) -> Result<()> {
    let read: Result<i64, _> =
        sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_schema").fetch_one(connection).await;
    read.map(drop).map_err(|error| explain(path, error))
}

fn explain(path: &Path, error: sqlx::Error) -> Error {
    const CANTOPEN: &str = "14";
    if matches!(&error, sqlx::Error::Database(said) if said.code().as_deref() == Some(CANTOPEN)) {
        return cannot_open(path.display()).caused_by(error);
    }
    if kind(&error) != Kind::Damaged {
        return error.into();
    }
    let path = path.display();
    let detail = format!(
        "the database `{path}` is damaged and was left as it is: restore a backup, or stop cifra, move the file \
         away and save what can be read with `sqlite3 {path} .recover | sqlite3 new.db`"
    );
    Error::new(Code::Internal, detail).caused_by(error)
}
