//! The file: opened if it is what it should be, else made anew. Nothing in it is needed; only nothing wrong may be in it.
//!
//! It is not flushed (`synchronous = OFF`): a process that dies leaves it whole, a machine that dies may not. So it is
//! believed within one run of the kernel only. A file that another program made is left alone, whatever its name.
//!
//! Connections are closed, and their ends waited for, before another file takes the place of theirs: the last one of a
//! file deletes the log beside it, by its name (`sqlite.org/wal.html`), whosever that is by then.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::SqliteOptions;

/// `cfca`: in the header of the file, so that `file` and we know it.
const APPLICATION: i32 = 0x6366_6361;
/// Of the tables below. A file of another one is made anew.
const LAYOUT: i32 = 1;
const PAGE_BYTES: u32 = 4096;
/// What reads at once, each on a thread of its own.
const READERS_MAX: usize = 4;
/// Another process has the file for a moment only.
const BUSY_WAIT_MAX: Duration = Duration::from_millis(100);

/// Ids are hashes of keys and tags; `until` is in microseconds since 1970. Entries lie in the order in which they came, so
/// that the oldest leave whole pages free. What is long comes last.
const TABLES: &str = "
    CREATE TABLE origin (
        one      INTEGER PRIMARY KEY CHECK (one = 1),
        database BLOB NOT NULL,
        boot     BLOB NOT NULL,
        cursor   TEXT
    );
    CREATE TABLE entries (
        place INTEGER PRIMARY KEY,
        id    INTEGER NOT NULL UNIQUE,
        until INTEGER NOT NULL,
        crc   INTEGER NOT NULL,
        key   TEXT NOT NULL,
        entry BLOB NOT NULL
    );
    CREATE INDEX entries_until ON entries (until);
    CREATE TABLE tokens (
        id    INTEGER PRIMARY KEY,
        until INTEGER NOT NULL,
        token INTEGER NOT NULL
    );
    CREATE INDEX tokens_until ON tokens (until);
";

/// An open file: one connection that writes, some that read.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) writer: tokio::sync::Mutex<SqliteConnection>,
    reading: SqliteConnectOptions,
    readers: Arc<Semaphore>,
    idle: Mutex<Vec<SqliteConnection>>,
    /// Busy with what nobody waits for; closed by [`OpenFile::tidy`], until when others are fewer.
    left: Mutex<Vec<(SqliteConnection, OwnedSemaphorePermit)>>,
    /// Woken when something is left.
    wanted: Arc<Notify>,
}

/// A connection on loan for one statement. Dropped before [`Reader::done`] it is not lent again.
pub(super) struct Reader<'a> {
    file: &'a OpenFile,
    loan: Option<(SqliteConnection, OwnedSemaphorePermit)>,
}

impl OpenFile {
    /// The file as it is, if it is ours and of this run of the kernel; else an empty one.
    ///
    /// # Errors
    /// If it cannot be made, or is another program's.
    pub(super) async fn open(of: &SqliteOptions, wanted: &Arc<Notify>) -> sqlx::Result<Self> {
        if let Ok(State::Ours) = look(&of.file).await {
            let mut connection = options(of).connect().await?;
            if is_of(&mut connection, of).await.unwrap_or(false) {
                return Ok(Self::with(connection, of, wanted));
            }
            connection.close().await?;
        }
        Self::make(of, wanted).await
    }

    /// An empty file in place of what is there.
    ///
    /// # Errors
    /// If it cannot be made, or is another program's.
    pub(super) async fn make(of: &SqliteOptions, wanted: &Arc<Notify>) -> sqlx::Result<Self> {
        // A damaged one does not say whose it is: then its name, in our own folder, has to do.
        if let Ok(State::Foreign) = look(&of.file).await {
            let why = "another program's database has this name: move it away";
            return Err(sqlx::Error::Io(io::Error::other(why)));
        }
        let file = of.file.clone();
        let made = tokio::task::spawn_blocking(move || create(&file)).await;
        made.map_err(io::Error::other).and_then(|made| made).map_err(sqlx::Error::Io)?;
        let mut connection = options(of).connect().await?;
        match furnish(&mut connection, of).await {
            Ok(()) => Ok(Self::with(connection, of, wanted)),
            Err(error) => {
                connection.close().await?;
                Err(error)
            }
        }
    }

