//! A fresh, migrated database on each engine.

use std::path::PathBuf;
use std::time::Duration;

use cifra::db::{DatabaseUrl, Db, DbOptions, Synchronous};
use cifra::telemetry::Tasks;

use super::postgres;

/// A database of one test.
#[derive(Debug)]
pub(crate) struct TestDb {
    /// Its name, for messages.
    pub(crate) engine: &'static str,
    pub(crate) db: Db,
    pub(crate) url: DatabaseUrl,
    pub(crate) tasks: Tasks,
    folder: Option<tempfile::TempDir>,
}

impl TestDb {
    /// On SQLite.
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::Sqlite(folder.path().join("cifra.db"));
        Self::open("SQLite", url, Some(folder)).await
    }

    /// On PostgreSQL.
    pub(crate) async fn postgres() -> Self {
        Self::postgres_on(postgres::server()).await
    }

    /// On a PostgreSQL server of its own.
    pub(crate) async fn postgres_on(server: &postgres::PostgresServer) -> Self {
        let url = DatabaseUrl::Postgres(server.new_database().await);
        Self::open("PostgreSQL", url, None).await
    }

    async fn open(engine: &'static str, url: DatabaseUrl, folder: Option<tempfile::TempDir>) -> Self {
        let tasks = Tasks::default();
        let db = Db::connect(&url, &options(), &tasks).await.expect("a database");
        db.migrate().await.expect("migrations");
        Self { engine, db, url, tasks, folder }
    }

    /// The SQLite file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.as_ref().expect("a SQLite database").path().join("cifra.db")
    }
}

/// One of each.
pub(crate) async fn both_engines() -> [TestDb; 2] {
    [TestDb::sqlite().await, TestDb::postgres().await]
}

/// As tests open databases.
pub(crate) fn options() -> DbOptions {
    DbOptions {
        max_connections: 8,
        slow_query: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(30),
        lock_timeout: Duration::from_secs(10),
        durability: Synchronous::Normal,
    }
}
