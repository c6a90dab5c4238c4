//! Who reads through the cache: files, lists, thumbnails, tenants. What is changed here shows at once; what was likely to be
//! asked for is there before anybody asks; what is kept outlives the database.

use std::time::{Duration, Instant};

use axum::http::Method;
use cifra::config::DatabaseUrl;
use serde_json::{Value, json};

use crate::harness::pictures::jpeg;
use crate::harness::postgres::PostgresServer;
use crate::harness::process::{Server, until};
use crate::harness::{Answer, OPERATOR, TestApp, bytes};

/// Asks until the answer comes from memory: at the second time, or when the feed has told this node too of what it did.
async fn kept(app: &TestApp, path: &str) -> Answer {
    let again = until("kept", async || {
        let answer = app.get(path).await.expect(200);
        (answer.header("x-cache") == "L1").then_some(answer)
    })
    .await;
    assert!(again.header("server-timing").starts_with("cache;desc=\"L1\";dur="), "{path}");
    again
}

async fn rename(app: &TestApp, path: &str, name: &str) -> Answer {
    let json = [("content-type", "application/json")];
    app.send(Method::PATCH, path, &json, json!({ "filename": name }).to_string()).await
}

/// What was kept does not count any more.
async fn read_anew(app: &TestApp, path: &str) -> Value {
    let answer = app.get(path).await.expect(200);
    assert_eq!(answer.header("x-cache"), "DB", "{path}");
    answer.json()
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["filename"].as_str().unwrap()).collect()
}

