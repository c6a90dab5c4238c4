//! Tables that change while the service runs.

use std::sync::Arc;
use std::time::Duration;

use cifra::base::{Clock, ManualClock, SystemClock};
use serde_json::Value;

use super::{configured, rows_of};
use crate::harness::TestApp;
use crate::harness::databases::both_engines;

const THINGS: &str = "Thing: { table: things, shared: true, hidden: [secret] }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_is_gone_is_not_missed_unless_the_configuration_names_it() {
    for db in both_engines().await {
        let rows = rows_of(&db);
        rows.change("CREATE TABLE things (id INTEGER PRIMARY KEY, a TEXT, b TEXT, secret TEXT)").await;
        rows.change("INSERT INTO things VALUES (1, 'a', 'b', 'hush')").await;
        let clock = Arc::new(ManualClock::at(SystemClock::default().now()));
        let app = TestApp::builder().clock(&clock).with(|config| {
            config.database.url = db.url.clone();
            config.database.max_connections = 4;
            config.cache.enabled = false;
            config.entities = configured(&[THINGS]);
        });
        let app = Box::pin(app.start()).await;
        let thing = async || app.get("/api/entities/Thing/1").await.expect(200).text();
        assert_eq!(thing().await, r#"{"id":1,"a":"a","b":"b"}"#);

        // At once: a statement would name it.
        rows.change("ALTER TABLE things DROP COLUMN b").await;
        assert_eq!(thing().await, r#"{"id":1,"a":"a"}"#);
        let list = app.get("/api/entities/Thing").await.expect(200).json();
        assert_eq!(list["items"][0]["a"], "a", "{}", db.engine);
        app.get("/api/entities/Thing?b=b").await.problem(400, "invalid-request");

        // Soon: nothing fails without it.
        rows.change("ALTER TABLE things ADD COLUMN c INTEGER").await;
        assert_eq!(thing().await, r#"{"id":1,"a":"a"}"#);
        clock.advance(Duration::from_secs(31));
        let seen = async || {
            let all: Value = serde_json::from_str(&thing().await).unwrap();
            all.get("c") == Some(&Value::Null)
        };
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !seen().await {
            assert!(std::time::Instant::now() < deadline, "the new column was not seen on {}", db.engine);
            tokio::task::yield_now().await;
        }

        // Under another name it would not be hidden any more.
        rows.change("ALTER TABLE things RENAME COLUMN secret TO open_secret").await;
        rows.change("ALTER TABLE things DROP COLUMN c").await;
        for path in ["/api/entities/Thing/1", "/api/entities/Thing"] {
            let problem = app.get(path).await.problem(503, "unavailable");
            assert!(!problem.to_string().contains("secret"), "{problem}");
        }
        rows.change("ALTER TABLE things RENAME COLUMN open_secret TO secret").await;
        clock.advance(Duration::from_secs(2));
        assert_eq!(thing().await, r#"{"id":1,"a":"a"}"#, "it fits again");

        rows.change("DROP TABLE things").await;
        app.get("/api/entities/Thing/1").await.problem(503, "unavailable");
    }
}
