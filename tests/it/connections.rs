//! What holds for a connection whatever is asked on it: which protocol it speaks, how many there may be, how slow
//! it may be, and that its `Host` is one.

use std::time::Duration;

use cifra::config::ByteSize;
use futures_util::StreamExt;

use crate::harness::process::{Server, until};
use crate::harness::{Raw, TestApp, bytes, prior_knowledge};

const NOT_LONG: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_and_its_download_go_over_http2_without_tls() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(3).await;
    let http = prior_knowledge();
    let url = |path: &str| format!("http://{}{path}", app.address);
    // All on one connection, at once.
    let puts = (0..3).map(|index| {
        let (http, chunk) = (http.clone(), upload.chunk(index).to_vec());
        let url = url(&upload.chunk_path(index));
        async move { http.put(url).body(chunk).send().await.unwrap() }
    });
    for answer in futures_util::future::join_all(puts).await {
        assert_eq!((answer.status(), answer.version()), (200.try_into().unwrap(), reqwest::Version::HTTP_2));
    }
    let done = http.post(url(&format!("{}/finalize", upload.path))).send().await.unwrap();
    assert_eq!(done.status(), 201);
    let content = http.get(url(&upload.content_path())).send().await.unwrap();
    assert_eq!(content.version(), reqwest::Version::HTTP_2);
    assert_eq!(content.bytes().await.unwrap(), upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_begins_like_the_preface_of_http2_is_http1() {
    let app = TestApp::start().await;
    for pieces in [["P", "OST /healthz"], ["PR", "OPFIND /healthz"]] {
        let mut raw = Raw::to(&app).await;
        raw.send(pieces[0].as_bytes()).await;
        tokio::task::yield_now().await;
        raw.head(pieces[1], &[]).await;
        raw.answer().await.unwrap().problem(405, "method-not-allowed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_needed_once_and_must_be_one() {
    let app = TestApp::start().await;
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: local host\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: user@localhost\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost/path\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHost: [::1]:8080\r\n", 200),
        ("GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n", 200),
        // HTTP/1.0 knew no Host.
        ("GET /healthz HTTP/1.0\r\n", 200),
    ] {
        let mut raw = Raw::to(&app).await;
        raw.send(format!("{head}\r\n").as_bytes()).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status, status, "{head}");
        if status == 400 {
            assert!(answer.text().contains("\"code\":\"invalid-request\""), "{head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_too_many_is_told_so_and_the_others_go_on() {
    let app = TestApp::builder().with(|config| config.server.max_connections = 2).start().await;
    let mut first = Raw::to(&app).await;
    let mut second = Raw::to(&app).await;
    for raw in [&mut first, &mut second] {
        raw.head("GET /healthz", &[]).await;
        raw.answer().await.unwrap().expect(200);
    }
    let mut third = Raw::to(&app).await;
    let refused = third.answer().await.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert!(refused.text().contains("\"code\":\"overloaded\""));
    third.closed().await;
    second.head("GET /healthz", &[]).await;
    second.answer().await.unwrap().expect(200);
    // A place that gets free is taken again.
    drop(first);
    until("a place is free", async || {
        let mut next = Raw::to(&app).await;
        next.try_send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        (next.answer().await?.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_only_trickles_is_given_up_and_its_chunk_is_free() {
    let app = TestApp::builder()
        .with(|config| {
            config.server.body_idle_timeout = NOT_LONG;
            config.server.body_min_rate = ByteSize(16 << 10);
        })
        .start()
        .await;
    let upload = app.upload_of_chunks(1).await;
    let mut raw = Raw::to(&app).await;
    let length = format!("Content-Length: {}", upload.bytes.len());
    raw.head(&format!("PUT {}", upload.chunk_path(0)), &[&length]).await;
    // Never silent for as long as is allowed, and far below the rate.
    let mut trickle = upload.bytes.chunks(10);
    let mut sent = true;
    while sent && let Some(drops) = trickle.next() {
        tokio::time::sleep(NOT_LONG / 10).await;
        sent = !raw.has_answer().await && raw.try_send(drops).await;
    }
    raw.answer().await.unwrap().problem(408, "request-timeout");
    raw.closed().await;
    app.put_chunk(&upload, 0).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_loses_its_connection_and_frees_the_file() {
    let server = Server::start_with(&[("server.write_timeout", "300ms")]).await;
    // More than the buffers of both ends hold.
    let file = server.api.file(&bytes(16 << 20)).await;
    let path = format!("/api/files/{file}/content");
    let url = format!("{}{path}", server.api.url());
    let before = server.descriptors();

    let address = server.api.url().strip_prefix("http://").unwrap().parse().unwrap();
    let mut stalled = Raw::to_address(address).await;
    stalled.head(&format!("GET {path}"), &[]).await;
    let http2 = prior_knowledge();
    let mut stream = http2.get(&url).send().await.unwrap().bytes_stream();
    stream.next().await.unwrap().unwrap();
    until("both files are open", async || (server.blobs_open() == 2).then_some(())).await;
    until("both are closed", async || (server.blobs_open() == 0).then_some(())).await;
    until("no connection is left", async || (server.descriptors() <= before).then_some(())).await;
    // Who reads gets all of it.
    let whole = reqwest::get(&url).await.unwrap().bytes().await.unwrap();
    assert_eq!(whole.len(), 16 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_do_not_hinder_an_upload() {
    cifra::ops::descriptors::raise();
    let server = Server::start().await;
    let address = server.api.url().strip_prefix("http://").unwrap().parse().unwrap();
    let mut idle = Vec::new();
    for count in 0..1_000 {
        let mut raw = Raw::to_address(address).await;
        match count % 3 {
            // One that says nothing, one in the middle of a head, one between two requests.
            0 => {}
            1 => raw.send(b"GET /healthz HTTP/1.1\r\nHost: loc").await,
            _ => {
                raw.head("GET /healthz", &[]).await;
                raw.answer().await.unwrap().expect(200);
            }
        }
        idle.push(raw);
    }
    let sent = bytes(3 << 20);
    let file = server.api.file(&sent).await;
    let url = format!("{}/api/files/{file}/content", server.api.url());
    assert_eq!(reqwest::get(url).await.unwrap().bytes().await.unwrap(), sent);
    // And they are still there.
    let mut last = idle.pop().unwrap();
    last.send(b"").await;
    assert!(!last.has_answer().await);
}
