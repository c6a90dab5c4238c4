//! HTTP/2 without TLS, with prior knowledge, on the port where HTTP/1.1 is spoken too.

use std::time::Duration;

use axum::http::Method;
use futures_util::future::join_all;

use crate::harness::{NOBODY, Raw, TestApp, bytes};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame (RFC 9113 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /healthz` on `stream`: all of it in one HEADERS frame that ends the stream.
fn get_health(stream: u32) -> Vec<u8> {
    // :method GET and :scheme http are in the static table; :path and :authority are literals (RFC 7541 6.2.2).
    let block = [&[0x82, 0x86, 0x04, 8][..], b"/healthz", &[0x01, 9], b"localhost"].concat();
    frame(1, 0x4 | 0x1, stream, &block)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_comes_and_goes_over_http2_beside_http1() {
    let mut app = TestApp::start().await;
    let older = app.file(bytes(300_000)).await;
    app.speak_http2();
    let upload = app.upload_of_chunks(40).await;
    let chunks = (0..40).map(|index| app.put_chunk(&upload, index));
    for answer in join_all(chunks).await {
        answer.expect(200);
    }
    app.finalize(&upload).await.expect(201);
    let whole = app.get(&upload.content_path()).await.expect(200);
    assert!(whole.body == upload.bytes);
    let range = [("range", "bytes=100-199")];
    let part = app.get_with(&older.content_path(), &range).await.expect(206);
    assert_eq!(part.body, older.bytes[100..200]);
    app.get(&format!("/api/files/{NOBODY}")).await.problem(404, "file-not-found");
    let mut raw = Raw::to(&app).await;
    raw.head("GET /healthz", &[]).await;
    raw.answer().await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_that_is_refused_does_not_end_the_connection() {
    let mut app = TestApp::start().await;
    app.speak_http2();
    let upload = app.upload_of_chunks(2).await;
    let body = vec![7; 24 << 20];
    app.put(&upload.chunk_path(0), &body).await.problem(422, "chunk-size-mismatch");
    app.put(&upload.chunk_path(7), &body).await.problem(400, "chunk-out-of-range");
    app.put_chunk(&upload, 0).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_and_slow_bodies_are_judged_as_in_http1() {
    let lag = Duration::from_millis(300);
    let mut app = TestApp::builder().with(|config| config.server.body_idle_timeout = lag).start().await;
    app.speak_http2();
    let upload = app.upload_of_chunks(2).await;
    app.get_with("/healthz", &[("host", "elsewhere")]).await.problem(400, "invalid-request");
    let silent = reqwest::Body::wrap_stream(futures_util::stream::pending::<std::io::Result<Vec<u8>>>());
    let late = app.send(Method::PUT, &upload.chunk_path(0), &[], silent).await;
    late.problem(408, "request-timeout");
    assert_eq!(late.find("connection"), None);
    app.put_chunk(&upload, 0).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_begins_and_resets_requests_is_sent_away() {
    let app = TestApp::start().await;
    let mut raw = Raw::to(&app).await;
    raw.send(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await;
    let cancel = 8u32.to_be_bytes();
    let mut all = Vec::new();
    for stream in (1..20_000).step_by(2) {
        all.extend(get_health(stream));
        all.extend(frame(3, 0, stream, &cancel));
    }
    raw.try_send(&all).await;
    let said = raw.rest().await;
    // GOAWAY (7) with ENHANCE_YOUR_CALM (11) (RFC 9113 6.8, 7).
    let goaway = said.windows(9).position(|head| head[..5] == [0, 0, head[2], 7, 0] && head[2] >= 8);
    let at = goaway.expect("a GOAWAY") + 9;
    assert_eq!(said[at + 4..at + 8], 11u32.to_be_bytes());
    app.get("/healthz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_requests_is_closed_in_time() {
    let idle = Duration::from_millis(300);
    let app = TestApp::builder().with(|config| config.server.idle_timeout = idle).start().await;
    for first in [PREFACE.to_vec(), [PREFACE, &frame(4, 0, 0, &[])].concat(), PREFACE[..7].to_vec()] {
        let mut raw = Raw::to(&app).await;
        raw.send(&first).await;
        raw.rest().await;
    }
}
