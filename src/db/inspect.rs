//! Looks at a database that may be in use: for reading only, without migrating, writing or locking it.
//! Called by the doctor.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::conn::{Conn, on};
use super::postgres::{Pool, connect_options};
use super::{DbOptions, migrations, usage};
use crate::base::{Result, TenantId, Timestamp};

/// For whoever has a damaged database.
pub const DAMAGE_ADVICE: &str = "stop cifra and restore a backup, or move the file away and save what can be read with \
                                 `sqlite3 cifra.db .recover | sqlite3 new.db`";

/// A connection that reads.
#[derive(Debug)]
pub struct Inspector(Conn);

/// What a `PostgreSQL` server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Server {
    /// Such as 150004.
    pub version_number: i64,
    /// Such as `15.4`.
    pub version: String,
    /// The database's, such as `UTF8`.
    pub encoding: String,
    /// How many may be connected at once, besides superusers.
    pub connections_max: i64,
    /// How many are connected that are not ours.
    pub connections_of_others: i64,
    /// It is no replica, and we may make tables.
    pub may_write: bool,
    /// The limits that we set when we connected have arrived.
    pub has_our_settings: bool,
    /// Its clock.
    pub now: Timestamp,
}

/// How the schema's history differs from this program's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    /// Migrations that are not applied yet.
    pub missing: Vec<i64>,
    /// Applied ones that this version does not know.
    pub unknown: Vec<i64>,
}

impl Inspector {
    /// Opens `file`, which must be there.
    pub async fn open(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .read_only(true)
            .busy_timeout(Duration::from_secs(3))
            .disable_statement_logging();
        Ok(Self(Conn::Sqlite(Box::new(options.connect().await?))))
    }

    /// Connects to a `PostgreSQL` server, as the service would.
    pub async fn connect(url: &str, options: &DbOptions) -> Result<Self> {
        let pool = Pool::new(connect_options(url, options)?.disable_statement_logging(), 1);
        Ok(Self(Conn::Postgres(pool.acquire().await?)))
    }

    /// What the server says of itself; `None` for a file.
    pub async fn server(&mut self) -> Result<Option<Server>> {
        const SERVER: &str = "
            SELECT CAST(current_setting('server_version_num') AS BIGINT) AS version_number,
                current_setting('server_version') AS version,
                (SELECT CAST(pg_encoding_to_char(encoding) AS TEXT) FROM pg_database WHERE datname = current_database())
                    AS encoding,
                CAST(current_setting('max_connections') AS BIGINT)
                    - CAST(current_setting('superuser_reserved_connections') AS BIGINT) AS connections_max,
                (SELECT COUNT(*)
                FROM pg_stat_activity
                WHERE backend_type = 'client backend'
                  AND application_name <> 'cifra') AS connections_of_others,
                NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off'
                    AND has_schema_privilege(current_schema(), 'CREATE') AS may_write,
                current_setting('statement_timeout') <> '0' AS has_our_settings,
                CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS now
        ";
        let Conn::Postgres(c) = &mut self.0 else { return Ok(None) };
        Ok(Some(sqlx::query_as(SERVER).fetch_one(&mut **c).await?))
    }

    /// Compares the migrations.
    pub async fn steps(&mut self) -> Result<Steps> {
        const APPLIED: &str = "SELECT version FROM cifra_migrations ORDER BY version";
        let applied: Vec<i64> = if self.has("cifra_migrations").await? {
            let c = &mut self.0;
            on!(c, c => sqlx::query_scalar(APPLIED).fetch_all(&mut *c).await)?
        } else {
            Vec::new()
        };
        let known: Vec<i64> = migrations::numbers().collect();
        let without = |all: &[i64], others: &[i64]| {
            all.iter().copied().filter(|number| !others.contains(number)).collect::<Vec<_>>()
        };
        Ok(Steps { missing: without(&known, &applied), unknown: without(&applied, &known) })
    }

    /// The first damage that is found in the pages of a file, if any. Reads all of them.
    pub async fn damage(&mut self) -> Result<Option<String>> {
        let Conn::Sqlite(c) = &mut self.0 else { return Ok(None) };
        let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut **c).await?;
        Ok((found != "ok").then_some(found))
    }

    /// Tenants whose usage is counted wrong; `None` if nothing is counted yet.
    pub async fn wrong_usage(&mut self) -> Result<Option<Vec<TenantId>>> {
        if !self.has("cifra_tenant_usage").await? {
            return Ok(None);
        }
        usage::wrong(&mut self.0).await.map(Some)
    }

    async fn has(&mut self, table: &str) -> Result<bool> {
        const HAS: &str = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = $1";
        const HAS_ON_POSTGRES: &str = "SELECT to_regclass($1) IS NOT NULL";
        match &mut self.0 {
            Conn::Sqlite(c) => {
                let count: i64 = sqlx::query_scalar(HAS).bind(table).fetch_one(&mut **c).await?;
                Ok(count > 0)
            }
            Conn::Postgres(c) => {
                Ok(sqlx::query_scalar(HAS_ON_POSTGRES).bind(table).fetch_one(&mut **c).await?)
            }
        }
    }

    /// Lets go of the file.
    pub async fn close(self) {
        if let Conn::Sqlite(connection) = self.0 {
            // It was only read: there is nothing to lose.
            drop(SqliteConnection::close(*connection).await);
        }
    }
}
