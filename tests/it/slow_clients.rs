//! Clients that take their time: bodies that trickle, answers that nobody reads, connections that say nothing; and
//! too many of them. Whoever works meanwhile does not notice.

use std::time::{Duration, Instant};

use cifra::config::ByteSize;
use futures_util::future::join_all;

use crate::harness::{Raw, TestApp, bytes};

/// Visible files of the store that this process has open.
fn open_blobs(app: &TestApp) -> usize {
    let blobs = app.folder().join("blobs/blobs");
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter(|link| {
            link.as_ref()
                .is_ok_and(|link| std::fs::read_link(link.path()).is_ok_and(|to| to.starts_with(&blobs)))
        })
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_trickles_is_given_up_and_its_chunk_is_free() {
    let app = TestApp::builder()
        .with(|config| {
            config.server.body_idle_timeout = Duration::from_millis(400);
            config.server.body_min_rate = ByteSize(16 << 10);
        })
        .start()
        .await;
    let upload = app.upload_of_chunks(1).await;
    let mut raw = Raw::to(&app).await;
    let length = format!("Content-Length: {}", upload.bytes.len());
    raw.head(&format!("PUT {}", upload.chunk_path(0)), &[&length]).await;
    let begun = Instant::now();
    // Never silent for long, never fast enough: about a kilobyte a second.
    let mut sent = 0;
    while sent < 200
        && raw.try_send(&upload.bytes[sent * 20..][..20]).await
        && begun.elapsed() < Duration::from_secs(2)
    {
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = raw.answer().await.unwrap();
    answer.problem(408, "request-timeout");
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(app.status(&upload).await["received_chunks"], 0);
    app.put_chunk(&upload, 0).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_slow_but_fast_enough_is_taken() {
    let app = TestApp::builder()
        .with(|config| {
            config.server.body_idle_timeout = Duration::from_millis(800);
            config.server.body_min_rate = ByteSize(16 << 10);
        })
        .start()
        .await;
    let upload = app.upload_of_chunks(1).await;
    let mut raw = Raw::to(&app).await;
    let length = format!("Content-Length: {}", upload.bytes.len());
    raw.head(&format!("PUT {}", upload.chunk_path(0)), &[&length]).await;
    for part in upload.bytes.chunks(2000) {
        raw.send(part).await;
        tokio::time::sleep(Duration::from_millis(50)).await; // 40 kB/s
    }
    raw.answer().await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_an_answer_loses_the_connection_and_the_file_is_closed() {
    let app =
        TestApp::builder().with(|config| config.server.write_timeout = Duration::from_secs(1)).start().await;
    let file = app.file(bytes(16 << 20)).await;
    let before = open_blobs(&app); // the upload's own, which became the file
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::to(&app).await;
        raw.head(&format!("GET {}", file.content_path()), &[]).await;
        stalled.push(raw);
    }
    let begun = Instant::now();
    while open_blobs(&app) <= before {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody began to read");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while open_blobs(&app) > before {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} files are still open", open_blobs(&app));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(stalled);
    assert_eq!(app.get(&file.content_path()).await.expect(200).body, file.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_requests_is_closed_in_time() {
    let idle = Duration::from_millis(400);
    let app = TestApp::builder().with(|config| config.server.idle_timeout = idle).start().await;
    Raw::to(&app).await.closed().await;
    let mut once = Raw::to(&app).await;
    once.head("GET /healthz", &[]).await;
    once.answer().await.unwrap().expect(200);
    once.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_rested_goes_on_where_it_was() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(3).await;
    let mut raw = Raw::to(&app).await;
    let mut split = Raw::to(&app).await;
    split.head("GET /healthz", &[]).await;
    split.answer().await.unwrap().expect(200);
    split.send(b"GET /heal").await;
    for index in 0..3 {
        let chunk = upload.chunk(index);
        raw.head(
            &format!("PUT {}", upload.chunk_path(index)),
            &[&format!("Content-Length: {}", chunk.len())],
        )
        .await;
        raw.send(chunk).await;
        raw.answer().await.unwrap().expect(200);
        tokio::time::sleep(Duration::from_millis(1300)).await; // long enough to rest
    }
    split
        .send(b"thz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    split.answer().await.unwrap().expect(200);
    split.answer().await.unwrap().expect(200);
    app.finalize(&upload).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_is_told_so_at_once() {
    let app = TestApp::builder().with(|config| config.server.max_connections = 3).start().await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::to(&app).await;
        raw.head("GET /healthz", &[]).await;
        raw.answer().await.unwrap().expect(200);
        held.push(raw);
    }
    let mut late = Raw::to(&app).await;
    late.head("PUT /api/uploads/x/chunks/0", &["Content-Length: 10000"]).await;
    late.send(&[0; 10_000]).await;
    let refused = late.answer().await.unwrap();
    assert_eq!(
        (refused.status, refused.header("retry-after"), refused.header("connection")),
        (503, "1", "close")
    );
    let problem: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["code"], "overloaded");
    late.closed().await;
    // Whoever is in goes on; when one leaves there is room again.
    held[0].head("GET /healthz", &[]).await;
    held[0].answer().await.unwrap().expect(200);
    held.pop();
    let begun = Instant::now();
    loop {
        let mut next = Raw::to(&app).await;
        next.head("GET /healthz", &[]).await;
        if next.answer().await.is_some_and(|answer| answer.status == 200) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "there was no room again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_to_a_refused_body_of_any_size_arrives() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let body = vec![7; 48 << 20];
    let mut raw = Raw::to(&app).await;
    raw.head(&format!("PUT {}", upload.chunk_path(0)), &[&format!("Content-Length: {}", body.len())]).await;
    raw.send(&body).await;
    raw.answer().await.unwrap().problem(422, "chunk-size-mismatch");
    raw.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_connections_are_in_nobodys_way() {
    let app = TestApp::start().await;
    let mut idle = Vec::new();
    for n in 0..2000 {
        let mut raw = Raw::to(&app).await;
        if n % 2 == 0 {
            raw.head("GET /healthz", &[]).await;
            raw.answer().await.unwrap().expect(200);
        }
        idle.push(raw);
    }
    let uploads = join_all((0..8).map(|_| app.upload_of_chunks(8))).await;
    join_all(uploads.iter().map(|upload| app.put_all(upload))).await;
    for upload in &uploads {
        app.finalize(upload).await.expect(201);
    }
    for n in [0, 1, 1000, 1999] {
        idle[n].head("GET /healthz", &[]).await;
        idle[n].answer().await.unwrap().expect(200);
    }
}
