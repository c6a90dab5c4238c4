//! Looks at a SQLite database that may be in use: for reading only, without migrating, writing or locking it.
//! Called by the doctor.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::conn::{Conn, on};
use super::{migrations, usage};
use crate::base::{Error, Result, TenantId};

/// For whoever has a damaged database.
pub const DAMAGE_ADVICE: &str = "stop cifra and restore a backup, or move the file away and save what can be read with \
                                 `sqlite3 cifra.db .recover | sqlite3 new.db`";

/// A connection that reads.
#[derive(Debug)]
pub struct Inspector(Conn);

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

    /// The first damage that is found in the pages, if any. Reads all of them.
    pub async fn damage(&mut self) -> Result<Option<String>> {
        let c = &mut self.0;
        let found: String =
            on!(c, c => sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *c).await)?;
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
        match &mut self.0 {
            Conn::Sqlite(c) => {
                let count: i64 = sqlx::query_scalar(HAS).bind(table).fetch_one(&mut **c).await?;
                Ok(count > 0)
            }
            Conn::Postgres(_) => Err(Error::internal("the database failed", "only SQLite is inspected")),
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
