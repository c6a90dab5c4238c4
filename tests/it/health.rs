//! `/healthz`, `/readyz`, `/metrics`: whether it lives, whether it can work, what it did.

use std::time::{Duration, Instant};

use cifra::config::Durability;
use serde_json::json;

use crate::harness::TestApp;
use crate::harness::process::until;
use crate::harness::redis::RedisServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_works_says_so() {
    let app = TestApp::start().await;
    let live = app.get("/healthz").await.expect(200).json();
    assert_eq!(live, json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }));
    let ready = app.get("/readyz").await.expect(200).json();
    let ok = json!({ "status": "ok" });
    assert_eq!(ready, json!({ "status": "ok", "checks": { "database": ok, "store": ok } }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_its_store_is_alive_but_not_ready() {
    let app = TestApp::start().await;
    let (blobs, away) = (app.folder().join("blobs"), app.folder().join("elsewhere"));
    std::fs::rename(&blobs, &away).unwrap();
    app.get("/healthz").await.expect(200);
    let ready = app.get("/readyz").await.expect(503).json();
    assert_eq!(ready["status"], "unavailable");
    assert_eq!(ready["checks"], json!({ "database": { "status": "ok" }, "store": { "status": "away" } }));
    std::fs::rename(&away, &blobs).unwrap();
    app.get("/readyz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_its_redis_works_on() {
    let server = RedisServer::start();
    server.kill();
    let app = TestApp::builder().with(|config| config.redis = server.config()).start().await;
    let ready = app.get("/readyz").await.expect(200).json();
    assert_eq!(ready["status"], "degraded");
    assert_eq!(ready["checks"]["redis"], json!({ "status": "away" }));
    let upload = app.upload_of_chunks(2).await;
    app.put_all(&upload).await;
    server.restart();
    let back = Instant::now();
    let ok = async || (app.get("/readyz").await.expect(200).json()["status"] == "ok").then_some(());
    until("Redis is used again", ok).await;
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    app.finalize(&upload).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_every_route_and_every_stage() {
    // The recorder belongs to the process: other tests count too, so only what must be there is looked for.
    let app =
        TestApp::builder().with(|config| config.file_upload.durability = Durability::Chunk).start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_all(&upload).await;
    app.put_chunk(&upload, 0).await.expect(200);
    app.put(&upload.chunk_path(0), b"").await.problem(422, "chunk-size-mismatch");
    app.finalize(&upload).await.expect(201);
    app.get(&upload.content_path()).await.expect(200);
    app.get("/no/such/place").await.problem(404, "not-found");

    let answer = app.get("/metrics").await.expect(200);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let metrics = answer.text();
    let value = |series: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(series));
        let line = line.unwrap_or_else(|| panic!("no {series} in {metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    for stage in ["receive", "hash", "write", "flush", "journal"] {
        let series = format!("cifra_chunk_stage_duration_seconds_count{{stage=\"{stage}\"}}");
        assert!(value(&series) >= 2.0, "{stage}");
        value(&format!("cifra_chunk_stage_duration_seconds_bucket{{stage=\"{stage}\",le=\"0.0005\"}}"));
    }
    for stage in ["digest", "store", "journal"] {
        value(&format!("cifra_finalize_stage_duration_seconds_count{{stage=\"{stage}\"}}"));
    }
    for (method, route) in [
        ("POST", "/api/uploads"),
        ("PUT", "/api/uploads/{id}/chunks/{index}"),
        ("POST", "/api/uploads/{id}/finalize"),
        ("GET", "/api/files/{id}/content"),
        ("GET", "none"),
    ] {
        let labels = format!("method=\"{method}\",route=\"{route}\"");
        assert!(value(&format!("cifra_http_request_duration_seconds_count{{{labels}}}")) >= 1.0, "{labels}");
    }
    let route = "method=\"PUT\",route=\"/api/uploads/{id}/chunks/{index}\"";
    assert!(value(&format!("cifra_http_requests_total{{{route},status=\"422\"}}")) >= 1.0);
    // What the cache counts is told once a second, what it has every few.
    let metrics = until("the cache has told", async || {
        let metrics = app.get("/metrics").await.expect(200).text();
        metrics.contains("cifra_cache_reads_total{entity=\"File\",source=\"database\"}").then_some(metrics)
    })
    .await;
    for series in [
        "cifra_cache_loads_total{entity=\"File\",outcome=\"answered\"} ",
        "cifra_cache_answer_duration_seconds_count{tier=\"l3\"} ",
        "cifra_cache_answer_duration_seconds_bucket{tier=\"l3\",le=\"+Inf\"} ",
        "cifra_cache_entries{tier=\"l1\"} ",
        "cifra_cache_bytes{tier=\"l1\"} ",
        "cifra_cache_l2_current ",
        "cifra_cache_feed_lag_seconds ",
    ] {
        assert!(metrics.contains(&format!("\n{series}")), "no {series} in {metrics}");
    }
    for outcome in ["accepted", "repeated", "refused"] {
        assert!(value(&format!("cifra_chunks_total{{outcome=\"{outcome}\"}}")) >= 1.0, "{outcome}");
    }
    assert!(value("cifra_uploads_total{event=\"completed\"}") >= 1.0);
    assert!(value("cifra_http_requests_in_flight") >= 1.0, "at least the one that asks");
    assert!(!metrics.contains(&upload.id), "an id is no label");
}
