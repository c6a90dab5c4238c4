//! What a [`super::TestApp`] stands on: the variable `CIFRA_TEST_STACK` says it, for the whole run of tests.
//!
//! Every test of the HTTP suites runs unchanged on each stack; `scripts/stacks.sh` knows which suites these are, and
//! why the others stay on the default. Each app has a database of its own.

use cifra::config::{Backend, Config, DatabaseUrl, Environment};

use super::{azurite, garage, postgres, redis};

/// Database, Redis or not, and store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stack {
    /// The embedded default.
    SqliteLocal,
    /// PostgreSQL beside a local store.
    PgLocal,
    /// The same with Redis, where sessions meet.
    PgRedisLocal,
    /// What many nodes share: PostgreSQL, Redis and S3.
    PgRedisS3,
    /// PostgreSQL beside Azure's blobs.
    PgAzure,
    /// SQLite and Redis beside S3.
    SqliteRedisS3,
    /// SQLite beside an object store in memory: parts as S3 and Azure have them, without a server.
    SqliteMemory,
}

impl Stack {
    /// The one of this run.
    pub(crate) fn of_this_run() -> Self {
        match Environment::of_process().get("CIFRA_TEST_STACK") {
            None | Some("sqlite-local") => Self::SqliteLocal,
            Some("pg-local") => Self::PgLocal,
            Some("pg-redis-local") => Self::PgRedisLocal,
            Some("pg-redis-s3") => Self::PgRedisS3,
            Some("pg-azure") => Self::PgAzure,
            Some("sqlite-redis-s3") => Self::SqliteRedisS3,
            Some("sqlite-memory") => Self::SqliteMemory,
            Some(other) => panic!("CIFRA_TEST_STACK={other}: there is no such stack"),
        }
    }

    /// Makes what an app on this stack needs, unless its test has chosen a database itself.
    pub(crate) async fn prepare(self, config: &mut Config) {
        let chosen = config.database.url != DatabaseUrl::Sqlite(config.server.data_dir.join("cifra.db"));
        match self {
            Self::SqliteLocal | Self::PgLocal | Self::PgRedisLocal => {}
            Self::PgRedisS3 | Self::SqliteRedisS3 => config.file_upload.storage = garage::server().storage(),
            Self::PgAzure => config.file_upload.storage = azurite::server().storage(),
            Self::SqliteMemory => config.file_upload.storage.backend = Backend::Memory,
        }
        let with_redis = matches!(self, Self::PgRedisLocal | Self::PgRedisS3 | Self::SqliteRedisS3);
        if with_redis && config.redis.url.is_none() {
            // Its keys carry the id of the database, of which each app has its own.
            config.redis =
                super::config::loaded(&format!("redis: {{ url: '{}' }}", redis::server().url())).redis;
        }
        let with_postgres =
            matches!(self, Self::PgLocal | Self::PgRedisLocal | Self::PgRedisS3 | Self::PgAzure);
        if with_postgres && !chosen {
            config.database.url = DatabaseUrl::Postgres(postgres::server().new_service_database().await);
            // A server of tests has fewer connections than there are apps at once.
            config.database.max_connections = 4;
        }
    }
}
