//! The database: connections, migrations, and one file of statements per table.
//!
//! Two engines, one text: [`Db`] is SQLite or PostgreSQL, and nearly every statement runs on both. Writing goes
//! through [`Db::write`], a closure in one transaction; reading through [`Db::read`]. Nothing is decided here:
//! who may, what follows, and what to tell a client is the services' business. Called by stores and services.

pub mod audit;
pub mod blob_deletions;
pub mod cache_figures;
pub mod cache_switches;
pub mod catalog;
pub mod checkpoints;
mod conn;
pub mod dynamic;
mod error;
pub mod file_access;
pub mod files;
pub mod idempotency_keys;
pub mod identity;
pub mod images;
pub mod inspect;
pub mod invalidations;
mod job;
pub mod jobs;
pub mod keys;
mod migrations;
pub mod parts;
mod postgres;
pub mod signing_keys;
mod sqlite;
pub mod stores;
pub mod tenants;
pub mod thumbnails;
mod time;
pub mod triggers;
pub mod upload_tokens;
pub mod uploads;
pub mod usage;
pub mod write_behind;

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

pub use self::conn::Conn;
pub use self::job::{Commit, Urgency};
use self::job::{Job, Patience};
pub use self::postgres::{PostgresConn, PostgresDb};
pub use self::sqlite::SqliteDb;
use crate::base::{Code, Error, Result};
pub use crate::config::DatabaseUrl;
use crate::config::{Config, Durability};
use crate::telemetry::Tasks;

/// How long a caller waits for an answer; a client gets its 503 within 5 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// How many rows are brought up to date in one transaction.
const FILL_ROWS: u32 = 500;

/// What a commit survives unless it asks for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// As `Normal`, but PostgreSQL answers for receipts before it has written them: a crash of its server takes the last
    /// of them.
    Off,
    /// The end of the process, PostgreSQL's too; the loss of power on SQLite only if it is a [`Commit::Durable`] one.
    Normal,
    /// The loss of power, always.
    Full,
}

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct DbOptions {
    /// At most this many connections (SQLite: for reading, beside the one that writes).
    pub max_connections: u32,
    /// A statement that takes longer is logged as a warning, with its text.
    pub slow_query: Duration,
    /// PostgreSQL gives up a statement that takes longer.
    pub statement_timeout: Duration,
    /// PostgreSQL gives up waiting for a lock that another transaction holds for longer.
    pub lock_timeout: Duration,
    /// What a commit survives.
    pub durability: Synchronous,
}

impl DbOptions {
    /// As the operator configured it.
    pub fn of(config: &Config) -> Self {
        Self {
            max_connections: config.database.max_connections,
            slow_query: Duration::from_millis(config.database.slow_query_ms),
            statement_timeout: config.database.statement_timeout,
            lock_timeout: config.database.lock_timeout,
            durability: match config.file_upload.durability {
                Durability::Chunk => Synchronous::Full,
                Durability::Finalize => Synchronous::Normal,
                Durability::None => Synchronous::Off,
            },
        }
    }
}

/// A migration that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its number, which both engines share.
    pub number: i64,
    /// What it is about.
    pub name: &'static str,
}

/// A database. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub enum Db {
    /// In a file of this process.
    Sqlite(SqliteDb),
    /// On a server.
    Postgres(PostgresDb),
}

impl Db {
    /// Opens the database; its writer lives in `tasks` until [`Db::close`], whatever the signal to stop says.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be reached; `Internal` with a sentence for the operator if it is damaged.
    pub async fn connect(url: &DatabaseUrl, options: &DbOptions, tasks: &Tasks) -> Result<Self> {
        match url {
            DatabaseUrl::Sqlite(path) => SqliteDb::open(path, options, tasks).await.map(Self::Sqlite),
            DatabaseUrl::Postgres(url) => PostgresDb::open(url, options, tasks).await.map(Self::Postgres),
        }
    }

    /// Brings the schema up to date, and answers what it applied. Can be repeated; on PostgreSQL several processes may
    /// do it at once.
    ///
    /// # Errors
    /// `Internal` with a sentence for the operator, if a newer version has used the database.
    pub async fn migrate(&self) -> Result<Vec<Applied>> {
        let applied = migrations::run(self).await?;
        // Rows that an older version wrote, in slices: the process may be stopped between any two of them.
        let fill = || {
            self.write_to_the_end(Urgency::Background, Commit::Normal, |c| {
                Box::pin(files::fill(c, FILL_ROWS))
            })
        };
        while fill().await? > 0 {}
        Ok(applied.into_iter().map(|number| Applied { number, name: migrations::name(number) }).collect())
    }

