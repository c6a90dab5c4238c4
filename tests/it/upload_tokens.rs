//! Upload tokens: their bearer uploads what the token allows, reaches what it began, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use cifra::base::{ManualClock, Timestamp};
use serde_json::{Value, json};

use crate::harness::{TestApp, bytes};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

async fn app() -> (TestApp, String) {
    let app = TestApp::builder().keys().start().await;
    let key = app.key("default", "write").await;
    app.act_as(&key);
    (app, key)
}

impl TestApp {
    /// Issues a token, and acts as its bearer from here on.
    async fn act_with_token(&self, mut wanted: Value) -> String {
        let wanted_life = wanted.as_object_mut().unwrap().entry("expires_in_seconds").or_insert(json!(60));
        assert!(wanted_life.is_number());
        let issued = self.post("/api/upload-tokens", &wanted).await.expect(201).json();
        let token = issued["token"].as_str().unwrap().to_owned();
        self.act_as(&token);
        token
    }

    async fn post_file(&self, body: &[u8]) -> crate::harness::Answer {
        self.send(Method::POST, "/api/files?filename=a", &[], body.to_vec()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_uploads_in_chunks_and_in_one_request_with_its_own_metadata() {
    let (app, key) = app().await;
    app.act_with_token(json!({ "max_size": 1 << 20, "metadata": { "album": "7" } })).await;
    let metadata = json!({ "album": "8", "own": "1" });
    let body = json!({ "filename": "a", "total_size": 70_000, "chunk_size": 1, "metadata": metadata });
    let upload = app.upload_from(&body, bytes(70_000)).await;
    app.put_all(&upload).await;
    app.get(&upload.path).await.expect(200);
    let done = app.finalize(&upload).await.expect(201).json();
    assert_eq!(done["metadata"], json!({ "album": "7", "own": "1" }));
    let small = app.post_file(b"hello").await.expect(201).json();
    assert_eq!(small["metadata"], json!({ "album": "7" }));
    // What it has made a file of is out of its hands.
    app.get(&upload.file_path()).await.problem(403, "forbidden");
    app.delete(&upload.file_path()).await.problem(403, "forbidden");
    app.act_as(&key);
    app.get(&upload.file_path()).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_reaches_nothing_that_it_did_not_begin() {
    let (app, key) = app().await;
    let foreign = app.upload_of_chunks(2).await;
    app.act_with_token(json!({ "max_size": 1 << 20 })).await;
    app.get(&foreign.path).await.problem(404, "upload-not-found");
    app.put_chunk(&foreign, 0).await.problem(404, "upload-not-found");
    app.finalize(&foreign).await.problem(404, "upload-not-found");
    app.delete(&foreign.path).await.problem(404, "upload-not-found");
    app.get(&format!("{}/events", foreign.path)).await.problem(404, "upload-not-found");
    for path in ["/api/uploads", "/api/files", "/api/usage", "/api/keys"] {
        app.get(path).await.problem(403, "forbidden");
    }
    let wish = json!({ "max_size": 1, "expires_in_seconds": 60 });
    app.post("/api/upload-tokens", &wish).await.problem(403, "forbidden");
    let own = app.upload_from(&json!({ "filename": "a", "total_size": 1 }), vec![1]).await;
    app.act_as(&key);
    app.act_with_token(json!({ "max_size": 1 << 20 })).await;
    app.get(&own.path).await.problem(404, "upload-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_for_so_many_bytes_and_so_many_files() {
    let (app, _) = app().await;
    app.act_with_token(json!({ "max_size": 100, "max_files": 2 })).await;
    let create = |size: u64| json!({ "filename": "a", "total_size": size });
    let refused = app.post("/api/uploads", &create(101)).await.problem(413, "file-too-large");
    assert_eq!(refused["max_bytes"], 100);
    app.post_file(&[0; 101]).await.problem(413, "file-too-large");
    app.post("/api/uploads", &create(100)).await.expect(201);
    app.post_file(&[0; 100]).await.expect(201);
    let refused = app.post_file(b"x").await.problem(403, "forbidden");
    assert_eq!(refused["max_files"], 2);
    app.post("/api/uploads", &create(1)).await.problem(403, "forbidden");
    assert_eq!(app.number_in_database("SELECT COUNT(*) FROM cifra_files").await, 1);
    assert_eq!(app.number_in_database("SELECT COUNT(*) FROM cifra_uploads").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_pictures_takes_no_text_that_is_called_one() {
    let (app, _) = app().await;
    app.act_with_token(json!({ "max_size": 1 << 20, "content_types": ["image/*"] })).await;
    let claimed = [("content-type", "image/png")];
    let post = |body: &'static [u8]| app.send(Method::POST, "/api/files?filename=a", &claimed, body);
    let refused = post(b"<html>hello</html>").await.problem(415, "unsupported-media-type");
    assert_eq!(refused["allowed"], "image/*");
    // Bytes that say nothing are not made a picture by a word.
    post(b"\0\x01\x02\x03abc").await.problem(415, "unsupported-media-type");
    post(b"").await.problem(415, "unsupported-media-type");
    assert_eq!(post(PNG).await.expect(201).json()["content_type"], "image/png");

    let body = json!({ "filename": "a", "total_size": 18, "content_type": "image/png" });
    let upload = app.upload_from(&body, b"<html>hello</html>".to_vec()).await;
    app.put_all(&upload).await;
    app.finalize(&upload).await.problem(415, "unsupported-media-type");
    // Where the first bytes are seen only when all are put together, they stay together until it is deleted.
    let state = if app.on_a_folder() { "receiving" } else { "sealed" };
    assert_eq!(app.status(&upload).await["state"], state);
    app.delete(&upload.path).await.expect(204);
    let body = json!({ "filename": "a", "total_size": PNG.len() });
    let upload = app.upload_from(&body, PNG.to_vec()).await;
    app.put_all(&upload).await;
    assert_eq!(app.finalize(&upload).await.expect(201).json()["content_type"], "image/png");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_and_a_changed_one_never_was() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
    let app = TestApp::builder().keys().clock(&clock).start().await;
    let key = app.key("default", "write").await;
    app.act_as(&key);
    let token = app.act_with_token(json!({ "max_size": 10 })).await;
    app.post_file(b"x").await.expect(201);
    for wrong in [
        format!("{token}A"),
        token[..token.len() - 1].to_owned(),
        token.replace("cifra_upload_", "cifra_upload_A"),
        "cifra_upload_".to_owned(),
        "cifra_upload_.".to_owned(),
    ] {
        app.act_as(&wrong);
        app.post_file(b"x").await.problem(401, "unauthenticated");
    }
    app.act_as(&token);
    clock.advance(Duration::from_mins(1));
    app.post_file(b"x").await.problem(401, "unauthenticated");
    app.sweep().await;
    assert_eq!(app.number_in_database("SELECT COUNT(*) FROM cifra_upload_token_uses").await, 0);
    app.act_as(&key);
    let token = app.act_with_token(json!({ "max_size": 10 })).await;
    app.revoke(&key).await;
    app.act_as(&token);
    clock.advance(Duration::from_secs(1));
    app.post_file(b"x").await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_token_can_be_is_told() {
    let (app, key) = app().await;
    for (wanted, pointer) in [
        (json!({ "expires_in_seconds": 1 }), "/max_size"),
        (json!({ "max_size": 1 }), "/expires_in_seconds"),
        (json!({ "max_size": 1, "expires_in_seconds": 604_801 }), "/expires_in_seconds"),
        (json!({ "max_size": 1, "expires_in_seconds": 1, "content_types": "image/*" }), "/content_types"),
        (json!({ "max_size": 1, "expires_in_seconds": 1, "content_types": [] }), "/content_types"),
        (json!({ "max_size": 1, "expires_in_seconds": 1, "max_files": 0 }), "/max_files"),
        (json!({ "max_size": 1, "expires_in_seconds": 1, "content_types": ["image"] }), "/content_types/0"),
        (
            json!({ "max_size": 1, "expires_in_seconds": 1, "content_types": ["a/b", "a/b,c/d"] }),
            "/content_types/1",
        ),
        (json!({ "max_size": 1, "expires_in_seconds": 1, "content_types": ["*/*"] }), "/content_types/0"),
    ] {
        assert_eq!(app.post("/api/upload-tokens", &wanted).await.pointers(), [pointer], "{wanted}");
    }
    app.revoke(&key).await;
}
