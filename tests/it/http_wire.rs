//! Bytes on the wire that no client library sends: lengths that lie, bodies that stop, refusals in the middle.

use std::time::Duration;

use crate::harness::{NOBODY, Raw, TestApp, TestUpload};

fn put(upload: &TestUpload, index: usize) -> String {
    format!("PUT {}", upload.chunk_path(index))
}

/// `bytes` as one chunk of `Transfer-Encoding: chunked`, with the end after it.
fn chunked(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n0\r\n\r\n"].concat()
}

/// Nothing of the upload has changed: it is as new.
async fn untouched(app: &TestApp, upload: &TestUpload) {
    let status = app.status(upload).await;
    assert_eq!((&status["state"], &status["received_chunks"]), (&"receiving".into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunked_wins_over_a_length_and_the_connection_closes() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(3).await;
    let (te, cl) = ("Transfer-Encoding: chunked", "Content-Length: 5");
    for (index, headers) in [(0, [te, cl]), (1, [cl, te])] {
        let mut raw = Raw::to(&app).await;
        raw.head(&put(&upload, index), &headers).await;
        raw.send(&chunked(upload.chunk(index))).await;
        raw.answer().await.unwrap().expect(200);
        raw.closed().await;
    }
    assert_eq!(app.status(&upload).await["received_chunks"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_that_differ_or_are_none_are_refused() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(1).await;
    let right = format!("Content-Length: {}", upload.bytes.len());
    for headers in [
        vec![right.as_str(), "Content-Length: 7"],
        vec!["Content-Length: 7, 8"],
        vec!["Content-Length: -1"],
        vec!["Content-Length: +5"],
        vec!["Content-Length: 0x10"],
        vec!["Content-Length: 99999999999999999999999"],
        vec!["Transfer-Encoding: gzip"],
        vec!["Transfer-Encoding: chunked, gzip"],
        vec!["X-A: b\r\n folded: c", "Content-Length : 5"],
    ] {
        let mut raw = Raw::to(&app).await;
        raw.head(&put(&upload, 0), &headers).await;
        assert_eq!(raw.answer().await.unwrap().status, 400, "{headers:?}");
        raw.closed().await;
    }
    untouched(&app, &upload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_ends_before_its_length_counts_nothing() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let mut raw = Raw::to(&app).await;
    raw.head(&put(&upload, 0), &[&format!("Content-Length: {}", upload.chunk_size)]).await;
    raw.send(&upload.chunk(0)[1..]).await;
    raw.finish_sending().await;
    // The sender still listens, and is told; or it is not, and sees the end.
    if let Some(answer) = raw.answer().await {
        answer.problem(400, "invalid-request");
    }
    raw.closed().await;
    untouched(&app, &upload).await;
    app.put_chunk(&upload, 0).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_after_a_body_are_the_next_request_never_part_of_it() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(1).await;
    let mut raw = Raw::to(&app).await;
    let length = format!("Content-Length: {}", upload.bytes.len());
    raw.head(&put(&upload, 0), &[&length]).await;
    raw.send(&[upload.chunk(0), b"surplus that is no request\r\n\r\n"].concat()).await;
    raw.answer().await.unwrap().expect(200);
    assert_eq!(raw.answer().await.unwrap().status, 400);
    raw.closed().await;
    app.finalize(&upload).await.expect(201);
    assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_body_of_another_size_is_refused() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    for received in [0, upload.chunk_size - 1, upload.chunk_size + 1, upload.chunk_size * 3] {
        let mut raw = Raw::to(&app).await;
        raw.head(&put(&upload, 0), &["Transfer-Encoding: chunked"]).await;
        raw.send(&chunked(&vec![1; received])).await;
        let problem = raw.answer().await.unwrap().problem(422, "chunk-size-mismatch");
        assert_eq!(problem["expected_size"], upload.chunk_size);
        let told = usize::try_from(problem["received_size"].as_u64().unwrap()).unwrap();
        if received < upload.chunk_size {
            assert_eq!(told, received);
        } else {
            // It is not read to its end to be counted.
            assert!(upload.chunk_size < told && told <= received, "{told} of {received}");
        }
    }
    untouched(&app, &upload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_body_that_breaks_its_form_counts_nothing() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    for garbage in ["zz\r\n", "-1\r\n", "5\r\nabcdefgh\r\n0\r\n\r\n", "ffffffffffffffffff\r\n"] {
        let mut raw = Raw::to(&app).await;
        raw.head(&put(&upload, 0), &["Transfer-Encoding: chunked"]).await;
        raw.send(garbage.as_bytes()).await;
        if let Some(answer) = raw.answer().await {
            answer.problem(400, "invalid-request");
        }
        raw.closed().await;
    }
    untouched(&app, &upload).await;
    let mut raw = Raw::to(&app).await;
    raw.head(&put(&upload, 0), &["Transfer-Encoding: chunked"]).await;
    raw.send(&chunked(upload.chunk(0))).await;
    raw.answer().await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_before_sending_is_refused_before_sending() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let expect = "Expect: 100-continue";
    let nobody = format!("PUT /api/uploads/{NOBODY}/chunks/0");
    for (line, length, status, code) in [
        (put(&upload, 0), upload.chunk_size + 1, 422, "chunk-size-mismatch"),
        (put(&upload, 2), upload.chunk_size, 400, "chunk-out-of-range"),
        (nobody, upload.chunk_size, 404, "upload-not-found"),
        (format!("PUT {}/chunks/x", upload.path), upload.chunk_size, 400, "invalid-request"),
        ("PUT /nowhere".to_owned(), upload.chunk_size, 404, "not-found"),
        ("POST /healthz".to_owned(), upload.chunk_size, 405, "method-not-allowed"),
    ] {
        let mut raw = Raw::to(&app).await;
        raw.head(&line, &[&format!("Content-Length: {length}"), expect]).await;
        // Not 100 first: the body was never asked for.
        raw.answer().await.unwrap().problem(status, code);
        raw.closed().await;
    }
    let mut raw = Raw::to(&app).await;
    raw.head(&put(&upload, 0), &[&format!("Content-Length: {}", upload.chunk_size), expect]).await;
    assert_eq!(raw.answer().await.unwrap().status, 100);
    raw.send(upload.chunk(0)).await;
    raw.answer().await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_while_sending_still_gets_the_answer() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let chunk = put(&upload, 0);
    let body = vec![7; 8 << 20];
    let length = format!("Content-Length: {}", body.len());
    let gone = app.upload_of_chunks(1).await;
    app.delete(&gone.path).await.expect(204);
    for (line, header, status, code) in [
        (chunk.clone(), "X-A: b", 422, "chunk-size-mismatch"),
        (chunk.clone(), "Content-Encoding: gzip", 415, "unsupported-media-type"),
        (chunk.clone(), "Content-Digest: x", 400, "invalid-digest"),
        (format!("{chunk}?replace=x"), "X-A: b", 400, "invalid-request"),
        (put(&upload, 5), "X-A: b", 400, "chunk-out-of-range"),
        (format!("PUT {}/chunks/-1", upload.path), "X-A: b", 400, "invalid-request"),
        (put(&gone, 0), "X-A: b", 410, "upload-gone"),
        ("POST /api/uploads".to_owned(), "X-A: b", 400, "invalid-request"),
        ("PUT /nowhere".to_owned(), "X-A: b", 404, "not-found"),
        ("POST /healthz".to_owned(), "X-A: b", 405, "method-not-allowed"),
        ("GET /healthz".to_owned(), "X-A: b", 200, ""),
    ] {
        let mut raw = Raw::to(&app).await;
        raw.head(&line, &[&length, header]).await;
        raw.send(&body).await;
        let answer = raw.answer().await.unwrap_or_else(|| panic!("{line}: the answer was lost"));
        if code.is_empty() {
            answer.expect(status);
        } else {
            answer.problem(status, code);
        }
    }
    untouched(&app, &upload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_refusal_the_connection_goes_on_if_the_body_was_read() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(1).await;
    let mut raw = Raw::to(&app).await;
    raw.head(&put(&upload, 0), &[&format!("Content-Length: {}", upload.bytes.len() + 1)]).await;
    raw.send(&vec![0; upload.bytes.len() + 1]).await;
    raw.answer().await.unwrap().problem(422, "chunk-size-mismatch");
    raw.head(&put(&upload, 0), &[&format!("Content-Length: {}", upload.bytes.len())]).await;
    raw.send(&upload.bytes).await;
    raw.answer().await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stands_still_is_given_up() {
    let app = TestApp::builder()
        .with(|config| config.server.body_idle_timeout = Duration::from_millis(200))
        .start()
        .await;
    let upload = app.upload_of_chunks(1).await;
    let length = format!("Content-Length: {}", upload.bytes.len());
    let finalize = format!("POST {}/finalize", upload.path);
    let json = "Content-Type: application/json";
    for (line, first) in [
        (put(&upload, 0), &upload.bytes[..1000]),
        (put(&upload, 0), &b""[..]),
        (finalize, &b"{"[..]),
        ("POST /api/uploads".to_owned(), &b"{\"filename\""[..]),
    ] {
        let mut raw = Raw::to(&app).await;
        raw.head(&line, &[&length, json]).await;
        raw.send(first).await;
        let answer = raw.answer().await.unwrap();
        answer.problem(408, "request-timeout");
        assert_eq!(answer.header("connection"), "close");
        raw.closed().await;
    }
    untouched(&app, &upload).await;
    app.put_chunk(&upload, 0).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dots_in_a_path_lead_nowhere() {
    let app = TestApp::start().await;
    for (path, status, code) in [
        ("/api/uploads/%2e%2e", 400, "invalid-request"),
        ("/api/uploads/..", 400, "invalid-request"),
        ("/api/files/%2e%2e%2fcifra.db", 400, "invalid-request"),
        ("/api/files/../../cifra.db/content", 404, "not-found"),
        ("/api/%2e%2e/%2e%2e/etc/passwd", 404, "not-found"),
        ("/../../etc/passwd", 404, "not-found"),
    ] {
        let mut raw = Raw::to(&app).await;
        raw.head(&format!("GET {path}"), &[]).await;
        raw.answer().await.unwrap().problem(status, code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_larger_than_allowed_is_refused() {
    let app = TestApp::start().await;
    let mut raw = Raw::to(&app).await;
    let long = format!("X-Long: {}", "x".repeat(1 << 20));
    let head = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{long}\r\n\r\n");
    raw.try_send(head.as_bytes()).await;
    if let Some(answer) = raw.answer().await {
        assert_eq!(answer.status, 431);
    }
    let mut raw = Raw::to(&app).await;
    let many: Vec<String> = (0..200).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    raw.head("GET /healthz", &many).await;
    assert_eq!(raw.answer().await.unwrap().status, 431);
    app.get("/healthz").await.expect(200);
}
