//! `/api/entities`: tables of one's own, on both engines: what is answered, to whom, and what is refused at start.

mod built_in;
mod changes;
mod kept;
mod lists;
mod refused;
mod rights;
mod values;

use cifra::config::{Config, L2Backend};
use cifra::db::DatabaseUrl;
use serde_json::Value;

use crate::harness::databases::{TestDb, both_engines};
use crate::harness::rows::Rows;
use crate::harness::{TestApp, config};

/// Every kind of column that both engines have.
const CONTACTS: &str = "
    CREATE TABLE contacts (
        id BIGINT PRIMARY KEY,
        tenant TEXT NOT NULL,
        name TEXT,
        stage VARCHAR(20),
        age INTEGER,
        points BIGINT,
        score DOUBLE PRECISION,
        price NUMERIC(10, 2),
        active BOOLEAN,
        made_at TIMESTAMP WITH TIME ZONE,
        local_at TIMESTAMP,
        born DATE,
        wakes TIME,
        tags JSON,
        code UUID,
        picture BYTEA,
        \"limit\" INTEGER,
        secret TEXT
    )
";

/// The table as an entity, its rows by tenant.
const CONTACT: &str =
    "Contact: { table: contacts, tenant_column: tenant, date_column: made_at, hidden: [secret] }";

/// A database of one engine with tables in it, and a service on it.
struct Shop {
    engine: &'static str,
    rows: Rows,
    app: TestApp,
    db: TestDb,
}

impl Shop {
    /// One on each engine, after these statements; `entities` are lines of YAML below `entities:`. Nothing is kept by the
    /// cache: what these tests see is in the tables.
    async fn both(statements: &[&str], entities: &[&str]) -> [Self; 2] {
        let [sqlite, postgres] = both_engines().await;
        let uncached = |config: &mut Config| config.cache.enabled = false;
        [
            Self::on(sqlite, statements, entities, uncached).await,
            Self::on(postgres, statements, entities, uncached).await,
        ]
    }

    /// The same, with the cache in memory.
    async fn both_cached(statements: &[&str], entities: &[&str]) -> [Self; 2] {
        let [sqlite, postgres] = both_engines().await;
        let in_memory = |config: &mut Config| config.cache.l2.backend = L2Backend::None;
        [
            Self::on(sqlite, statements, entities, in_memory).await,
            Self::on(postgres, statements, entities, in_memory).await,
        ]
    }

    async fn on(
        db: TestDb,
        statements: &[&str],
        entities: &[&str],
        cached: impl FnOnce(&mut Config),
    ) -> Self {
        let rows = rows_of(&db);
        for statement in statements {
            rows.change(&dialect(&rows, statement)).await;
        }
        let configured = configured(entities);
        let app = TestApp::builder().keys().with(|config| {
            config.database.url = db.url.clone();
            config.database.max_connections = 4;
            config.entities = configured;
            cached(config);
        });
        Self { engine: db.engine, rows, app: Box::pin(app.start()).await, db }
    }

    async fn get(&self, path: &str) -> Value {
        self.app.get(path).await.expect(200).json()
    }

    /// The keys of what a list answers.
    async fn ids(&self, path: &str) -> Vec<String> {
        let page = self.get(path).await;
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// As YAML has them, a line each.
fn configured(entities: &[&str]) -> Vec<cifra::config::Entity> {
    let lines: Vec<String> = entities.iter().map(|line| format!("  {line}\n")).collect();
    config::loaded(&format!("entities:\n{}", lines.concat())).entities
}

fn rows_of(db: &TestDb) -> Rows {
    match &db.url {
        DatabaseUrl::Sqlite(file) => Rows::Sqlite(file.clone()),
        DatabaseUrl::Postgres(url) => Rows::Postgres(url.clone()),
    }
}

/// Bytes are the one thing that the engines write differently: here `BYTES(01ff)`.
fn dialect(rows: &Rows, statement: &str) -> String {
    let (before, after) = match rows {
        Rows::Sqlite(_) => ("x'", "'"),
        Rows::Postgres(_) => ("decode('", "', 'hex')"),
    };
    let mut parts = statement.split("BYTES(");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (bytes, rest) = part.split_once(')').unwrap();
        text.extend([before, bytes, after, rest]);
    }
    text
}
