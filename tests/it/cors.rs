//! Pages of other origins, as a browser lets them call (the Fetch standard's CORS protocol).

use axum::http::Method;

use crate::harness::TestApp;
use crate::harness::config::loaded;

const ALLOWED: &str = "https://app.example.com";

async fn app() -> TestApp {
    let origins =
        loaded(&format!("server: {{ cors: {{ allowed_origins: [\"{ALLOWED}\"] }} }}")).server.allowed_origins;
    TestApp::builder().with(|config| config.server.allowed_origins = origins).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowed_page_is_told_what_it_may_send_and_reads_what_it_needs() {
    let app = app().await;
    let asked = [
        ("origin", ALLOWED),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization,x-checksum-crc64nvme"),
    ];
    let path = "/api/uploads/0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c/chunks/0";
    let told = app.send(Method::OPTIONS, path, &asked, "").await.expect(200);
    assert_eq!(told.header("access-control-allow-origin"), ALLOWED);
    assert!(told.header("access-control-allow-methods").contains("PUT"));
    for header in ["authorization", "x-checksum-crc64nvme", "content-digest", "idempotency-key"] {
        assert!(told.header("access-control-allow-headers").contains(header), "{header}");
    }
    // With a query as without.
    let told = app.send(Method::OPTIONS, "/api/files?filename=a.jpg", &asked, "").await.expect(200);
    assert_eq!(told.header("access-control-allow-origin"), ALLOWED);
    let refused = app.get_with("/api/usage?x=1", &[("origin", ALLOWED)]).await;
    refused.problem(400, "invalid-request");
    assert_eq!(refused.header("access-control-allow-origin"), ALLOWED);
    // Errors too: a page must be able to tell its user what went wrong.
    let missing = app.get_with(path.trim_end_matches("/chunks/0"), &[("origin", ALLOWED)]).await;
    missing.problem(404, "upload-not-found");
    assert_eq!(missing.header("access-control-allow-origin"), ALLOWED);
    assert!(missing.header("access-control-expose-headers").contains("location"));
    assert!(missing.header("vary").to_ascii_lowercase().contains("origin"));
    assert!(missing.find("access-control-allow-credentials").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_not_allowed_is_told_nothing_and_changes_nothing() {
    let app = app().await;
    for origin in
        ["https://evil.example", "null", "https://app.example.com.evil.example", "http://app.example.com"]
    {
        let headers = [("origin", origin), ("content-type", "application/json")];
        let body = r#"{"filename":"a","total_size":1}"#;
        let refused = app.send(Method::POST, "/api/uploads", &headers, body).await;
        refused.problem(403, "forbidden");
        assert!(refused.find("access-control-allow-origin").is_none(), "{origin}");
    }
    assert_eq!(app.get("/api/uploads").await.json()["items"].as_array().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_allowed_origins_no_page_is_answered() {
    let app = TestApp::start().await;
    let told = app.get_with("/api/files", &[("origin", ALLOWED)]).await;
    told.problem(403, "forbidden");
    assert!(told.find("access-control-allow-origin").is_none());
}
