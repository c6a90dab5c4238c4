//! Heads of requests that can be read in two ways, and those that are too large: refused, and what comes after them
//! is never taken for a request.

use crate::harness::{Raw, TestApp};

/// The status of the first answer to these bytes, if one came; after it the connection must be closed.
async fn only_answer(app: &TestApp, bytes: &[u8]) -> Option<u16> {
    let mut raw = Raw::to(app).await;
    raw.try_send(bytes).await;
    let answer = raw.answer().await?;
    raw.closed().await;
    Some(answer.status)
}

/// What an attacker would like to have answered.
const SECOND: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shapes_of_smuggling_are_refused_and_nothing_after_them_is_answered() {
    let app = TestApp::start().await;
    let post = "POST /api/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let heads = [
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Content-Length: 5, 6\r\n\r\nhello",
        "Content-Length: +5\r\n\r\nhello",
        "Content-Length: -5\r\n\r\nhello",
        "Content-Length: 0x5\r\n\r\nhello",
        "Content-Length: 5 5\r\n\r\nhello",
        "Content-Length:\r\n\r\nhello",
        "Content-Length: 99999999999999999999999999\r\n\r\nhello",
        "Content-Length : 5\r\n\r\nhello",
        "Content-Length: 5\r\n folded\r\n\r\nhello",
        " Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: identity\r\n\r\nhello",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2 2\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}X\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n\r\n{}\r\n0\r\n\r\n",
        "X-A: b\rX-B: c\r\nContent-Length: 0\r\n\r\n",
        "X-A: b\0\r\nContent-Length: 0\r\n\r\n",
        ": nameless\r\nContent-Length: 0\r\n\r\n",
    ];
    for head in heads {
        let status = only_answer(&app, format!("{post}{head}{SECOND}").as_bytes()).await;
        assert!(matches!(status, None | Some(400)), "{head:?} was answered {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_ways_to_tell_a_length_end_the_connection_after_one_answer() {
    let app = TestApp::start().await;
    // RFC 9112 6.1: chunked counts, and the connection is closed.
    for lengths in
        ["Content-Length: 6\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 6"]
    {
        let first = format!("POST /api/uploads HTTP/1.1\r\nHost: localhost\r\n{lengths}\r\n\r\n0\r\n\r\n");
        let status = only_answer(&app, format!("{first}{SECOND}").as_bytes()).await;
        assert_eq!(status, Some(400), "an upload without fields");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_one_host() {
    let app = TestApp::start().await;
    for head in [
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: somebody@a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a:port\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        "GET http://somebody@a/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http:///healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let status = only_answer(&app, format!("{head}{SECOND}").as_bytes()).await;
        assert_eq!(status, Some(400), "{head:?}");
    }
    for head in [
        "GET /healthz HTTP/1.1\r\nhOST: localhost:80\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        // What the target says counts, whatever Host is (RFC 9112 3.2.2).
        "GET http://localhost:8080/healthz HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
    ] {
        let mut raw = Raw::to(&app).await;
        raw.send(head.as_bytes()).await;
        raw.answer().await.unwrap().expect(200);
    }
    let mut raw = Raw::to(&app).await;
    raw.send(b"GET http://localhost/nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_told_so() {
    let app = TestApp::start().await;
    let long = "x".repeat(70_000);
    let many = "X-A: b\r\n".repeat(200);
    for (head, status) in [
        (format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n"), 431),
        (format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"), 431),
        (format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 431),
        (format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(2 << 20)), 431),
    ] {
        assert_eq!(only_answer(&app, head.as_bytes()).await, Some(status));
    }
    let fits = "x".repeat(60_000);
    app.get_with("/healthz", &[("x-long", &fits)]).await.expect(200);
}
