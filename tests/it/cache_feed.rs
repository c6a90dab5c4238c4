//! What other programs change in the database is seen through the API within a second.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cifra::config::{Config, L2Backend};
use cifra::db::DatabaseUrl;
use reqwest::Method;
use serde_json::{Value, json};

use crate::db::by_hand;
use crate::harness::databases::{TestDb, both_engines};
use crate::harness::process::{Server, until};
use crate::harness::{TestApp, config, redis};

const CONTACT: &str = "entities:\n  Contact: { table: contacts, tenant_column: tenant, ttl: 1h }\n";
/// Nobody is answered with what others changed longer ago.
const BOUND: Duration = Duration::from_secs(1);

/// `cifra cache …` on the test's database.
fn cifra(test: &TestDb, arguments: &[&str]) -> Output {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), CONTACT).unwrap();
    let url = match &test.url {
        DatabaseUrl::Sqlite(file) => format!("sqlite://{}", file.display()),
        DatabaseUrl::Postgres(url) => url.clone(),
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_cifra"));
    command.args(arguments).arg("--config").arg(file.path()).env_clear().env("DATABASE_URL", url);
    command.output().unwrap()
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

async fn service(test: &TestDb) -> TestApp {
    node(test, "local").await
}

/// One of several, with a store of its own.
async fn node(test: &TestDb, name: &str) -> TestApp {
    node_with(test, name, |_| {}).await
}

async fn node_with(test: &TestDb, name: &str, change: impl FnOnce(&mut Config)) -> TestApp {
    let store = config::loaded(&format!("file_upload: {{ storage: {{ name: {name} }} }}"));
    let app = TestApp::builder().with(|config| {
        config.file_upload.storage.name = store.file_upload.storage.name;
        config.database.url = test.url.clone();
        config.database.max_connections = 4;
        config.entities = config::loaded(CONTACT).entities;
        change(config);
    });
    Box::pin(app.start()).await
}

/// Asks until the answer is `expected`; all other answers were asked for within [`BOUND`] of now, or say that they are
/// older: on a machine that is too busy for the database to answer in time.
async fn is_soon(app: &TestApp, path: &str, expected: impl Fn(&Value) -> bool) {
    let since = Instant::now();
    loop {
        let asked = since.elapsed();
        let answer = app.get(path).await;
        let source = answer.find("x-cache").unwrap_or("nothing").to_owned();
        let answer = if answer.status == 200 { answer.json() } else { Value::Null };
        if expected(&answer) {
            return;
        }
        let in_time = asked < BOUND || (source == "STALE" && asked < 10 * BOUND);
        assert!(in_time, "{asked:?} after it was changed {path} answers from {source}: {answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_another_program_changes_is_seen_within_a_second() {
    for test in both_engines().await {
        by_hand(&test, "CREATE TABLE contacts (id BIGINT PRIMARY KEY, tenant TEXT, name TEXT)");
        by_hand(&test, "INSERT INTO contacts VALUES (1, 'default', 'Ann')");
        let said = done(&cifra(&test, &["cache", "watch", "Contact"]));
        assert!(said.contains("contacts") && said.contains("Contact"), "{said}");
        let app = service(&test).await;
        let (path, list) = ("/api/entities/Contact/1", "/api/entities/Contact?name=Bob");
        for _ in 0..3 {
            for _ in 0..3 {
                app.get(path).await.expect(200);
                app.get(list).await.expect(200);
            }
            by_hand(&test, "UPDATE contacts SET name = 'Bob'");
            is_soon(&app, list, |answer| answer["items"][0]["name"] == "Bob").await;
            is_soon(&app, path, |answer| answer["name"] == "Bob").await;
            by_hand(&test, "DELETE FROM contacts");
            is_soon(&app, path, Value::is_null).await;
            by_hand(&test, "INSERT INTO contacts VALUES (1, 'default', 'Ann')");
            is_soon(&app, path, |answer| answer["name"] == "Ann").await;
            is_soon(&app, list, |answer| answer["items"] == serde_json::json!([])).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_program_changes_is_seen_within_a_second() {
    for test in both_engines().await {
        by_hand(&test, "CREATE TABLE contacts (id BIGINT PRIMARY KEY, tenant TEXT)");
        let app = service(&test).await;
        let made =
            app.send(Method::POST, "/api/files?filename=a.txt", &[("content-type", "text/plain")], "bytes");
        let made = made.await.expect(201).json();
        let path = format!("/api/files/{}", made["id"].as_str().unwrap());
        for _ in 0..3 {
            app.get(&path).await.expect(200);
        }
        by_hand(&test, "UPDATE cifra_files SET filename = 'b.txt', version = version + 1");
        is_soon(&app, &path, |answer| answer["filename"] == "b.txt").await;
        by_hand(&test, "DELETE FROM cifra_file_metadata");
        by_hand(&test, "DELETE FROM cifra_files");
        is_soon(&app, &path, Value::is_null).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_switched_or_made_a_miss_at_one_node_is_so_at_the_others_within_a_second() {
    let test = TestDb::postgres().await;
    by_hand(&test, "CREATE TABLE contacts (id BIGINT PRIMARY KEY, tenant TEXT, name TEXT)");
    by_hand(&test, "INSERT INTO contacts VALUES (1, 'default', 'Ann')");
    let (here, there) = tokio::join!(node(&test, "a"), node(&test, "b"));
    let path = "/api/entities/Contact/1";
    let source = async || there.get(path).await.expect(200).header("x-cache").to_owned();
    let kept = async || until("kept", async || (source().await == "L1").then_some(())).await;
    kept().await;

    // Nobody watches the table: only what is told counts.
    for (body, name) in [
        (json!({ "entity": "Contact", "id": "1" }), "Bob"),
        (json!({ "pattern": "cifra:default:Contact:1:*" }), "Cid"),
        (json!({ "tenant": "default" }), "Dan"),
    ] {
        by_hand(&test, &format!("UPDATE contacts SET name = '{name}'"));
        kept().await;
        here.post("/api/cache/invalidate", &body).await.expect(200);
        is_soon(&there, path, |answer| answer["name"] == name).await;
    }
    for (enabled, is) in [(false, "BYPASS"), (true, "L1")] {
        here.post("/api/cache/toggle-global", &json!({ "enabled": enabled })).await.expect(200);
        let since = Instant::now();
        until("switched", async || (source().await == is).then_some(())).await;
        assert!(since.elapsed() < 3 * BOUND, "{:?}", since.elapsed()); // reading it anew, on a busy machine, included
    }
}

/// A load that began before it, on a node that has not heard of it yet, may end after the search and put into Redis what
/// it has read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_removed_by_pattern_is_not_put_back_by_a_node_that_was_reading_it() {
    let test = TestDb::postgres().await;
    by_hand(
        &test,
        "CREATE TABLE contacts (id BIGINT PRIMARY KEY, tenant TEXT, name TEXT);
         INSERT INTO contacts VALUES (1, 'default', 'old');
         CREATE VIEW slow AS
             SELECT id, name, CAST(pg_sleep(0.2) AS TEXT) AS slept FROM contacts WHERE id = 1",
    );
    let shared = |config: &mut Config| {
        config.redis = redis::server().config();
        config.cache.l2.backend = L2Backend::Redis;
        let slow = "entities:\n  Slow: { table: slow, key: id, shared: true, ttl: 1h }\n";
        config.entities = config::loaded(slow).entities;
    };
    let (here, there) = tokio::join!(node_with(&test, "a", shared), node_with(&test, "b", shared));
    let path = "/api/entities/Slow/1";
    for round in 0..5 {
        let (old, new) = (format!("old {round}"), format!("new {round}"));
        by_hand(&test, &format!("UPDATE contacts SET name = '{old}'"));
        here.post("/api/cache/clear", &json!({})).await.expect(200);
        is_soon(&there, path, |answer| answer["name"] == old).await;
        here.post("/api/cache/clear", &json!({})).await.expect(200);
        let reading = there.get(path);
        let meanwhile = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            by_hand(&test, &format!("UPDATE contacts SET name = '{new}'"));
            let pattern = json!({ "pattern": "cifra:*:Slow:*" });
            here.post("/api/cache/invalidate", &pattern).await.expect(200);
        };
        tokio::join!(reading, meanwhile);
        for node in [&here, &there] {
            is_soon(node, path, |answer| answer["name"] == new).await;
        }
        // And so it stays.
        tokio::time::sleep(BOUND).await;
        for node in [&here, &there] {
            assert_eq!(node.get(path).await.json()["name"], new, "{round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_before_changes_were_told_not_to_count_still_counts() {
    let test = TestDb::sqlite().await;
    by_hand(&test, "CREATE TABLE contacts (id BIGINT PRIMARY KEY, tenant TEXT, name TEXT)");
    by_hand(&test, "INSERT INTO contacts VALUES (1, 'default', 'Ann')");
    done(&cifra(&test, &["cache", "watch", "Contact"]));
    let (app, path) = (service(&test).await, "/api/entities/Contact/1");
    for name in ["Bob", "Cid", "Dan"] {
        let switch = async |on| {
            app.post("/api/cache/toggle-auto-invalidate", &json!({ "enabled": on })).await.expect(200);
        };
        until("kept", async || (app.get(path).await.header("x-cache") == "L1").then_some(())).await;
        by_hand(&test, &format!("UPDATE contacts SET name = '{name}'"));
        switch(false).await;
        is_soon(&app, path, |answer| answer["name"] == name).await;
        switch(true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_entity_was_watched_by_another_key_says_so_when_it_starts() {
    let mut server = Server::new();
    let file = server.beside("cifra.yaml");
    let configured = |key: &str| {
        std::fs::write(
            &file,
            format!("entities: {{ Contact: {{ table: contacts, key: {key}, shared: true }} }}\n"),
        )
    };
    configured("id").unwrap();
    std::fs::create_dir_all(server.data()).unwrap();
    let sqlite = Command::new("sqlite3")
        .arg(server.database())
        .arg("CREATE TABLE contacts (id BIGINT PRIMARY KEY, number BIGINT NOT NULL UNIQUE)")
        .status();
    assert!(sqlite.unwrap().success());
    let mut watch = Command::new(env!("CARGO_BIN_EXE_cifra"));
    watch.args(["cache", "watch", "Contact", "--config"]).arg(&file);
    watch.env_clear().env("CIFRA__SERVER__DATA_DIR", server.data());
    done(&watch.output().unwrap());
    for (key, outdated) in [("id", false), ("number", true)] {
        configured(key).unwrap();
        server.begin(None).await;
        let log = server.log();
        assert_eq!(log.contains("say `cifra cache watch Contact` again"), outdated, "{key}: {log}");
        server.stop().await;
    }
    std::fs::write(&file, "entities: { Customer: { table: contacts, key: id, shared: true } }\n").unwrap();
    server.begin(None).await;
    let log = server.log();
    assert!(log.contains("say `cifra cache unwatch Contact`"), "{log}");
    server.stop().await;
}

#[tokio::test]
async fn watching_needs_an_entity_that_is_configured_and_fits() {
    let test = TestDb::sqlite().await;
    let said = |output: Output| (output.status.code(), String::from_utf8(output.stderr).unwrap());
    let (code, told) = said(cifra(&test, &["cache", "watch", "Deal"]));
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("Deal") && told.contains("Contact"), "{told}");
    let (code, told) = said(cifra(&test, &["cache", "watch", "File"]));
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("built in"), "{told}");
    let (code, told) = said(cifra(&test, &["cache", "watch", "Contact"]));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("entities.Contact.table") && told.contains("contacts"), "{told}");

    by_hand(&test, "CREATE TABLE contacts (id BIGINT PRIMARY KEY, tenant TEXT)");
    let shown = done(&cifra(&test, &["cache", "watch", "Contact", "--json"]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["entity"], &shown["table"]), (&"Contact".into(), &"\"contacts\"".into()), "{shown}");
    for name in ["Contact", "Contact", "Deal"] {
        done(&cifra(&test, &["cache", "unwatch", name]));
    }
    by_hand(&test, "INSERT INTO contacts VALUES (1, 'default')");
}
