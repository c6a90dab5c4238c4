//! `GET /api/uploads/{id}/events`: how it is, what changes, how it ends; bounds, and what is freed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Method;
use cifra::base::{ManualClock, Timestamp};
use serde_json::json;

use crate::harness::process::until;
use crate::harness::{NOBODY, TestApp, sha256_text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_watched_from_its_beginning_to_its_file() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(3).await;
    let mut events = app.watch(&upload.path, &[]).await.unwrap();
    let mut status = app.status(&upload).await;
    for member in ["missing", "offset"] {
        status[member].take();
    }
    let mut first = events.expect("progress").await;
    first["missing"].take();
    assert_eq!(first, status);
    app.put_chunk(&upload, 1).await.expect(200);
    assert_eq!(events.expect("progress").await["received_chunks"], 1);
    app.put_chunk(&upload, 0).await.expect(200);
    assert_eq!(events.expect("progress").await["received_chunks"], 2);
    app.put_chunk(&upload, 2).await.expect(200);
    let file = app.finalize(&upload).await.expect(201).json();
    assert_eq!(events.last("completed").await, file);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_changes_are_few_events_and_the_newest_is_told() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(40).await;
    let mut events = app.watch(&upload.path, &[]).await.unwrap();
    let begun = Instant::now();
    app.put_all(&upload).await;
    // Nobody reads meanwhile.
    let (mut count, mut last) = (0, -1);
    while last < 40 {
        let received = events.expect("progress").await["received_chunks"].as_i64().unwrap();
        assert!(received > last, "{received} after {last}");
        (count, last) = (count + 1, received);
    }
    let most = begun.elapsed().as_millis() / 250 + 2;
    assert!(count <= most, "{count} events in {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_given_up_fails_and_is_gone_for_who_comes_later() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let events = app.watch(&upload.path, &[]).await.unwrap();
    app.delete(&upload.path).await.expect(204);
    let failed = events.last("failed").await;
    assert_eq!((&failed["code"], &failed["state"]), (&json!("upload-gone"), &json!("aborted")));
    assert!(failed["detail"].is_string(), "{failed}");
    let gone = app.watch(&upload.path, &[]).await.err().unwrap();
    assert_eq!(gone.problem(410, "upload-gone")["state"], "aborted");
    let nobody = app.watch(&format!("/api/uploads/{NOBODY}"), &[]).await.err().unwrap();
    nobody.problem(404, "upload-not-found");
    app.watch("/api/uploads/x", &[]).await.err().unwrap().problem(400, "invalid-request");
    app.watch("/api/uploads/..%2f..%2fetc", &[]).await.err().unwrap().problem(400, "invalid-request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_expires_fails() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
    let app = TestApp::builder().clock(&clock).start().await;
    let upload = app.upload_of_chunks(2).await;
    let events = app.watch(&upload.path, &[]).await.unwrap();
    clock.advance(Duration::from_hours(25));
    app.sweep().await;
    assert_eq!(events.last("failed").await["state"], "expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completed_upload_is_told_once_to_a_browser_that_comes_again() {
    let app = TestApp::start().await;
    let upload = app.file(vec![7; 100]).await;
    let mut events = app.watch(&upload.path, &[]).await.unwrap();
    let completed = events.next().await.unwrap();
    assert_eq!((completed.name.as_str(), completed.id.as_deref()), ("completed", Some("completed")));
    assert_eq!(completed.data, app.get(&upload.file_path()).await.json());
    assert_eq!(events.next().await, None);
    let again = app.watch(&upload.path, &[("last-event-id", "completed")]).await.err().unwrap();
    assert_eq!(again.status, 204);
    app.watch(&upload.path, &[("last-event-id", "other")]).await.unwrap().last("completed").await;
    let head = app.send(Method::HEAD, &format!("{}/events", upload.path), &[], "").await.expect(200);
    assert_eq!(head.header("content-type"), "text/event-stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalize_that_fails_is_progress_because_the_session_goes_on() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_all(&upload).await;
    let mut events = app.watch(&upload.path, &[]).await.unwrap();
    let wrong = json!({ "checksum": sha256_text(b"other") });
    app.post(&format!("{}/finalize", upload.path), &wrong).await.problem(422, "checksum-mismatch");
    let told = events.until(|event| event.data["error"].is_string()).await;
    assert_eq!((told.name.as_str(), &told.data["state"]), ("progress", &json!("receiving")));
    app.finalize(&upload).await.expect(201);
    events.last("completed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_watch_but_not_too_many_and_who_leaves_makes_room() {
    let app = TestApp::start().await;
    let (upload, other) = (app.upload_of_chunks(1).await, app.upload_of_chunks(1).await);
    let mut all = Vec::new();
    for _ in 0..16 {
        all.push(app.watch(&upload.path, &[]).await.unwrap());
    }
    let refused = app.watch(&upload.path, &[]).await.err().unwrap();
    refused.problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), "5");
    app.watch(&other.path, &[]).await.unwrap();
    drop(all.pop());
    all.push(until("there is room again", async || app.watch(&upload.path, &[]).await.ok()).await);
    app.put_all(&upload).await;
    app.finalize(&upload).await.expect(201);
    for events in all {
        events.last("completed").await;
    }
    until("all have left", async || app.watch(&upload.path, &[]).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_what_is_watched_at_once() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(1).await;
    let mut events = app.watch(&upload.path, &[]).await.unwrap();
    events.expect("progress").await;
    let begun = Instant::now();
    drop(app); // in order, or it panics
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(events.next().await, None);
}

/// What another process writes is seen without its signal; and what is silent is kept open by comments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_without_a_signal_is_seen_in_a_while() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(1).await;
    let mut events = app.watch(&upload.path, &[]).await.unwrap();
    events.expect("progress").await;
    app.number_in_database(
        "UPDATE cifra_uploads SET error = 'elsewhere' WHERE state = 'receiving' RETURNING CAST(1 AS BIGINT)",
    )
    .await;
    assert_eq!(events.expect("progress").await["error"], "elsewhere");
    app.delete(&upload.path).await.expect(204);
    events.expect("failed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_tenant_watches_and_only_while_its_key_holds() {
    let app = TestApp::builder().keys().start().await;
    for tenant in ["acme", "other"] {
        app.tenant(tenant).await;
    }
    let (writer, reader) = (app.key("acme", "write").await, app.key("acme", "read").await);
    app.act_as(&writer);
    let upload = app.upload_of_chunks(3).await;
    let with = |key: &str| format!("Bearer {key}");
    let foreign = with(&app.key("other", "admin").await);
    let refused = app.watch(&upload.path, &[("authorization", &foreign)]).await.err().unwrap();
    refused.problem(404, "upload-not-found");
    app.watch(&upload.path, &[]).await.err().unwrap().problem(401, "unauthenticated");

    let mut kept = app.watch(&upload.path, &[("authorization", &with(&writer))]).await.unwrap();
    let mut revoked = app.watch(&upload.path, &[("authorization", &with(&reader))]).await.unwrap();
    kept.expect("progress").await;
    revoked.expect("progress").await;
    app.number_in_database(
        "UPDATE cifra_keys SET revoked_at = 1 WHERE scopes = 'read' RETURNING CAST(1 AS BIGINT)",
    )
    .await;
    until("the revocation is known", async || {
        (app.get_with(&upload.path, &[("authorization", &with(&reader))]).await.status == 401).then_some(())
    })
    .await;
    // Also where nothing happens that could be told.
    assert_eq!(revoked.next().await, None);
    app.put_chunk(&upload, 0).await.expect(200);
    kept.expect("progress").await;
}
