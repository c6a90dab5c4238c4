//! `POST /api/uploads`: what is taken, what the server decides, and every refusal.

use axum::http::Method;
use cifra::config::ByteSize;
use serde_json::{Value, json};

use crate::harness::{TestApp, bytes, crc64_text, sha256_text};

/// Nothing was begun.
async fn nothing_there(app: &TestApp) {
    let list = app.get("/api/uploads").await.expect(200).json();
    assert_eq!(list, json!({ "items": [], "next_cursor": null }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_upload_is_told_in_full() {
    let app = TestApp::start().await;
    let content = bytes(20_000_000);
    let answer = app
        .post(
            "/api/uploads",
            &json!({
                "filename": "räum/../me.bin", "total_size": content.len(), "content_type": "video/mp4",
                "checksum": sha256_text(&content), "metadata": { "b": "2", "a": "ä\n" },
            }),
        )
        .await
        .expect(201);
    let upload = answer.json();
    let id = upload["upload_id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/uploads/{id}"));
    assert_eq!(id.as_bytes()[14], b'7', "not a UUIDv7: {id}");
    let (created, expires) = (upload["created_at"].clone(), upload["expires_at"].clone());
    assert_eq!(created.as_str().unwrap().len(), "2026-01-02T03:04:05.000006Z".len());
    assert!(created.as_str().unwrap() < expires.as_str().unwrap());
    let expected = json!({
        "upload_id": id, "state": "receiving", "protocol": "native", "filename": "räum/../me.bin",
        "content_type": "video/mp4", "total_size": 20_000_000, "chunk_size": 8 << 20, "chunk_count": 3,
        "received_bytes": 0, "received_chunks": 0, "offset": 0, "missing": [[0, 2]], "missing_count": 3,
        "checksum": sha256_text(&content), "metadata": { "a": "ä\n", "b": "2" },
        "created_at": created, "expires_at": expires, "error": null, "file": null,
    });
    assert_eq!(upload, expected);
    assert_eq!(app.get(answer.header("location")).await.expect(200).json(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_decides_the_chunk_size() {
    let app = TestApp::start().await;
    let smallest = app.chunk_size().await as u64;
    let cut = async |total: u64, wish: Option<u64>| -> (u64, u64) {
        let body = json!({ "filename": "a", "total_size": total, "chunk_size": wish });
        let upload = app.post("/api/uploads", &body).await.expect(201);
        app.delete(upload.header("location")).await.expect(204); // the disk may not have room for all
        let upload = upload.json();
        (upload["chunk_size"].as_u64().unwrap(), upload["chunk_count"].as_u64().unwrap())
    };
    assert_eq!(cut(1, None).await, (8 << 20, 1));
    assert_eq!(cut(smallest, Some(1)).await, (smallest, 1));
    assert_eq!(cut(smallest + 1, Some(1)).await, (smallest, 2));
    assert_eq!(cut(1 << 20, Some(smallest + 1)).await, (smallest + 1, (1u64 << 20).div_ceil(smallest + 1)));
    // In front of an object store a part waits in memory: a quarter of `parts_in_flight`.
    let largest = if app.on_a_folder() { 1 << 30 } else { 64 << 20 };
    assert_eq!(cut(3, Some(u64::MAX)).await, (largest, 1));
    assert_eq!(cut(0, Some(1)).await, (smallest, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chunk_size_is_configured_where_the_client_has_no_wish() {
    let app =
        TestApp::builder().with(|config| config.file_upload.chunk_size = ByteSize(100_000)).start().await;
    let body = json!({ "filename": "a", "total_size": 200_001 });
    let upload = app.post("/api/uploads", &body).await.expect(201).json();
    assert_eq!((&upload["chunk_size"], &upload["chunk_count"]), (&json!(100_000), &json!(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_fields_are_told_all_at_once_with_pointers() {
    let app = TestApp::start().await;
    let pointers = async |body: Value| app.post("/api/uploads", &body).await.pointers();
    assert_eq!(pointers(json!({})).await, ["/filename", "/total_size"]);
    assert_eq!(pointers(json!({ "filename": 1, "total_size": -1 })).await, ["/filename", "/total_size"]);
    assert_eq!(pointers(json!({ "filename": "a", "total_size": 1.5 })).await, ["/total_size"]);
    assert_eq!(pointers(json!({ "filename": "a", "total_size": "1" })).await, ["/total_size"]);
    assert_eq!(
        pointers(json!({ "filename": null, "total_size": 1, "size": 1, "a/b~c": 2 })).await,
        ["/filename", "/a~1b~0c", "/size"]
    );
    assert_eq!(
        pointers(json!({
            "filename": "a", "total_size": 1, "chunk_size": [], "content_type": 7, "metadata": { "x": 1, "y": "1" }
        }))
        .await,
        ["/content_type", "/chunk_size", "/metadata/x"]
    );
    assert_eq!(pointers(json!({ "filename": "a", "total_size": 1, "metadata": [] })).await, ["/metadata"]);
    nothing_there(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_cannot_be_are_refused() {
    let app = TestApp::start().await;
    let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("k{n}"), json!("v"))).collect();
    for wrong in [
        json!({ "filename": "" }),
        json!({ "filename": "a\u{0}b" }),
        json!({ "filename": "a\r\nSet-Cookie: x" }),
        json!({ "filename": "x".repeat(1025) }),
        json!({ "chunk_size": 0 }),
        json!({ "content_type": "video" }),
        json!({ "content_type": "a/b\r\nX-Evil: 1" }),
        json!({ "content_type": format!("a/{}", "b".repeat(300)) }),
        json!({ "metadata": { "": "x" } }),
        json!({ "metadata": { "a": "x\u{0}" } }),
        json!({ "metadata": { "a": "x".repeat(8192) } }),
        json!({ "metadata": many }),
    ] {
        let mut body = json!({ "filename": "a", "total_size": 1 });
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        app.post("/api/uploads", &body).await.problem(400, "invalid-request");
    }
    for checksum in ["", "sha256", "sha256:00", "md5:d41d8cd98f00b204e9800998ecf8427e", "crc64nvme:123"] {
        let body = json!({ "filename": "a", "total_size": 1, "checksum": checksum });
        app.post("/api/uploads", &body).await.problem(400, "invalid-digest");
    }
    nothing_there(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_and_names_may_be_as_large_as_promised() {
    let app = TestApp::start().await;
    let metadata: serde_json::Map<String, Value> =
        (0..64).map(|n| (format!("key-{n:04}"), json!("\u{1}".repeat(120)))).collect();
    let body = json!({ "filename": "x".repeat(1024), "total_size": 1, "metadata": metadata });
    let upload = app.post("/api/uploads", &body).await.expect(201).json();
    assert_eq!(upload["metadata"], Value::Object(metadata));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_a_json_object_is_refused() {
    let app = TestApp::start().await;
    let json = [("content-type", "application/json")];
    for body in ["", "{", "[]", "1", "null", "{\"filename\":}", "{} {}", "\u{feff}{}", "\"a\""] {
        app.send(Method::POST, "/api/uploads", &json, body).await.problem(400, "invalid-request");
    }
    let invalid_utf8 = b"{\"filename\":\"\xff\",\"total_size\":1}".to_vec();
    app.send(Method::POST, "/api/uploads", &json, invalid_utf8).await.problem(400, "invalid-request");
    let deep = "[".repeat(100_000);
    app.send(Method::POST, "/api/uploads", &json, deep).await.problem(400, "invalid-request");
    let long = format!("{{\"filename\":\"{}\"}}", "x".repeat(1 << 20));
    app.send(Method::POST, "/api/uploads", &json, long).await.problem(400, "invalid-request");
    let form = [("content-type", "text/plain")];
    app.send(Method::POST, "/api/uploads", &form, "filename=a").await.problem(415, "unsupported-media-type");
    nothing_there(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_larger_than_allowed_is_refused_with_the_bound() {
    let app =
        TestApp::builder().with(|config| config.file_upload.max_file_size = ByteSize(1000)).start().await;
    let sized = |total_size: u64| json!({ "filename": "a", "total_size": total_size });
    for total_size in [1001, u64::MAX] {
        let problem = app.post("/api/uploads", &sized(total_size)).await.problem(413, "file-too-large");
        assert_eq!(problem["max_bytes"], 1000);
    }
    nothing_there(&app).await;
    app.post("/api/uploads", &sized(1000)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_promised_to_open_uploads_is_not_promised_twice() {
    let app = TestApp::start().await;
    let sized = |total_size: u64| json!({ "filename": "a", "total_size": total_size });
    // Just below all that is free: two of these cannot both fit.
    let free = rustix::fs::statvfs(app.folder()).map(|stat| stat.f_bavail * stat.f_frsize).unwrap();
    let most = free / 10 * 8;
    if !app.on_a_folder() {
        return; // such a store tells nobody how much room it has
    }
    if most > 5 << 40 {
        return; // the default bound of a file is lower than what fits
    }
    let first = app.post("/api/uploads", &sized(most)).await.expect(201);
    let refused = app.post("/api/uploads", &sized(most)).await;
    refused.problem(507, "storage-full");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    app.post("/api/uploads", &sized(1)).await.expect(201);
    app.delete(first.header("location")).await.expect(204);
    app.post("/api/uploads", &sized(most)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_checksum_may_be_declared_for_the_whole() {
    let app = TestApp::start().await;
    let content = bytes(1000);
    for checksum in [sha256_text(&content), crc64_text(&content)] {
        let file = app.file_with(content.clone(), json!({ "checksum": checksum })).await;
        assert_eq!(app.get(&file.content_path()).await.expect(200).body, content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_wrong_with_a_request_is_told_at_once() {
    let app = TestApp::start().await;
    let body = json!({
        "filename": "", "total_size": -1, "content_type": "x", "checksum": "md5:00", "metadata": { "": "a" }, "more": 1,
    });
    let mut told = app.post("/api/uploads", &body).await.pointers();
    told.sort_unstable();
    assert_eq!(told, ["/checksum", "/content_type", "/filename", "/metadata", "/more", "/total_size"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_stands_twice_is_refused() {
    let app = TestApp::start().await;
    let json = [("content-type", "application/json")];
    for (body, pointer) in [
        (r#"{"filename":"a","total_size":1,"filename":"b"}"#, "/filename"),
        (r#"{"filename":"a","total_size":1,"metadata":{"a/b":"1","a/b":"1"}}"#, "/metadata/a~1b"),
        (r#"{"filename":"a","total_size":1,"total_size":null}"#, "/total_size"),
    ] {
        let answer = app.send(axum::http::Method::POST, "/api/uploads", &json, body).await;
        assert_eq!(answer.pointers()[0], pointer, "{body}");
    }
}
