//! `Idempotency-Key`: the same answer again, another request refused, one effect whatever happens.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use cifra::base::{ManualClock, Timestamp};
use serde_json::json;

use crate::harness::gate::gated;
use crate::harness::process::{Server, until};
use crate::harness::{Answer, Raw, TestApp, bytes};

/// The fail points around the commit of a new upload; `crash_points` holds the table of all complete.
pub(crate) const POINTS: [&str; 2] = ["create.before_commit", "create.after_commit"];

const JSON: (&str, &str) = ("content-type", "application/json");

async fn create(app: &TestApp, key: &str, body: &str) -> Answer {
    app.send(Method::POST, "/api/uploads", &[JSON, ("idempotency-key", key)], body.to_owned()).await
}

fn body_of(size: usize) -> String {
    json!({ "filename": "a.bin", "total_size": size }).to_string()
}

async fn uploads(app: &TestApp) -> usize {
    app.get("/api/uploads?limit=500").await.json()["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_gets_the_same_answer_for_a_day() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
    let app = TestApp::builder().clock(&clock).start().await;
    let first = create(&app, "k", &body_of(10)).await.expect(201);
    // What happens to the upload does not change what was answered.
    app.put(&format!("{}/chunks/0", first.header("location")), &[1; 10]).await.expect(200);
    clock.advance(Duration::from_hours(23));
    app.sweep().await;
    let again = create(&app, "k", &body_of(10)).await.expect(201);
    assert_eq!((again.header("location"), again.json()), (first.header("location"), first.json()));
    assert_eq!(again.header("cache-control"), first.header("cache-control"));
    assert_eq!(uploads(&app).await, 1);

    clock.advance(Duration::from_hours(1));
    assert_eq!(app.number_in_database("SELECT COUNT(*) FROM cifra_idempotency_keys").await, 1);
    let anew = create(&app, "k", &body_of(20)).await.expect(201);
    assert_ne!(anew.header("location"), first.header("location"));
    clock.advance(Duration::from_hours(24));
    app.sweep().await;
    assert_eq!(app.number_in_database("SELECT COUNT(*) FROM cifra_idempotency_keys").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_for_one_request_only() {
    let app = TestApp::start().await;
    let first = create(&app, "k", &body_of(10)).await.expect(201);
    let same_length = body_of(11);
    for other in [same_length.as_str(), &body_of(1000), "", "{"] {
        let refused = create(&app, "k", other).await;
        refused.problem(409, "idempotency-conflict");
        assert_eq!(refused.find("retry-after"), None);
    }
    let keyed = [JSON, ("idempotency-key", "k")];
    app.send(Method::POST, "/api/files?filename=a", &keyed, "same").await.expect(201);
    let renamed = app.send(Method::POST, "/api/files?filename=b", &keyed, "same").await;
    renamed.problem(409, "idempotency-conflict");
    let declared = [JSON, ("idempotency-key", "k"), ("x-checksum-crc64nvme", "AAAAAAAAAAA=")];
    let checked = app.send(Method::POST, "/api/files?filename=a", &declared, "same").await;
    checked.problem(409, "idempotency-conflict");
    let typed = [("content-type", "application/other+json"), ("idempotency-key", "k")];
    app.send(Method::POST, "/api/uploads", &typed, body_of(10)).await.problem(409, "idempotency-conflict");
    assert_eq!(create(&app, "K", &body_of(10)).await.expect(201).json()["filename"], "a.bin");
    assert_eq!(create(&app, "k", &body_of(10)).await.expect(201).json(), first.json());
    assert_eq!(uploads(&app).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_can_be_corrected_under_its_key() {
    let app = TestApp::start().await;
    create(&app, "k", "{}").await.problem(400, "invalid-request");
    create(&app, "k", &body_of(usize::MAX)).await.problem(413, "file-too-large");
    create(&app, "k", &body_of(10)).await.expect(201);
    assert_eq!(uploads(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_key_is_refused() {
    let app = TestApp::start().await;
    create(&app, &"k".repeat(255), &body_of(10)).await.expect(201);
    for key in ["", "a b", "a\tb", &"k".repeat(256)] {
        create(&app, key, &body_of(10)).await.problem(400, "invalid-request");
    }
    let twice = [JSON, ("idempotency-key", "a"), ("idempotency-key", "b")];
    app.send(Method::POST, "/api/uploads", &twice, body_of(10)).await.problem(400, "invalid-request");
    assert_eq!(uploads(&app).await, 1);
    // Where nothing begins it means nothing.
    app.get_with("/api/uploads", &[("idempotency-key", "a b")]).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_first_is_served_others_are_asked_to_wait() {
    let app = TestApp::start().await;
    let body = body_of(10);
    let (half, rest) = body.split_at(5);
    let mut first = Raw::to(&app).await;
    let length = format!("Content-Length: {}", body.len());
    let headers = ["Content-Type: application/json", "Idempotency-Key: k", &length, "Expect: 100-continue"];
    first.head("POST /api/uploads", &headers).await;
    // Its body is wanted: so it has the key.
    first.answer().await.unwrap().expect(100);
    first.send(half.as_bytes()).await;
    let refused = create(&app, "k", "no JSON").await;
    refused.problem(409, "idempotency-conflict");
    assert_eq!(refused.header("retry-after"), "1");
    first.send(rest.as_bytes()).await;
    let answer = first.answer().await.unwrap().expect(201);
    assert_eq!(create(&app, "k", &body).await.expect(201).json(), answer.json());

    // Who leaves gives the key back.
    let mut leaving = Raw::to(&app).await;
    leaving
        .head("POST /api/uploads", &["Content-Type: application/json", "Idempotency-Key: l", &length])
        .await;
    leaving.send(half.as_bytes()).await;
    drop(leaving);
    until("the key is free", async || (create(&app, "l", &body).await.status == 201).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_begin_one_upload() {
    let app = TestApp::start().await;
    let ids = futures_util::future::join_all((0..16).map(|_| async {
        until("it is answered", async || {
            let answer = create(&app, "k", &body_of(10)).await;
            (answer.status == 201).then(|| answer.header("location").to_owned())
        })
        .await
    }))
    .await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(uploads(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_around_the_commit_leaves_the_upload_with_its_answer_or_neither() {
    for (point, expected) in POINTS.into_iter().zip([0, 1]) {
        let mut server = Server::new();
        server.begin(Some(&format!("{point}=kill"))).await;
        let body = json!({ "filename": "a.bin", "total_size": 100 });
        server.api.create_once("k", &body).await.unwrap_err();
        server.died().await;
        server.restart().await;
        for table in ["SELECT COUNT(*) FROM cifra_uploads", "SELECT COUNT(*) FROM cifra_idempotency_keys"] {
            assert_eq!(server.count(table).await, expected, "{point}: {table}");
        }
        let again = server.api.create_once("k", &body).await.unwrap();
        assert_eq!(again.status, 201, "{again:?}");
        assert_eq!(server.api.create_once("k", &body).await.unwrap(), again, "{point}");
        assert_eq!(server.count("SELECT COUNT(*) FROM cifra_uploads").await, 1, "{point}");
        let id = again.json["upload_id"].as_str().unwrap().to_owned();
        assert_eq!(again.location, Some(format!("/api/uploads/{id}")));
        assert_eq!(server.api.missing(&id).await, [0]);
    }
}

/// Another process may have served the same request meanwhile: its answer stands, and ours is undone.
#[tokio::test(flavor = "multi_thread")]
async fn who_commits_second_has_done_nothing() {
    const OTHER: &str =
        "INSERT INTO cifra_idempotency_keys SELECT 'default', '/api/uploads', 'k', 0, 0, 0, 201, NULL,
        '{}', 0, 9000000000000000 RETURNING 1";
    let (server, gates) = gated(&[], &["create.before_commit"]).await;
    gates[0].close();
    let body = json!({ "filename": "a.bin", "total_size": 100 });
    let late = server.api.create_once("k", &body);
    let meanwhile = async {
        gates[0].reached().await;
        server.count(OTHER).await;
        gates[0].open();
    };
    let (late, ()) = tokio::join!(late, meanwhile);
    let late = late.unwrap();
    assert_eq!(late.problem(), (409, "idempotency-conflict"));
    assert_eq!(late.retry_after.as_deref(), Some("1"));
    assert_eq!(server.count("SELECT COUNT(*) FROM cifra_uploads").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_sent_again_in_one_request_is_the_same_file() {
    let app = TestApp::start().await;
    let post = async |path: &str, body: &[u8]| {
        app.send(Method::POST, path, &[("idempotency-key", "k")], body.to_vec()).await
    };
    let content = bytes(3_000_000);
    let file = post("/api/files?filename=a.bin&metadata.k=v", &content).await.expect(201);
    let again = post("/api/files?filename=a.bin&metadata.k=v", &content).await.expect(201);
    assert_eq!((again.json(), again.header("location")), (file.json(), file.header("location")));
    let mut other = content.clone();
    other[2_999_999] ^= 1;
    for (path, body) in [
        ("/api/files?filename=a.bin&metadata.k=v", other.as_slice()),
        ("/api/files?filename=a.bin&metadata.k=v", &content[1..]),
        ("/api/files?filename=a.bin&metadata.k=w", &content),
    ] {
        post(path, body).await.problem(409, "idempotency-conflict");
    }
    assert_eq!(app.blobs().await.len(), 1);
    assert_eq!(app.number_in_database("SELECT COUNT(*) FROM cifra_files").await, 1);
    // A key is one route's: here it begins an upload.
    create(&app, "k", &body_of(10)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_around_the_commit_leaves_the_file_with_its_answer_or_neither() {
    for (point, expected) in [("files.before_commit", 0), ("files.after_commit", 1)] {
        let mut server = Server::new();
        server.begin(Some(&format!("{point}=kill"))).await;
        let content = bytes(100_000);
        server.api.create_file_once("k", &content).await.unwrap_err();
        server.died().await;
        server.restart().await;
        for table in ["SELECT COUNT(*) FROM cifra_files", "SELECT COUNT(*) FROM cifra_idempotency_keys"] {
            assert_eq!(server.count(table).await, expected, "{point}: {table}");
        }
        let again = server.api.create_file_once("k", &content).await.unwrap();
        assert_eq!(again.status, 201, "{again:?}");
        assert_eq!(server.api.create_file_once("k", &content).await.unwrap(), again, "{point}");
        assert_eq!(server.count("SELECT COUNT(*) FROM cifra_files").await, 1, "{point}");
        let id = again.json["id"].as_str().unwrap();
        assert!(server.api.content(id).await.unwrap() == content);
        server.settled(1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_a_tenant_s_and_nobody_else_learns_of_them() {
    let app = TestApp::builder().keys().start().await;
    for tenant in ["acme", "other"] {
        app.tenant(tenant).await;
    }
    app.act_as(&app.key("acme", "write").await);
    let first = create(&app, "k", &body_of(10)).await.expect(201).json();
    // Another principal of the same tenant is given the same answer.
    app.act_as(&app.key("acme", "admin").await);
    assert_eq!(create(&app, "k", &body_of(10)).await.expect(201).json(), first);
    app.act_as(&app.key("acme", "read").await);
    create(&app, "k", &body_of(10)).await.problem(403, "forbidden");
    app.act_as(&app.key("other", "write").await);
    assert_ne!(create(&app, "k", &body_of(10)).await.expect(201).json()["upload_id"], first["upload_id"]);
    app.act_as("nobody");
    create(&app, "k", &body_of(10)).await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_sent_again_is_the_same_form_under_another_boundary() {
    let app = TestApp::start().await;
    let post = async |boundary: &str, content: &str| {
        let head = "Content-Disposition: form-data; name=\"f\"; filename=\"a.txt\"";
        let body = format!("--{boundary}\r\n{head}\r\n\r\n{content}\r\n--{boundary}--\r\n");
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let headers = [("content-type", content_type.as_str()), ("idempotency-key", "k")];
        app.send(Method::POST, "/api/files", &headers, body).await
    };
    let first = post("one-1", "hello").await.expect(201).json();
    assert_eq!(first["items"].as_array().unwrap().len(), 1);
    let again = post("another-22", "hello").await.expect(201);
    assert_eq!((again.json(), again.find("location")), (first, None));
    post("one-1", "hullo").await.problem(409, "idempotency-conflict");
    assert_eq!(app.number_in_database("SELECT COUNT(*) FROM cifra_files").await, 1);
}