const BY_NAME: &str = "/api/files?sort=filename";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_changes_a_file_sees_it_at_once() {
    let app = TestApp::start().await;
    let file = app.file(bytes(100)).await;
    let (path, content) = (file.file_path(), file.content_path());
    for path in [path.as_str(), content.as_str(), BY_NAME, "/api/files?limit=1", "/api/entities/File"] {
        kept(&app, path).await;
    }
    // By the same row, whatever it was asked for first.
    assert_eq!(app.get(&format!("/api/entities/File/{}", file.id)).await.header("x-cache"), "L1");

    let renamed = rename(&app, &path, "b.txt").await.expect(200);
    let record = app.get(&path).await.expect(200);
    assert_eq!((record.header("x-cache"), record.header("etag")), ("DB", renamed.header("etag")));
    assert_eq!(names(&read_anew(&app, BY_NAME).await), ["b.txt"]);
    assert!(app.get(&content).await.header("content-disposition").contains("b.txt"));

    // One that comes in one request, and one that comes in chunks.
    kept(&app, BY_NAME).await;
    app.send(Method::POST, "/api/files?filename=a.txt", &[], "x").await.expect(201);
    assert_eq!(names(&read_anew(&app, BY_NAME).await), ["a.txt", "b.txt"]);
    kept(&app, BY_NAME).await;
    let upload = app.upload_with(2, json!({ "filename": "c.txt" })).await;
    app.put_all(&upload).await;
    app.finalize(&upload).await.expect(201);
    assert_eq!(names(&read_anew(&app, BY_NAME).await), ["a.txt", "b.txt", "c.txt"]);

    kept(&app, BY_NAME).await;
    kept(&app, &path).await;
    app.delete(&path).await.expect(204);
    for gone in [path.clone(), content, format!("{path}/reads"), format!("/api/entities/File/{}", file.id)] {
        app.get(&gone).await.problem(404, "file-not-found");
    }
    assert_eq!(names(&read_anew(&app, BY_NAME).await), ["a.txt", "c.txt"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_shows_its_thumbnails_as_soon_as_they_are_made() {
    let app = TestApp::builder().with(|config| config.thumbnails.eager = false).start().await;
    let file = app.picture(jpeg(300, 200, 0)).await;
    let record = kept(&app, &file.file_path()).await.json();
    assert_eq!(record["thumbnails"]["small"]["status"], "pending");
    kept(&app, BY_NAME).await;
    app.thumbnail(&file, "small").await.expect(200);
    let record = app.get(&file.file_path()).await.expect(200).json();
    assert_eq!(
        (&record["thumbnails"]["small"]["status"], &record["image"]["width"]),
        (&json!("ready"), &json!(300))
    );
    let page = read_anew(&app, BY_NAME).await;
    assert_eq!(page["items"][0], record);
    let thumbnail = kept(&app, &format!("/api/entities/Thumbnail/{}:small", file.id)).await.json();
    assert_eq!(thumbnail["status"], "ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_can_be_named_as_soon_as_it_is_made() {
    let app = TestApp::start().await;
    let as_acme = [("x-cifra-tenant", "acme")];
    app.get_with("/api/files", &as_acme).await.problem(404, "tenant-not-found");
    kept(&app, "/api/tenants").await;
    kept(&app, "/api/entities/Tenant/default").await;
    app.tenant("acme").await;
    let tenants = read_anew(&app, "/api/tenants").await;
    assert_eq!(tenants["items"].as_array().unwrap().len(), 2);
    app.get_with("/api/files", &as_acme).await.expect(200);
    // Each has its own.
    app.file(bytes(1)).await;
    kept(&app, "/api/files").await;
    assert_eq!(app.get_with("/api/files", &as_acme).await.expect(200).json()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_last_is_in_memory_after_a_start_and_when_an_operator_says_so() {
    let mut server = Server::start().await;
    let id = server.api.file(&bytes(100)).await;
    let (path, reads) = (format!("/api/files/{id}"), format!("/api/files/{id}/reads"));
    assert!(server.api.content(&id).await.is_some());
    until("it counts", async || (server.api.get(&reads).await.unwrap().json["reads"] == 1).then_some(()))
        .await;
    server.restart().await;
    until("it is warm", async || {
        let health = server.api.get("/api/cache/health").await.unwrap().json;
        (health["l1_entries"].as_u64().unwrap() >= 3).then_some(())
    })
    .await;
    let stats = async || server.api.get("/api/cache/stats").await.unwrap().json;
    let before = stats().await["entities"]["File"].clone();
    assert_eq!(server.api.get(&path).await.unwrap().status, 200);
    let after = stats().await["entities"]["File"].clone();
    assert_eq!(before["misses"], after["misses"], "{after}");
    assert_eq!(before["hits"].as_u64().unwrap() + 1, after["hits"].as_u64().unwrap(), "{after}");

    let app = TestApp::start().await;
    let counted = async || {
        let stats = app.get("/api/cache/stats").await.expect(200).json();
        [&stats["queries_saved"], &stats["total_hits"], &stats["total_misses"]].map(Value::clone)
    };
    let before = counted().await;
    app.post("/api/cache/warm", &json!({})).await.expect(200);
    assert_eq!(counted().await, before, "what nobody asked for counts as nobody's");
    assert_eq!(app.get("/api/entities/Tenant/default").await.header("x-cache"), "L1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_cache_is_off_nothing_is_warmed() {
    let app = TestApp::builder().with(|config| config.cache.enabled = false).start().await;
    let warmed = app.post("/api/cache/warm", &json!({})).await.expect(200).json();
    assert_eq!((&warmed["tenants"], &warmed["files"], &warmed["pages"]), (&json!(0), &json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_answered_while_the_database_is_away_and_says_so() {
    let server = PostgresServer::start();
    let url = server.new_service_database().await;
    let app =
        TestApp::builder().with(|config| config.database.url = DatabaseUrl::Postgres(url)).start().await;
    let (file, other) = (app.file(bytes(100)).await, app.file(bytes(10)).await);
    for path in [file.file_path().as_str(), BY_NAME] {
        kept(&app, path).await;
    }
    server.stop_in_order();
    for path in [file.file_path().as_str(), BY_NAME] {
        // What was read within the last second still counts.
        until("it is known to be away", async || {
            let asked = Instant::now();
            let answer = app.get(path).await.expect(200);
            assert!(asked.elapsed() < Duration::from_secs(1), "{path}: {:?}", asked.elapsed());
            (answer.header("x-cache") == "STALE").then_some(())
        })
        .await;
    }
    let content = app.get(&file.content_path()).await.expect(200);
    assert_eq!(content.body, file.bytes);
    app.get(&other.file_path()).await.problem(503, "unavailable");
    server.resume();
    until("it is back", async || {
        let answer = app.get(&file.file_path()).await.expect(200);
        (answer.header("x-cache") != "STALE").then_some(())
    })
    .await;
    until("it takes changes", async || {
        (rename(&app, &file.file_path(), "new").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(app.get(&file.file_path()).await.json()["filename"], "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_believed_for_a_second_only_while_the_database_is_away() {
    let server = PostgresServer::start();
    let url = server.new_service_database().await;
    let builder = TestApp::builder().keys().with(|config| config.database.url = DatabaseUrl::Postgres(url));
    let app = builder.start().await;
    app.act_as(OPERATOR);
    let path = app.file(bytes(100)).await.file_path();
    app.act_as(&app.key("default", "read").await);
    kept(&app, &path).await;
    server.stop_in_order();
    let gone = Instant::now();
    let refused = until("nobody can say whether the key is good", async || {
        let asked = gone.elapsed();
        let answer = app.get(&path).await;
        if answer.status != 200 {
            return Some(answer);
        }
        assert!(asked < Duration::from_secs(1), "the key was believed {asked:?} after the database had gone");
        None
    })
    .await;
    refused.problem(503, "unavailable");
    assert!(refused.find("retry-after").is_some());
    server.resume();
    until("it is back", async || (app.get(&path).await.status == 200).then_some(())).await;
}
