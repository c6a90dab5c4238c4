//! The audit log: every change is in it, with who made it, from the same transaction on.

use axum::http::Method;
use cifra::base::{ManualClock, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{OPERATOR, TestApp};

/// The newest entries as `actor action target`, oldest of them first.
async fn told(app: &TestApp, count: usize) -> Vec<(String, String, String)> {
    let page = app.get_with("/api/audit", &[("authorization", &format!("Bearer {OPERATOR}"))]).await;
    let page = page.expect(200).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entry = |entry: &Value| {
        let actor = match entry["actor"]["name"].as_str() {
            Some(name) => name.to_owned(),
            None => text(&entry["actor"]["kind"]),
        };
        (actor, text(&entry["action"]), text(&entry["target"]))
    };
    let mut newest: Vec<_> = page["items"].as_array().unwrap().iter().take(count).map(entry).collect();
    newest.reverse();
    newest
}

fn entry(actor: &str, action: &str, target: &str) -> (String, String, String) {
    (actor.to_owned(), action.to_owned(), target.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_noted_with_who_made_it() {
    let app = TestApp::builder().keys().start().await;
    assert_eq!(told(&app, 1).await[0].1, "operator-key-replaced");
    app.act_as(OPERATOR);
    app.post("/api/tenants", &json!({ "id": "acme" })).await.expect(201);
    let acme = [("x-cifra-tenant", "acme"), ("content-type", "application/json")];
    let asked = json!({ "name": "writer", "scopes": ["write"] }).to_string();
    let made = app.send(Method::POST, "/api/keys", &acme, asked).await.expect(201).json();
    let (key, key_id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    app.act_as(key);
    let file = app.file(vec![1, 2, 3]).await;
    let whole = app.send(Method::POST, "/api/files?filename=a", &[], "abc").await.expect(201).json();
    let whole = whole["id"].as_str().unwrap();
    let json = [("content-type", "application/json")];
    app.send(Method::PATCH, &file.file_path(), &json, r#"{"filename":"b"}"#).await.expect(200);
    app.delete(&file.file_path()).await.expect(204);
    let upload = app.upload_of_chunks(1).await;
    app.delete(&upload.path).await.expect(204);
    app.delete(&upload.path).await.expect(204);
    app.act_as(OPERATOR);
    app.delete(&format!("/api/keys/{key_id}")).await.expect(204);
    app.delete(&format!("/api/keys/{key_id}")).await.expect(204);
    let first = "first operator key";
    let mut all = told(&app, 50).await;
    // The upload that asks for the size of chunks is given up too.
    all.retain(|(_, action, target)| action != "upload-aborted" || *target == upload.id);
    assert_eq!(
        all[1..],
        [
            entry(first, "tenant-created", "acme"),
            entry(first, "key-created", key_id),
            entry("writer", "file-created", &file.id),
            entry("writer", "file-created", whole),
            entry("writer", "file-changed", &file.id),
            entry("writer", "file-deleted", &file.id),
            entry("writer", "upload-aborted", &upload.id),
            entry(first, "key-revoked", key_id),
        ]
    );
    let log = app.get("/api/audit?limit=500").await.text();
    for secret in [key, OPERATOR, key.rsplit('_').next().unwrap()] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    assert_eq!(app.get("/api/audit?tenant=default").await.json()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_happen_is_not_noted() {
    let app = TestApp::start().await;
    app.post("/api/tenants", &json!({ "id": "default" })).await.problem(409, "tenant-exists");
    let upload = app.upload_of_chunks(1).await;
    app.finalize(&upload).await.problem(409, "upload-incomplete");
    app.delete(&upload.file_path()).await.problem(404, "file-not-found");
    let noted = app.get("/api/audit").await.expect(200).json();
    let actions = noted["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap());
    assert_eq!(actions.filter(|action| *action != "upload-aborted").count(), 0, "{noted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_acts_as_itself_and_forgets_what_is_old() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
    let app = TestApp::builder().clock(&clock).start().await;
    let upload = app.upload_of_chunks(1).await;
    clock.advance(Duration::from_hours(8 * 24));
    app.sweep().await;
    let noted = app.get("/api/audit").await.json();
    assert_eq!(noted["items"][0]["action"], "upload-expired", "{noted}");
    assert_eq!(noted["items"][0]["target"], upload.id.as_str());
    assert_eq!(noted["items"][0]["actor"], json!({ "kind": "service", "id": null, "name": null }));
    clock.advance(Duration::from_hours(91 * 24));
    app.sweep().await;
    assert_eq!(app.get("/api/audit").await.json()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_comes_in_pages_for_operators_only() {
    let app = TestApp::builder().keys().start().await;
    for tenant in ["a", "b", "c"] {
        app.tenant(tenant).await;
    }
    app.act_as(&app.key("a", "admin").await);
    app.get("/api/audit").await.problem(403, "forbidden");
    app.act_as(OPERATOR);
    let (mut targets, mut path) = (Vec::new(), "/api/audit?limit=2".to_owned());
    loop {
        let page = app.get(&path).await.expect(200).json();
        targets.extend(page["items"].as_array().unwrap().iter().map(|entry| entry["target"].to_string()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("/api/audit?limit=2&cursor={next}");
    }
    assert_eq!(targets.len(), 5, "{targets:?}");
    targets.dedup();
    assert_eq!(targets.len(), 5, "{targets:?}");
    let foreign = path.replace("/api/audit", "/api/keys");
    app.get(&foreign).await.problem(400, "invalid-request");
}
