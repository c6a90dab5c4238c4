//! How much a tenant may keep and have open: refused in time, given back at every end, the truth after a crash.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::Method;
use cifra::base::{ManualClock, Timestamp};
use cifra::config::{ByteSize, Config};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::harness::{Answer, TestApp, bytes};

async fn app_with(change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::builder().with(change).start().await
}

async fn create(app: &TestApp, size: usize) -> Answer {
    app.post("/api/uploads", &json!({ "filename": "a", "total_size": size })).await
}

/// Stored bytes, reserved bytes, open uploads.
async fn usage(app: &TestApp) -> (u64, u64, u64) {
    let usage = app.get("/api/usage").await.expect(200).json();
    let number = |name: &str| usage[name].as_u64().unwrap();
    (number("stored_bytes"), number("reserved_bytes"), number("open_uploads"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_pass_the_quota_is_refused_with_what_is_used() {
    let app = app_with(|config| config.limits.tenant_max_bytes = Some(ByteSize(3_000))).await;
    let kept = app.file(bytes(1_000)).await;
    create(&app, 1_500).await.expect(201);
    let refused = create(&app, 501).await.problem(413, "quota-exceeded");
    assert_eq!((&refused["limit_bytes"], &refused["used_bytes"]), (&json!(3_000), &json!(2_500)));
    create(&app, 500).await.expect(201);
    create(&app, 1).await.problem(413, "quota-exceeded");
    create(&app, 0).await.expect(201);
    assert_eq!(usage(&app).await, (1_000, 2_000, 3));
    app.delete(&kept.file_path()).await.expect(204);
    create(&app, 1_001).await.problem(413, "quota-exceeded");
    create(&app, 1_000).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_uploads_can_be_open() {
    let app = app_with(|config| config.limits.open_uploads = 2).await;
    let first = app.upload_from(&json!({ "filename": "a", "total_size": 10 }), bytes(10)).await;
    create(&app, 10).await.expect(201);
    let refused = create(&app, 10).await;
    let problem = refused.problem(429, "too-many-uploads");
    assert_eq!((&problem["open"], &problem["max"]), (&json!(2), &json!(2)));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    app.put_all(&first).await;
    app.finalize(&first).await.expect(201);
    create(&app, 10).await.expect(201);
    create(&app, 10).await.problem(429, "too-many-uploads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_of_clients_at_once_passes_a_limit() {
    let app = app_with(|config| {
        config.limits.tenant_max_bytes = Some(ByteSize(10_000));
        config.limits.open_uploads = 7;
    })
    .await;
    for (size, fit, status, code) in [(1_000, 7, 429, "too-many-uploads"), (3_000, 3, 413, "quota-exceeded")]
    {
        let answers = futures_util::future::join_all((0..64).map(|_| create(&app, size))).await;
        let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
        assert_eq!(made.len(), fit);
        for refused in refused {
            refused.problem(status, code);
        }
        assert_eq!(usage(&app).await, (0, (size * fit) as u64, fit as u64));
        let aborts = made.iter().map(|made| app.delete(made.header("location")));
        for aborted in futures_util::future::join_all(aborts).await {
            aborted.expect(204);
        }
        assert_eq!(usage(&app).await, (0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_gives_back_what_was_reserved() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
    let app = TestApp::builder().clock(&clock).start().await;
    let size = app.chunk_size().await;
    let upload = async || app.upload_of_chunks(2).await;
    let (done, aborted, expired) = (upload().await, upload().await, upload().await);
    let each = (2 * size - size / 3) as u64;
    assert_eq!(usage(&app).await, (0, 3 * each, 3));
    app.put_chunk(&done, 0).await.expect(200);
    app.finalize(&done).await.problem(409, "upload-incomplete");
    assert_eq!(usage(&app).await, (0, 3 * each, 3));
    app.put_chunk(&done, 1).await.expect(200);
    app.finalize(&done).await.expect(201);
    app.finalize(&done).await.expect(200);
    assert_eq!(usage(&app).await, (each, 2 * each, 2));
    for _ in 0..2 {
        app.delete(&aborted.path).await.expect(204);
        assert_eq!(usage(&app).await, (each, each, 1));
    }
    clock.advance(std::time::Duration::from_hours(25));
    app.sweep().await;
    app.get(&expired.path).await.expect(410);
    assert_eq!(usage(&app).await, (each, 0, 0));
    app.delete(&done.file_path()).await.expect(204);
    app.delete(&done.file_path()).await.expect(404);
    assert_eq!(usage(&app).await, (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_digest_at_the_end_gives_nothing_back() {
    let app = TestApp::start().await;
    let wrong = json!({ "checksum": format!("sha256:{:064x}", 1) });
    let upload = app.upload_with(1, wrong).await;
    let reserved = usage(&app).await;
    app.put_all(&upload).await;
    app.finalize(&upload).await.problem(422, "checksum-mismatch");
    assert_eq!(usage(&app).await, reserved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_sees_its_usage_and_its_limits() {
    let app = app_with(|config| config.limits.tenant_max_bytes = Some(ByteSize(1 << 20))).await;
    app.file(bytes(100)).await;
    let shown: Value = app.get("/api/usage").await.expect(200).json();
    let limits = json!({ "requests_per_second": null, "open_uploads": 1_000, "tenant_max_bytes": 1 << 20 });
    let wanted = json!({ "stored_bytes": 100, "reserved_bytes": 0, "open_uploads": 0, "limits": limits });
    assert_eq!(shown, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_one_request_count_against_the_quota() {
    let app = app_with(|config| config.limits.tenant_max_bytes = Some(ByteSize(3_000_000))).await;
    let path = "/api/files?filename=a";
    let post = async |size: usize| app.send(Method::POST, path, &[], bytes(size)).await;
    post(1_000_000).await.expect(201);
    let refused = post(2_000_001).await.problem(413, "quota-exceeded");
    assert_eq!((&refused["limit_bytes"], &refused["used_bytes"]), (&json!(3_000_000), &json!(1_000_000)));
    // A body that does not tell its length is refused as it grows.
    let frames = |count| futures_util::stream::repeat(Ok::<_, Infallible>(bytes(1_000))).take(count);
    let unknown =
        async |count| app.send(Method::POST, path, &[], reqwest::Body::wrap_stream(frames(count))).await;
    unknown(2_001).await.problem(413, "quota-exceeded");
    unknown(2_000).await.expect(201);
    post(1).await.problem(413, "quota-exceeded");
    create(&app, 1).await.problem(413, "quota-exceeded");
    post(0).await.expect(201);
    assert_eq!(usage(&app).await, (3_000_000, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_come_at_once_do_not_pass_the_quota() {
    let app = app_with(|config| config.limits.tenant_max_bytes = Some(ByteSize(100_000))).await;
    let post = async |n: usize| match n % 3 {
        0 => create(&app, 9_000).await,
        1 => app.send(Method::POST, "/api/files?filename=a", &[], bytes(9_000)).await,
        _ => {
            let body = futures_util::stream::repeat(Ok::<_, Infallible>(bytes(3_000))).take(3);
            let body = reqwest::Body::wrap_stream(body);
            app.send(Method::POST, "/api/files?filename=a", &[], body).await
        }
    };
    let answers = futures_util::future::join_all((0..48).map(post)).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    for refused in refused {
        refused.problem(413, "quota-exceeded");
    }
    let (stored, reserved, _) = usage(&app).await;
    assert_eq!(stored + reserved, 9_000 * made.len() as u64);
    assert!(stored + reserved <= 100_000);
    // Whoever was refused beside others that were refused too may come now.
    while create(&app, 9_000).await.status == 201 {}
    let (stored, reserved, _) = usage(&app).await;
    assert_eq!(stored + reserved, 99_000);
}
