//! How often a tenant may ask.

use std::sync::Arc;
use std::time::Duration;

use cifra::base::{ManualClock, Timestamp};

use crate::harness::{NOBODY, OPERATOR, TestApp};

async fn limited(per_second: u32) -> (TestApp, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
    let change = |config: &mut cifra::config::Config| config.limits.requests_per_second = Some(per_second);
    (TestApp::builder().with(change).clock(&clock).start().await, clock)
}

/// How many requests in a row are answered.
async fn answered(app: &TestApp) -> u32 {
    for count in 0..100 {
        if app.get("/api/usage").await.status != 200 {
            return count;
        }
    }
    panic!("no limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seconds_worth_of_requests_may_come_at_once_and_then_one_by_one() {
    let (app, clock) = limited(5).await;
    assert_eq!(answered(&app).await, 5);
    let refused = app.get("/api/usage").await;
    refused.problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), "1");
    // Whoever is refused pays nothing, and whoever comes at the told time is answered.
    clock.advance(Duration::from_millis(199));
    assert_eq!(answered(&app).await, 0);
    clock.advance(Duration::from_millis(1));
    assert_eq!(answered(&app).await, 1);
    clock.advance(Duration::from_millis(600));
    assert_eq!(answered(&app).await, 3);
    clock.advance(Duration::from_hours(1));
    assert_eq!(answered(&app).await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_counts_but_those_that_need_no_key() {
    let (app, clock) = limited(1).await;
    let path = format!("/api/files/{NOBODY}");
    app.get(&path).await.problem(404, "file-not-found");
    app.delete(&path).await.problem(429, "rate-limited");
    let body = vec![7; 100_000];
    let posted = app.send(axum::http::Method::POST, "/api/files?filename=a", &[], body).await;
    posted.problem(429, "rate-limited");
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs", "/problems/rate-limited"] {
        app.get(path).await.expect(200);
    }
    clock.advance(Duration::from_secs(1));
    app.get(&path).await.problem(404, "file-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_nobody_is_refused() {
    let app = TestApp::start().await;
    for answer in futures_util::future::join_all((0..200).map(|_| app.get("/api/usage"))).await {
        answer.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_guesses_keys_is_slowed_and_nobody_else_is() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
    let builder = TestApp::builder().keys().clock(&clock).with(|config| {
        config.limits.requests_per_second = Some(3);
        config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let app = builder.start().await;
    let right = format!("Bearer {OPERATOR}");
    let ask = async |client: &str, key: &str| {
        app.get_with("/api/usage", &[("authorization", key), ("x-forwarded-for", client)]).await
    };
    for n in 0..3 {
        ask("203.0.113.1", &format!("Bearer guess-{n}")).await.problem(401, "unauthenticated");
    }
    let refused = ask("203.0.113.1", "Bearer guess").await;
    refused.problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), "1");
    ask("203.0.113.1", &right).await.problem(429, "rate-limited");
    ask("203.0.113.2", &right).await.expect(200);
    app.get_with("/healthz", &[("x-forwarded-for", "203.0.113.1")]).await.expect(200);
    clock.advance(Duration::from_secs(1));
    ask("203.0.113.1", &right).await.expect(200);
    // All addresses of one IPv6 network are one client.
    for n in 0..3 {
        ask(&format!("2001:db8::{n}"), "Bearer guess").await.problem(401, "unauthenticated");
    }
    ask("2001:db8::ffff:1", "Bearer guess").await.problem(429, "rate-limited");
    ask("2001:db8:0:1::1", "Bearer guess").await.problem(401, "unauthenticated");
}