    /// Reads. Each statement of `f` sees the database at its own point in time.
    ///
    /// # Errors
    /// What `f` answers; `Unavailable` after 4 s without an answer; `Overloaded` if too many wait.
    pub async fn read<T>(
        &self,
        f: impl for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T>>,
    ) -> Result<T> {
        let patience = tokio::time::Instant::now() + PATIENCE;
        match self {
            Self::Sqlite(db) => {
                let mut reader =
                    tokio::time::timeout_at(patience, db.reader()).await.map_err(|_| no_reader())??;
                if let Ok(answer) = tokio::time::timeout_at(patience, f(reader.conn())).await {
                    return answer;
                }
                reader.discard();
                Err(too_slow())
            }
            Self::Postgres(db) => {
                tokio::time::timeout_at(patience, db.read(f)).await.map_err(|_| too_slow())?
            }
        }
    }

    /// Writes: runs `job` in one transaction, which is committed if and when `job` answers `Ok`.
    ///
    /// `job` may be run more than once, but only the run that is answered has happened. Once this was polled the
    /// job goes its way, even if the caller goes away or loses patience: then it may still happen.
    ///
    /// # Errors
    /// What `job` answers, and then nothing was changed; `Overloaded` if too many wait, and then nothing will be;
    /// `Unavailable` after 4 s without an answer, or when the connection broke.
    pub async fn write<T, F>(&self, urgency: Urgency, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send + Sync + 'static,
    {
        let answer = self.submit(urgency, Commit::Normal, Patience::OfACaller, job)?;
        tokio::time::timeout(PATIENCE, received(answer)).await.map_err(|_| too_slow())?
    }

    /// [`Db::write`], with a commit that survives the loss of power.
    ///
    /// # Errors
    /// Those of [`Db::write`].
    pub async fn write_durable<T, F>(&self, urgency: Urgency, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send + Sync + 'static,
    {
        let answer = self.submit(urgency, Commit::Durable, Patience::OfACaller, job)?;
        tokio::time::timeout(PATIENCE, received(answer)).await.map_err(|_| too_slow())?
    }

    /// [`Db::write`] with all patience: for who holds a claim until they know whether it happened.
    ///
    /// # Errors
    /// Those of [`Db::write`]; `Unavailable` only if the connection broke or the database was closed. On PostgreSQL one
    /// that is silent for longer than `statement_timeout` and 10 s is broken.
    pub async fn write_to_the_end<T, F>(&self, urgency: Urgency, commit: Commit, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send + Sync + 'static,
    {
        received(self.submit(urgency, commit, Patience::ToTheEnd, job)?).await
    }

    fn submit<T, F>(
        &self,
        urgency: Urgency,
        commit: Commit,
        patience: Patience,
        job: F,
    ) -> Result<oneshot::Receiver<Result<T>>>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send + Sync + 'static,
    {
        let (job, answer) = Job::new(commit, patience, job);
        match self {
            Self::Sqlite(db) => db.submit(urgency, job)?,
            Self::Postgres(db) => db.submit(urgency, job)?,
        }
        Ok(answer)
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// `Unavailable` if there is none within 4 s.
    pub async fn ping(&self) -> Result<()> {
        self.read(|c| {
            Box::pin(async move {
                let one: i32 = conn::on!(c, c => sqlx::query_scalar("SELECT 1").fetch_one(&mut *c).await)?;
                debug_assert_eq!(one, 1);
                Ok(())
            })
        })
        .await
    }

    /// Serves the jobs that wait and closes all connections. Everything after it is `Unavailable`.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(db) => db.close().await,
            Self::Postgres(db) => db.close().await,
        }
    }
}

async fn received<T>(answer: oneshot::Receiver<Result<T>>) -> Result<T> {
    answer.await.unwrap_or_else(|_| Err(closed()))
}

fn too_slow() -> Error {
    Error::unavailable("the database did not answer in time", "no answer within 4 s")
}

fn no_reader() -> Error {
    Error::unavailable("the database did not answer in time", "no connection for reading within 4 s")
}

fn overloaded() -> Error {
    Error::new(Code::Overloaded, "too many requests wait for the database")
}

fn closed() -> Error {
    Error::unavailable("the database is away", "it was closed")
}

/// `sqlx` takes the levels of a crate that is not ours to name.
fn level<L: std::str::FromStr>(name: &str) -> L {
    name.parse().ok().expect("INVARIANT: called with names of log levels")
}
