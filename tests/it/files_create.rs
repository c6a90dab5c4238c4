//! `POST /api/files` with a raw body: one request makes a file, or nothing.

use axum::http::Method;
use cifra::config::ByteSize;
use serde_json::json;

use crate::harness::process::until;
use crate::harness::{Answer, Raw, TestApp, bytes, content_digest, crc64_header, crc64_text, sha256_text};

async fn create(app: &TestApp, query: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    app.send(Method::POST, &format!("/api/files{query}"), headers, body.to_vec()).await
}

/// Whatever lies in the store, or is on its way there. (A folder has a lock and an identity besides.)
pub(crate) async fn stored(app: &TestApp) -> usize {
    if app.on_a_folder() {
        return ["blobs/staging", "blobs/tmp", "blobs/blobs"]
            .map(|folder| app.files_below(folder).len())
            .iter()
            .sum();
    }
    let announced = app.number_in_database("SELECT COUNT(*) FROM cifra_blob_deletions").await;
    let files = app.number_in_database("SELECT COUNT(*) FROM cifra_files").await;
    app.blobs().await.len().max(usize::try_from(announced + files).unwrap())
}

/// Waits until just these blobs are left.
pub(crate) async fn left(app: &TestApp, blobs: usize) {
    until("nothing else is left", async || (stored(app).await == blobs).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_makes_a_file() {
    let app = TestApp::start().await;
    for size in [0, 1, 10_240, 300_000, 3_000_000] {
        let content = bytes(size);
        let headers =
            [("content-type", "application/x-own"), ("x-checksum-crc64nvme", &crc64_header(&content))];
        let query = "?filename=a%20b.bin&metadata.project=x&metadata.empty=";
        let created = create(&app, query, &headers, &content).await.expect(201);
        let file = created.json();
        let path = format!("/api/files/{}", file["id"].as_str().unwrap());
        assert_eq!(created.header("location"), path);
        assert_eq!(file["filename"], "a b.bin");
        assert_eq!(file["size"], size);
        assert_eq!(file["content_type"], "application/x-own");
        assert_eq!(file["checksum"], sha256_text(&content));
        assert_eq!(file["crc64nvme"], crc64_text(&content));
        assert_eq!(file["metadata"], json!({ "project": "x", "empty": "" }));
        assert_eq!(file["version"], 1);
        assert_eq!(app.get(&path).await.expect(200).json(), file);
        assert!(app.get(&format!("{path}/content")).await.expect(200).body == content);
        app.delete(&path).await.expect(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_request_is_told() {
    let app = TestApp::start().await;
    assert_eq!(create(&app, "", &[], b"x").await.pointers(), ["?filename"]);
    assert_eq!(create(&app, "?filename=a&filename=b", &[], b"x").await.pointers(), ["?filename"]);
    assert_eq!(create(&app, "?filename=a&size=1", &[], b"x").await.pointers(), ["?size"]);
    let twice = "?filename=a&metadata.k=1&metadata.k=2";
    assert_eq!(create(&app, twice, &[], b"x").await.pointers(), ["?metadata.k"]);
    for query in ["?filename=", "?filename=a%0Ab", "?filename=a&metadata.=1"] {
        create(&app, query, &[], b"x").await.problem(400, "invalid-request");
    }
    create(&app, "?filename=a", &[("content-type", "not a type")], b"x")
        .await
        .problem(400, "invalid-request");
    let encoded = [("content-encoding", "gzip")];
    create(&app, "?filename=a", &encoded, b"x").await.problem(415, "unsupported-media-type");
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_does_not_hold_leaves_nothing() {
    let app = TestApp::start().await;
    let (right, wrong) = (content_digest(b"right"), content_digest(b"wrong"));
    create(&app, "?filename=a", &[("content-digest", &right)], b"right").await.expect(201);
    assert_eq!(stored(&app).await, 1);
    let refused = create(&app, "?filename=a", &[("content-digest", &wrong)], b"right").await;
    let problem = refused.problem(422, "checksum-mismatch");
    assert_eq!(problem["algorithm"], "sha256");
    assert_eq!(problem["expected"], sha256_text(b"wrong"));
    assert_eq!(problem["actual"], sha256_text(b"right"));
    let crc = crc64_header(b"wrong");
    let refused = create(&app, "?filename=a", &[("x-checksum-crc64nvme", &crc)], b"right").await;
    assert_eq!(refused.problem(422, "checksum-mismatch")["algorithm"], "crc64nvme");
    let unreadable = [("content-digest", "sha-256=nonsense")];
    create(&app, "?filename=a", &unreadable, b"right").await.problem(400, "invalid-digest");
    left(&app, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_may_be_demanded() {
    let app =
        TestApp::builder().with(|config| config.file_upload.require_chunk_checksum = true).start().await;
    create(&app, "?filename=a", &[], b"x").await.problem(400, "invalid-digest");
    create(&app, "?filename=a", &[("x-checksum-crc64nvme", &crc64_header(b"x"))], b"x").await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_is_refused_before_it_is_read_or_cut_where_nobody_told() {
    let app =
        TestApp::builder().with(|config| config.file_upload.max_file_size = ByteSize(100_000)).start().await;
    create(&app, "?filename=a", &[], &bytes(100_000)).await.expect(201);

    let mut raw = Raw::to(&app).await;
    raw.head("POST /api/files?filename=a", &["Content-Length: 100001"]).await;
    let problem = raw.answer().await.unwrap().problem(413, "file-too-large");
    assert_eq!(problem["max_bytes"], 100_000);

    let mut raw = Raw::to(&app).await;
    raw.head("POST /api/files?filename=a", &["Transfer-Encoding: chunked"]).await;
    for _ in 0..3 {
        raw.send(b"9c40\r\n").await; // 40,000
        raw.send(&bytes(40_000)).await;
        raw.send(b"\r\n").await;
    }
    raw.send(b"0\r\n\r\n").await;
    let problem = raw.answer().await.unwrap().problem(413, "file-too-large");
    assert_eq!(problem["max_bytes"], 100_000);
    left(&app, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_leaves_nothing() {
    let app = TestApp::start().await;
    for headers in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut raw = Raw::to(&app).await;
        raw.head("POST /api/files?filename=a", &[headers]).await;
        if headers.starts_with("Transfer") {
            raw.send(b"f4240\r\n").await;
        }
        raw.send(&bytes(600_000)).await;
        until("it is being taken in", async || (stored(&app).await == 1).then_some(())).await;
        drop(raw);
        left(&app, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_bytes_say_what_a_file_is() {
    let app = TestApp::start().await;
    let table: &[(&[u8], &str, &str, &str)] = &[
        (b"<!DOCTYPE html><script>alert(1)</script>", "image/png", "text/html", "attachment"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png", "image/svg+xml", "attachment"),
        (b"alert(1)", "image/png", "text/plain", "inline"),
        (b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR\0\0\0\x01\0\0\0\x01", "text/html", "image/png", "inline"),
        (b"PK\x03\x04\x14\0\0\0\0\0", "application/msword", "application/msword", "attachment"),
        (b"PK\x03\x04\x14\0\0\0\0\0", "image/png", "application/zip", "attachment"),
        (b"", "image/png", "image/png", "inline"),
    ];
    for (content, claimed, found, disposition) in table {
        let raw = create(&app, "?filename=a", &[("content-type", claimed)], content).await.expect(201);
        let by_chunks = app.file_with(content.to_vec(), json!({ "content_type": claimed })).await;
        for path in [raw.header("location"), &by_chunks.file_path()] {
            let file = app.get(path).await.expect(200).json();
            assert_eq!(file["content_type"], *found, "{}", String::from_utf8_lossy(content));
            let answer = app.get(&format!("{path}/content")).await.expect(200);
            assert_eq!(answer.header("content-type"), *found);
            assert!(answer.header("content-disposition").starts_with(disposition), "{claimed} {found}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
        }
    }
    // What curl says by itself of --data-binary is no claim.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let file = create(&app, "?filename=a", &form, b"text").await.expect(201).json();
    assert_eq!(file["content_type"], "application/octet-stream");
}
