//! Open mode over raw sockets: what a foreign web page could make a browser send is refused, before anything else.

use cifra::config::Config;

use crate::harness::{Answer, Raw, TestApp};

/// What `GET {target}` with these lines is answered with.
async fn ask(app: &TestApp, target: &str, lines: &[&str]) -> Answer {
    let mut raw = Raw::to(app).await;
    let lines: String = lines.iter().flat_map(|line| [line, "\r\n"]).collect();
    raw.send(format!("GET {target} HTTP/1.1\r\n{lines}\r\n").as_bytes()).await;
    raw.answer().await.unwrap()
}

async fn open(config: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::builder().with(config).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_not_this_machine_is_refused_everywhere() {
    let app = open(|_| {}).await;
    for host in ["localhost", "LocalHost:1", "127.0.0.1", "127.0.0.1:8080", "[::1]:9", "app.localhost"] {
        assert_eq!(ask(&app, "/api/uploads", &[&format!("Host: {host}")]).await.status, 200, "{host}");
    }
    for host in
        ["evil.example", "127.0.0.1.evil.example:80", "192.168.0.1", "0.0.0.0", "localhost.evil.example"]
    {
        for path in ["/api/uploads", "/metrics", "/healthz", "/nowhere"] {
            let refused = ask(&app, path, &[&format!("Host: {host}")]).await;
            assert_eq!(refused.status, 403, "{host} {path}: {}", refused.text());
            assert!(refused.text().contains("server.public_url"), "{}", refused.text());
        }
    }
    // A whole URL names the host too, whatever the header says (RFC 9112 3.2.2).
    assert_eq!(ask(&app, "http://evil.example/api/uploads", &["Host: localhost"]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_origin_is_refused_on_an_open_network_too() {
    let closed = open(|_| {}).await;
    let network = open(|config| config.auth.allow_open_network = true).await;
    assert_eq!(ask(&network, "/api/uploads", &["Host: media.lan"]).await.status, 200);
    for (app, host) in [(&closed, "localhost:8080"), (&network, "media.lan:8080")] {
        let own = format!("Origin: http://{host}");
        let host_line = format!("Host: {host}");
        assert_eq!(ask(app, "/api/uploads", &[&host_line, &own]).await.status, 200, "{own}");
        for origin in
            ["null", "", "http://evil.example", "http://localhost:3000", "file://", "http://media.lan"]
        {
            let foreign = format!("Origin: {origin}");
            let refused = ask(app, "/api/uploads", &[&host_line, &foreign]).await;
            assert_eq!(refused.status, 403, "{host} {origin}: {}", refused.text());
            let both = ask(app, "/api/uploads", &[&host_line, &own, &foreign]).await;
            // Of two nobody could say which one counts.
            assert_eq!(both.status, 400, "{host} {origin} beside its own");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_keys_neither_rule_is_needed() {
    let app = TestApp::builder().keys().start().await;
    let key = format!("Authorization: Bearer {}", crate::harness::OPERATOR);
    let lines = ["Host: files.example.com", "Origin: https://app.example.com", &key];
    assert_eq!(ask(&app, "/api/uploads", &lines).await.status, 200);
    assert_eq!(ask(&app, "/api/uploads", &lines[..2]).await.status, 401);
}
