//! `POST /api/files` with a form: every file of it, or none.

use axum::http::Method;
use cifra::config::{ByteSize, Config};
use serde_json::{Value, json};

use crate::files_create::{left, stored};
use crate::harness::process::until;
use crate::harness::{Answer, Raw, TestApp, bytes, content_digest, sha256_text};

/// A form's body: each part is its head's lines and its bytes.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend_from_slice(b"--limit\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    [&body, b"--limit--\r\n".as_slice()].concat()
}

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=limit");

async fn send(app: &TestApp, body: Vec<u8>) -> Answer {
    app.send(Method::POST, "/api/files", &[FORM], body).await
}

fn file(name: &str) -> String {
    format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"")
}

fn field(name: &str) -> String {
    format!("Content-Disposition: form-data; name=\"{name}\"")
}

async fn content(app: &TestApp, file: &Value) -> Vec<u8> {
    app.get(&format!("/api/files/{}/content", file["id"].as_str().unwrap())).await.expect(200).body
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_a_form_is_taken_with_the_metadata_before_it() {
    let app = TestApp::start().await;
    let (large, page) = (bytes(3_000_000), b"<html>".as_slice());
    let digest = format!("{}\r\nContent-Digest: {}", file("large.bin"), content_digest(&large));
    let table = format!("{}\r\nContent-Type: text/csv", file("a \\\"b\\\" %22c%22.csv"));
    let pretends = format!("{}\r\nContent-Type: image/png", file("page.png"));
    let parts: &[(&str, &[u8])] = &[
        (&field("metadata.project"), b"x"),
        (&field("metadata.note"), "größer\r\nals 1".as_bytes()),
        (&digest, &large),
        (&table, b"a,b"),
        (&pretends, page),
        (&file("empty"), b""),
    ];
    let created = send(&app, form(parts)).await.expect(201);
    assert_eq!(created.find("location"), None);
    let items = created.json()["items"].as_array().unwrap().clone();
    let names: Vec<_> = items.iter().map(|item| item["filename"].as_str().unwrap()).collect();
    assert_eq!(names, ["large.bin", "a \"b\" \"c\".csv", "page.png", "empty"]);
    let types: Vec<_> = items.iter().map(|item| item["content_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["application/octet-stream", "text/csv", "text/html", "application/octet-stream"]);
    assert_eq!(items[0]["checksum"], sha256_text(&large));
    for (item, bytes) in items.iter().zip([&large, b"a,b".as_slice(), page, b""]) {
        assert_eq!(item["metadata"], json!({ "project": "x", "note": "größer\r\nals 1" }));
        assert_eq!(item["size"], bytes.len());
        assert!(content(&app, item).await == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_part_leaves_nothing_of_any() {
    let app =
        TestApp::builder().with(|config| config.file_upload.max_file_size = ByteSize(50_000)).start().await;
    let good = bytes(40_000);
    let wrong_digest = format!("{}\r\nContent-Digest: {}", file("b"), content_digest(b"other"));
    let typed = |text: &str| format!("{}\r\n{text}", file("b"));
    let table: &[(&str, &[u8], u16, &str)] = &[
        (&wrong_digest, b"bytes", 422, "checksum-mismatch"),
        (&file("b"), &bytes(50_001), 413, "file-too-large"),
        (&file(""), b"x", 400, "invalid-request"),
        (&file("a%0Db"), b"x", 400, "invalid-request"),
        (&field("metadata.late"), b"x", 400, "invalid-request"),
        (&field("other"), b"x", 400, "invalid-request"),
        ("Content-Type: text/plain", b"x", 400, "invalid-request"),
        ("Content-Disposition: attachment; filename=\"b\"", b"x", 400, "invalid-request"),
        (&typed("Content-Type: multipart/mixed; boundary=x"), b"x", 400, "invalid-request"),
        (&typed("Content-Type: nonsense"), b"x", 400, "invalid-request"),
        (&typed("Content-Transfer-Encoding: base64"), b"x", 415, "unsupported-media-type"),
        (&typed("Content-Encoding: gzip"), b"x", 415, "unsupported-media-type"),
        (&typed("Content-Digest: sha-256=:AAAA:"), b"x", 400, "invalid-digest"),
        (&typed("no header"), b"x", 400, "invalid-request"),
    ];
    for (head, content, status, code) in table {
        let refused = send(&app, form(&[(&file("a"), &good), (head, content), (&file("c"), &good)])).await;
        refused.problem(*status, code);
        left(&app, 0).await;
    }
    send(&app, form(&[(&file("a"), &good), (&typed("Content-Transfer-Encoding: binary"), &good)]))
        .await
        .expect(201);
    left(&app, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_form_must_not_be_is_told() {
    let app = TestApp::start().await;
    let post = async |headers: &[(&str, &str)], path: &str, body: &[u8]| {
        app.send(Method::POST, path, headers, body.to_vec()).await
    };
    let good = form(&[(&file("a"), b"x")]);
    for boundary in [
        "",
        "; boundary=",
        "; boundary=\"a\r",
        "; boundary=other",
        "; boundary=li%mit",
        "; boundary=limit; boundary=x",
    ] {
        let content_type = format!("multipart/form-data{}", boundary.trim_end());
        post(&[("content-type", &content_type)], "/api/files", &good).await.problem(400, "invalid-request");
    }
    assert_eq!(post(&[FORM], "/api/files?filename=a", &good).await.pointers(), ["?filename"]);
    let digest = content_digest(&good);
    post(&[FORM, ("content-digest", &digest)], "/api/files", &good).await.problem(400, "invalid-digest");

    for body in [
        b"".as_slice(),
        b"--limit--",
        &form(&[]),
        &form(&[(&field("metadata.a"), b"x")]),
        &good[..good.len() - 4],
    ] {
        post(&[FORM], "/api/files", body).await.problem(400, "invalid-request");
    }
    let twice = send(&app, form(&[(&field("metadata.a"), b"x"), (&field("metadata.a"), b"y")])).await;
    assert_eq!(twice.pointers(), ["/metadata.a"]);
    assert_eq!(send(&app, form(&[(&field("upload"), b"x")])).await.pointers(), ["/upload"]);
    let long = send(&app, form(&[(&field("metadata.a"), &[b'x'; 9_000]), (&file("a"), b"x")])).await;
    assert_eq!(long.pointers(), ["/metadata.a"]);
    let latin = send(&app, form(&[(&field("metadata.a"), b"\xFF"), (&file("a"), b"x")])).await;
    assert_eq!(latin.pointers(), ["/metadata.a"]);

    let keys: Vec<String> = (0..65).map(|key| field(&format!("metadata.{key}"))).collect();
    let parts: Vec<(&str, &[u8])> = keys.iter().map(|head| (head.as_str(), b"x".as_slice())).collect();
    send(&app, form(&parts)).await.problem(400, "invalid-request");
    let names: Vec<String> = (0..101).map(|name| file(&name.to_string())).collect();
    let parts: Vec<(&str, &[u8])> = names.iter().map(|head| (head.as_str(), b"x".as_slice())).collect();
    send(&app, form(&parts)).await.problem(400, "invalid-request");
    left(&app, 0).await;
    send(&app, form(&parts[..100])).await.expect(201);
    left(&app, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_breaks_off_leaves_nothing() {
    let app = TestApp::start().await;
    let body = form(&[(&file("a"), &bytes(100_000)), (&file("b"), &bytes(900_000))]);
    let mut raw = Raw::to(&app).await;
    let length = format!("Content-Length: {}", body.len());
    raw.head("POST /api/files", &["Content-Type: multipart/form-data; boundary=limit", &length]).await;
    raw.send(&body[..700_000]).await;
    until("both are being taken in", async || (stored(&app).await == 2).then_some(())).await;
    drop(raw);
    left(&app, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_may_be_demanded_of_each_part() {
    let app =
        TestApp::builder().with(|config| config.file_upload.require_chunk_checksum = true).start().await;
    let with = format!("{}\r\nContent-Digest: {}", file("a"), content_digest(b"x"));
    send(&app, form(&[(&with, b"x"), (&file("b"), b"y")])).await.problem(400, "invalid-digest");
    left(&app, 0).await;
    send(&app, form(&[(&with, b"x")])).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_would_pass_the_quota_leaves_nothing_and_keeps_no_room() {
    let limits = |config: &mut Config| config.limits.tenant_max_bytes = Some(ByteSize(100_000));
    let app = TestApp::builder().with(limits).start().await;
    let half = bytes(50_000);
    let usage = async || {
        let usage = app.get("/api/usage").await.expect(200).json();
        (usage["stored_bytes"].as_u64().unwrap(), usage["reserved_bytes"].as_u64().unwrap())
    };
    for last in [b"x".as_slice(), &half] {
        // Each of them alone would fit.
        let refused = send(&app, form(&[(&file("a"), &half), (&file("b"), &half), (&file("c"), last)])).await;
        assert_eq!(refused.problem(413, "quota-exceeded")["limit_bytes"], 100_000);
        left(&app, 0).await;
        assert_eq!(usage().await, (0, 0));
    }
    send(&app, form(&[(&file("a"), &half), (&file("b"), &half), (&file("c"), b"")])).await.expect(201);
    send(&app, form(&[(&file("d"), b"x")])).await.problem(413, "quota-exceeded");
    left(&app, 3).await;
    assert_eq!(usage().await, (100_000, 0));
}
