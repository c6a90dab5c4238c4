//! PostgreSQL: a pool, and transactions that run to their end even if their caller goes away.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use tokio::sync::Semaphore;

use super::conn::{Conn, PostgresConn};
use super::error::is_to_be_repeated;
use super::job::{Commit, Job};
use super::{DbOptions, Synchronous, overloaded};
use crate::base::{Code, Error, Result};
use crate::telemetry::Tasks;

/// At most this many transactions under way or waiting for a connection.
const WRITES_MAX: usize = 1024;
/// At most this many reads under way or waiting for a connection.
const READS_MAX: usize = 1024;
/// How often a transaction is repeated that others stood in the way of.
const ATTEMPTS_MAX: u32 = 5;
/// A transaction of ours always has a statement under way, unless its process was stopped: then others must not wait
/// for what it has locked.
const IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(10);
/// A connection that rested longer is asked whether it still lives before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A PostgreSQL database; clones share one pool.
#[derive(Debug, Clone)]
pub struct PostgresDb {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    connect: PgConnectOptions,
    durability: Synchronous,
    tasks: Tasks,
    writes: Arc<Semaphore>,
    reads: Semaphore,
}

impl PostgresDb {
    /// Opens the pool and proves that it can connect.
    pub(super) async fn open(url: &str, options: &DbOptions, tasks: &Tasks) -> Result<Self> {
        let connect = PgConnectOptions::from_str(url).map_err(|_| {
            // The error repeats the URL, which may hold a password.
            Error::new(
                Code::Internal,
                "`database.url` is not a PostgreSQL URL: expected postgres://user@host/name",
            )
        })?;
        let connect = connect
            .application_name("cifra")
            .options(
                [
                    ("statement_timeout", options.statement_timeout),
                    ("lock_timeout", options.lock_timeout),
                    ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MAX),
                ]
                .map(|(name, time)| (name, time.as_millis())),
            )
            .log_slow_statements(super::level("warn"), options.slow_query)
            .log_statements(super::level("debug"));
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(Duration::from_secs(3))
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(connect.clone());
        let inner = Inner {
            pool,
            connect,
            durability: options.durability,
            tasks: tasks.clone(),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            reads: Semaphore::new(READS_MAX),
        };
        inner.pool.acquire().await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A connection of its own, on which a statement may take as long as it needs (migrations).
    pub(super) async fn connect_without_timeout(&self) -> Result<PgConnection> {
        let no_limits = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
        Ok(self.inner.connect.clone().options(no_limits.map(|name| (name, "0"))).connect().await?)
    }

    /// A connection for reading, each statement for itself.
    pub(super) async fn reader(&self) -> Result<Conn> {
        let _place = self.inner.reads.try_acquire().map_err(|_| overloaded())?;
        Ok(Conn::Postgres(PostgresConn::Plain(self.inner.pool.acquire().await?)))
    }

    /// Starts `job` in a task of its own.
    pub(super) fn submit(&self, job: Job) -> Result<()> {
        if self.inner.pool.is_closed() {
            return Err(super::closed());
        }
        let place = Arc::clone(&self.inner.writes).try_acquire_owned().map_err(|_| overloaded())?;
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn("db write", async move {
            inner.run(job).await;
            drop(place);
        });
        Ok(())
    }

    /// Waits for what is under way, then closes the connections.
    pub(super) async fn close(&self) {
        self.inner.pool.close().await;
    }
}

impl Inner {
    async fn run(&self, mut job: Job) {
        let mut attempt = 1;
        loop {
            match self.attempt(&mut job).await {
                Ok(()) => return job.committed(),
                Err(error) if attempt < ATTEMPTS_MAX && is_to_be_repeated(&error) => attempt += 1,
                Err(error) => return job.failed(error),
            }
        }
    }

    async fn attempt(&self, job: &mut Job) -> Result<()> {
        let durable = job.commit == Commit::Durable || self.durability == Synchronous::Full;
        // Both statements in one message.
        let begin = if durable {
            "BEGIN; SET LOCAL synchronous_commit = on"
        } else {
            "BEGIN; SET LOCAL synchronous_commit = off"
        };
        let mut conn = Conn::Postgres(PostgresConn::Transaction(self.pool.begin_with(begin).await?));
        let outcome = job.run(&mut conn).await;
        let Conn::Postgres(PostgresConn::Transaction(transaction)) = conn else {
            return Err(Error::internal("the database failed", "a job took its transaction away"));
        };
        match outcome {
            Ok(()) => Ok(transaction.commit().await?),
            Err(error) => {
                // If that fails too, the server does it when it sees the connection gone.
                let _ = transaction.rollback().await;
                Err(error)
            }
        }
    }
}