    fn with(writer: SqliteConnection, of: &SqliteOptions, wanted: &Arc<Notify>) -> Self {
        Self {
            writer: tokio::sync::Mutex::new(writer),
            reading: options(of).pragma("query_only", "ON"),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            idle: Mutex::default(),
            left: Mutex::default(),
            wanted: Arc::clone(wanted),
        }
    }

    /// A connection for one statement.
    pub(super) async fn reader(&self) -> sqlx::Result<Reader<'_>> {
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.reading.connect().await?,
        };
        Ok(Reader { file: self, loan: Some((connection, permit)) })
    }

    /// Closes connections that were left busy.
    pub(super) async fn tidy(&self) {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        for (connection, _permit) in left {
            close(connection).await;
        }
    }

    /// Closes all connections; none is left when this returns.
    pub(super) async fn close(self) {
        self.tidy().await;
        for connection in self.idle.into_inner().unwrap_or_else(PoisonError::into_inner) {
            close(connection).await;
        }
        close(self.writer.into_inner()).await;
    }
}

impl Reader<'_> {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        let (connection, _) = self.loan.as_mut().expect("INVARIANT: the loan ends with the reader");
        connection
    }

    /// The statement is over.
    pub(super) fn done(mut self) {
        if let Some((connection, _permit)) = self.loan.take() {
            self.file.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(loan) = self.loan.take() {
            self.file.left.lock().unwrap_or_else(PoisonError::into_inner).push(loan);
            self.file.wanted.notify_one();
        }
    }
}

/// What goes wrong at the end harms nobody.
async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!("a connection to the cache's file did not close well: {error}");
    }
}

async fn is_of(connection: &mut SqliteConnection, of: &SqliteOptions) -> sqlx::Result<bool> {
    let (database, boot): (Uuid, Uuid) =
        sqlx::query_as("SELECT database, boot FROM origin WHERE one = 1").fetch_one(connection).await?;
    Ok((database, boot) == (of.database, of.boot))
}

async fn furnish(connection: &mut SqliteConnection, of: &SqliteOptions) -> sqlx::Result<()> {
    let header = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {LAYOUT};");
    let tables = sqlx::AssertSqlSafe(format!("BEGIN; {header} {TABLES} COMMIT;"));
    sqlx::raw_sql(tables).execute(&mut *connection).await?;
    sqlx::query("INSERT INTO origin (one, database, boot) VALUES (1, $1, $2)")
        .bind(of.database)
        .bind(of.boot)
        .execute(connection)
        .await
        .map(drop)
}

/// What is under a name.
enum State {
    NoneOrOlder,
    Ours,
    Foreign,
}

/// Looks without changing anything.
async fn look(path: &Path) -> sqlx::Result<State> {
    if !tokio::fs::try_exists(path).await? {
        return Ok(State::NoneOrOlder);
    }
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_WAIT_MAX);
    let mut connection = options.disable_statement_logging().connect().await?;
    let seen = sqlx::query_as(
        "SELECT application_id, user_version, (SELECT COUNT(*) FROM sqlite_schema)
         FROM pragma_application_id, pragma_user_version",
    )
    .fetch_one(&mut connection)
    .await;
    connection.close().await?;
    let (application, layout, tables): (i32, i32, i64) = seen?;
    Ok(match (application, layout) {
        (APPLICATION, LAYOUT) => State::Ours,
        (APPLICATION, _) => State::NoneOrOlder,
        _ if tables == 0 => State::NoneOrOlder,
        _ => State::Foreign,
    })
}

fn options(of: &SqliteOptions) -> SqliteConnectOptions {
    let log_bytes = of.log_bytes();
    SqliteConnectOptions::new()
        .filename(&of.file)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off)
        .busy_timeout(BUSY_WAIT_MAX)
        .page_size(PAGE_BYTES)
        .pragma("temp_store", "MEMORY")
        // It is reused from its beginning when all of it is in the file, which readers may put off for a moment.
        .pragma("wal_autocheckpoint", (log_bytes / 2 / u64::from(PAGE_BYTES)).to_string())
        .pragma("journal_size_limit", log_bytes.to_string())
        .disable_statement_logging()
}

/// An empty file that only its owner may read; its folder too. What was there is gone, logs and all.
fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    for file in beside(path) {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// The file, and those that SQLite puts beside it.
fn beside(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm", "-journal"].into_iter().map(|end| {
        let mut name = path.to_owned().into_os_string();
        name.push(end);
        PathBuf::from(name)
    })
}
