//! Reports to Sentry: what goes out and what never does. A listener of the test's own plays Sentry.
//!
//! `make test` builds with the feature `sentry`; what a build without it says is tested by any run without it.

use crate::harness::process::Server;

#[cfg(not(feature = "sentry"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_without_sentry_says_once_that_nothing_will_be_reported() {
    let mut server = Server::new();
    server.env("SENTRY_DSN", "http://public@127.0.0.1:9/7");
    server.begin(None).await;
    assert_eq!(server.log().matches("built without Sentry").count(), 1, "{}", server.log());
}

#[cfg(feature = "sentry")]
mod with_sentry {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use serde_json::Value;

    use super::Server;

    /// Plays the ingest endpoint: takes envelopes and keeps them.
    struct Ingest {
        dsn: String,
        bodies: Arc<Mutex<Vec<String>>>,
    }

    impl Ingest {
        fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let dsn = format!("http://public@{}/7", listener.local_addr().unwrap());
            let bodies = Arc::new(Mutex::new(Vec::new()));
            let kept = Arc::clone(&bodies);
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let kept = Arc::clone(&kept);
                    std::thread::spawn(move || {
                        while let Some(body) = take(&stream) {
                            kept.lock().unwrap().push(body);
                        }
                    });
                }
            });
            Self { dsn, bodies }
        }

        /// The events of all envelopes: the lines that have a message.
        fn events(&self) -> Vec<Value> {
            let bodies = self.bodies.lock().unwrap();
            let lines = bodies.iter().flat_map(|body| body.lines());
            let items = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            items.filter(|item| item.get("message").is_some()).collect()
        }
    }

    /// One request's body; it is answered. `None` when the connection ends.
    fn take(mut stream: &TcpStream) -> Option<String> {
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").ok()?;
        Some(String::from_utf8(body).unwrap())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn errors_and_panics_are_reported_with_their_request_and_nothing_of_its_content() {
        let ingest = Ingest::start();
        let mut server = Server::new();
        server.env("SENTRY_DSN", &ingest.dsn);
        server.begin(Some("chunk.before_write=panic")).await;
        let (http, url) =
            (reqwest::Client::builder().no_proxy().build().unwrap(), server.api.url().to_owned());
        let new = serde_json::json!({ "filename": "sekret.txt", "total_size": 11 });
        let created: Value =
            http.post(format!("{url}/api/uploads")).json(&new).send().await.unwrap().json().await.unwrap();
        let chunk = format!("{url}/api/uploads/{}/chunks/0", created["upload_id"].as_str().unwrap());
        let put = http.put(chunk).header("x-request-id", "report-me").bearer_auth("sekret-key");
        assert_eq!(put.body("sekret-body").send().await.unwrap().status(), 500);
        // What a client did wrong is nothing to report.
        assert_eq!(http.get(format!("{url}/api/files/sekret")).send().await.unwrap().status(), 400);
        server.stop().await;

        let events = ingest.events();
        let messages: Vec<&str> = events.iter().map(|event| event["message"].as_str().unwrap()).collect();
        assert_eq!(events.len(), 2, "{messages:?}");
        assert!(messages[0].starts_with("panicked at src/telemetry/failpoint.rs:"), "{messages:?}");
        assert!(messages[1].starts_with("error at src/http/layers.rs:"), "{messages:?}");
        for event in &events {
            assert_eq!(event["tags"]["request_id"], "report-me", "{event}");
            assert_eq!(event["tags"]["route"], "/api/uploads/{id}/chunks/{index}", "{event}");
            assert_eq!(event["release"], concat!("cifra@", env!("CARGO_PKG_VERSION")), "{event}");
            for never in ["sekret", "127.0.0.1", "server_name", "user"] {
                assert!(!event.to_string().contains(never), "{never} in {event}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_sentry_that_never_answers_does_not_hold_the_stop() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Server::new();
        server.env("SENTRY_DSN", &format!("http://public@{}/7", silent.local_addr().unwrap()));
        server.begin(Some("chunk.before_write=panic")).await;
        let id = server.api.create(1).await;
        assert_eq!(server.api.put(&id, 0, b"x").await.unwrap().status, 500);
        let (status, took) = server.stop().await;
        assert!(status.success(), "{}", server.log());
        assert!(took < Duration::from_secs(10), "{took:?}");
    }

    #[tokio::test]
    async fn a_dsn_that_is_none_is_refused_at_start() {
        let mut server = Server::new();
        server.env("SENTRY_DSN", "sentry.example.com");
        let said = server.refuses();
        assert!(said.contains("SENTRY_DSN is not of the form"), "{said}");
        assert!(!said.contains("sentry.example.com"), "a DSN is a secret: {said}");
    }
}
