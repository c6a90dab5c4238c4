//! PostgreSQL: a pool, and transactions that run to their end even if their caller goes away.

mod pool;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor, PgConnection};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub(super) use self::pool::Pool;
pub use self::pool::PostgresConn;
use super::conn::Conn;
use super::error::{is_broken, is_to_be_repeated};
use super::job::{Commit, Job, Patience, Urgency};
use super::{DbOptions, PATIENCE, Synchronous, overloaded, too_slow};
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
/// Who waits for an answer to the end waits so much longer than the statement may take.
const TO_THE_END_MORE: Duration = Duration::from_secs(10);

/// A PostgreSQL database; clones share one pool.
#[derive(Debug, Clone)]
pub struct PostgresDb {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Pool,
    connect: PgConnectOptions,
    durability: Synchronous,
    to_the_end: Duration,
    tasks: Tasks,
    writes: Arc<Semaphore>,
    reads: Semaphore,
}

/// How a connection is opened: our name and limits, whatever the server's defaults are.
///
/// # Errors
/// `Internal`, without the URL, which may hold a password.
pub(super) fn connect_options(url: &str, options: &DbOptions) -> Result<PgConnectOptions> {
    let connect = PgConnectOptions::from_str(url).map_err(|_| {
        // The error repeats the URL, which may hold a password.
        Error::new(
            Code::Internal,
            "`database.url` is not a PostgreSQL URL: expected postgres://user@host/name",
        )
    })?;
    Ok(connect
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
        .log_statements(super::level("debug")))
}

impl PostgresDb {
    /// Opens the pool and proves that it can connect.
    pub(super) async fn open(url: &str, options: &DbOptions, tasks: &Tasks) -> Result<Self> {
        let connect = connect_options(url, options)?;
        let pool = Pool::new(connect.clone(), options.max_connections.max(1));
        let inner = Inner {
            pool,
            connect,
            durability: options.durability,
            to_the_end: options.statement_timeout + TO_THE_END_MORE,
            tasks: tasks.clone(),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            reads: Semaphore::new(READS_MAX),
        };
        inner.pool.acquire().await?.give_back();
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A connection of its own, on which a statement may take as long as it needs (migrations).
    pub(super) async fn connect_without_timeout(&self) -> Result<PgConnection> {
        let no_limits = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
        Ok(self.inner.connect.clone().options(no_limits.map(|name| (name, "0"))).connect().await?)
    }

    /// A connection of its own, for who asks so often that nobody wants it in the log.
    pub(super) fn watcher(&self) -> Pool {
        Pool::new(self.inner.connect.clone().disable_statement_logging(), 1)
    }

    /// Lends a connection to `f`, whose statements are each for themselves.
    pub(super) async fn read<T>(
        &self,
        f: impl for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T>>,
    ) -> Result<T> {
        let place = self.inner.reads.try_acquire().map_err(|_| overloaded())?;
        let mut conn = Conn::Postgres(self.inner.pool.acquire().await?);
        drop(place);
        let answer = f(&mut conn).await;
        if let Conn::Postgres(connection) = conn {
            connection.settle(&answer);
        }
        answer
    }

    /// Starts `job` in a task of its own.
    pub(super) fn submit(&self, urgency: Urgency, job: Job) -> Result<()> {
        if self.inner.pool.is_closed() {
            return Err(super::closed());
        }
        let place = Arc::clone(&self.inner.writes).try_acquire_owned().map_err(|_| overloaded())?;
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn("db write", async move {
            inner.run(urgency, job).await;
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
    async fn run(&self, urgency: Urgency, mut job: Job) {
        let mut attempt = 1;
        loop {
            match self.attempt(urgency, &mut job).await {
                Ok(()) => return job.committed(),
                Err(error) if attempt < ATTEMPTS_MAX && is_to_be_repeated(&error) => attempt += 1,
                Err(error) => return job.failed(error),
            }
        }
    }

    async fn attempt(&self, urgency: Urgency, job: &mut Job) -> Result<()> {
        // A server that crashes (one that is stopped does not) forgets up to 0.6 s of what it did not write to its log at
        // once. What is done in the background is done again; a receipt is an answer that a client has.
        let durable = match urgency {
            _ if job.commit == Commit::Durable || self.durability == Synchronous::Full => true,
            Urgency::Normal => true,
            Urgency::Receipt => self.durability != Synchronous::Off,
            Urgency::Background => false,
        };
        // Both statements in one message.
        let begin = if durable {
            "BEGIN; SET LOCAL synchronous_commit = on"
        } else {
            "BEGIN; SET LOCAL synchronous_commit = off"
        };
        let limit = match job.patience {
            Patience::OfACaller => PATIENCE,
            Patience::ToTheEnd => self.to_the_end,
        };
        let mut conn = Conn::Postgres(self.begin(begin).await?);
        // When time runs out the connection goes, and with it the transaction, unless it was being committed.
        let outcome = timeout(limit, transact(job, &mut conn)).await.map_err(|_| too_slow())?;
        let Conn::Postgres(connection) = conn else {
            return Err(Error::internal("the database failed", "a job took its connection away"));
        };
        connection.settle(&outcome);
        outcome
    }

    /// A connection with a transaction. One that has died in the pool is replaced: nothing has happened on it.
    async fn begin(&self, begin: &'static str) -> Result<PostgresConn> {
        let mut died = false;
        loop {
            let mut connection = self.pool.acquire().await?;
            let answer = timeout(PATIENCE, connection.execute(sqlx::raw_sql(begin))).await;
            match answer.map_err(|_| too_slow())?.map_err(Error::from) {
                Ok(_) => return Ok(connection),
                Err(error) if !died && is_broken(&error) => {
                    died = true;
                    self.pool.distrust();
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Runs `job` in the transaction of `conn` and ends that. The answer says what happened; if the connection broke in
/// the middle of COMMIT, nobody knows.
async fn transact(job: &mut Job, conn: &mut Conn) -> Result<()> {
    let outcome = job.run(conn).await;
    let Conn::Postgres(connection) = conn else { return outcome };
    match outcome {
        Ok(()) => Ok(connection.execute(sqlx::raw_sql("COMMIT")).await.map(drop)?),
        Err(error) if is_broken(&error) => Err(error),
        Err(error) => {
            connection.execute(sqlx::raw_sql("ROLLBACK")).await?;
            Err(error)
        }
    }
}
