//! What a [`super::TestApp`] stands on: the variable `CIFRA_TEST_STACK` says it, for the whole run of tests.
//!
//! Every test of the HTTP suites runs unchanged on each stack; `scripts/stacks.sh` knows which suites these are, and
//! why the others stay on the default. Each app has a database of its own.

use cifra::config::{Backend, Config, DatabaseUrl, Environment};

use super::{azurite, garage, postgres, redis};

/// Database, Redis or not, and store: `sqlite-local` (the default), `pg-redis-s3` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stack {
    /// PostgreSQL in the place of SQLite.
    postgres: bool,
    /// Sessions meet in Redis.
    redis: bool,
    store: Backend,
}

impl Stack {
    /// The one of this run.
    pub(crate) fn of_this_run() -> Self {
        let environment = Environment::of_process();
        let name = environment.get("CIFRA_TEST_STACK").unwrap_or("sqlite-local");
        Self::parse(name).unwrap_or_else(|| panic!("CIFRA_TEST_STACK={name}: there is no such stack"))
    }

    fn parse(name: &str) -> Option<Self> {
        let (database, rest) = name.split_once('-')?;
        let postgres = match database {
            "pg" => true,
            "sqlite" => false,
            _ => return None,
        };
        let (redis, store) = rest.strip_prefix("redis-").map_or((false, rest), |store| (true, store));
        let store = match store {
            "local" => Backend::Local,
            // Parts as S3 and Azure have them, without a server.
            "memory" => Backend::Memory,
            "s3" => Backend::S3,
            "azure" => Backend::Azure,
            _ => return None,
        };
        Some(Self { postgres, redis, store })
    }

    /// Makes what an app on this stack needs, unless its test has chosen a database itself.
    pub(crate) async fn prepare(self, config: &mut Config) {
        let chosen = config.database.url != DatabaseUrl::Sqlite(config.server.data_dir.join("cifra.db"));
        match self.store {
            Backend::Local => {}
            Backend::S3 => config.file_upload.storage = garage::server().storage(),
            Backend::Azure => config.file_upload.storage = azurite::server().storage(),
            other => config.file_upload.storage.backend = other,
        }
        if self.redis && config.redis.url.is_none() {
            // Its keys carry the id of the database, of which each app has its own.
            config.redis =
                super::config::loaded(&format!("redis: {{ url: '{}' }}", redis::server().url())).redis;
        }
        if self.postgres && !chosen {
            config.database.url = DatabaseUrl::Postgres(postgres::server().new_service_database().await);
            // A server of tests has fewer connections than there are apps at once.
            config.database.max_connections = 4;
        }
    }
}
