//! What stands in a service's database, read and changed past the service, on either engine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// Tenants whose usage is not what their rows add up to: after a kill at any moment there are none.
pub(crate) const COUNTED_WRONG: &str = "
    SELECT COUNT(*) FROM cifra_tenant_usage AS usage
    WHERE stored_bytes <> (SELECT COALESCE(SUM(size), 0) FROM cifra_files WHERE tenant_id = usage.tenant_id)
       OR (reserved_bytes, open_uploads) <> (
           SELECT COALESCE(SUM(total_size), 0), COUNT(*) FROM cifra_uploads
           WHERE tenant_id = usage.tenant_id AND state IN ('receiving', 'finalizing', 'sealed'))";

/// Does something on a connection to either engine.
macro_rules! on {
    ($rows:expr, $c:ident => $work:expr) => {
        match $rows {
            Self::Sqlite(file) => {
                let mut $c = sqlite(file).await;
                let done = $work;
                $c.close().await.unwrap();
                done
            }
            Self::Postgres(url) => {
                let mut $c = PgConnection::connect(url).await.unwrap();
                let done = $work;
                $c.close().await.unwrap();
                done
            }
        }
    };
}

/// A database.
#[derive(Debug, Clone)]
pub(crate) enum Rows {
    /// The file.
    Sqlite(PathBuf),
    /// The URL.
    Postgres(String),
}

impl Rows {
    /// The database at this URL; where there is none, the file.
    pub(crate) fn at(url: Option<&str>, file: &Path) -> Self {
        match url {
            Some(url) if url.starts_with("postgres") => Self::Postgres(url.to_owned()),
            Some(url) => Self::Sqlite(url.trim_start_matches("sqlite://").into()),
            None => Self::Sqlite(file.to_owned()),
        }
    }

    /// Changes something; how many rows that met.
    pub(crate) async fn change(&self, text: &str) -> u64 {
        on!(self, c => sqlx::query(AssertSqlSafe(text.to_owned())).execute(&mut c).await.unwrap().rows_affected())
    }

    /// One number.
    pub(crate) async fn count(&self, text: &str) -> i64 {
        on!(self, c => sqlx::query_scalar(AssertSqlSafe(text.to_owned())).fetch_one(&mut c).await.unwrap())
    }

    /// Ids.
    pub(crate) async fn ids(&self, text: &str) -> Vec<String> {
        let ids: Vec<uuid::Uuid> = on!(self, c => sqlx::query_scalar(AssertSqlSafe(text.to_owned())).fetch_all(&mut c).await.unwrap());
        ids.iter().map(ToString::to_string).collect()
    }

    /// Texts.
    pub(crate) async fn texts(&self, text: &str) -> Vec<String> {
        on!(self, c => sqlx::query_scalar(AssertSqlSafe(text.to_owned())).fetch_all(&mut c).await.unwrap())
    }
}

async fn sqlite(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file);
    options.busy_timeout(Duration::from_secs(10)).connect().await.unwrap()
}
