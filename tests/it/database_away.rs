//! A PostgreSQL that is restarted, paused or cut off in the middle of uploads: honest refusals in time, nothing that was
//! acknowledged is lost, and all is well a moment after it is back.

use std::time::{Duration, Instant};

use cifra::config::DatabaseUrl;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::harness::postgres::{self, PostgresServer};
use crate::harness::process::until;
use crate::harness::{TestApp, TestUpload};

/// A client has its refusal by then.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);
/// And the service is whole again so long after the database is.
const HEALED_WITHIN: Duration = Duration::from_secs(2);

async fn app_on(url: &str) -> TestApp {
    TestApp::builder()
        .with(|config| {
            config.database.url = DatabaseUrl::Postgres(url.to_owned());
            config.database.max_connections = 4;
        })
        .start()
        .await
}

/// More requests than there are connections, all at once: each is refused in time.
async fn all_are_refused(app: &TestApp, upload: &TestUpload) {
    let (asked, create) = (Instant::now(), json!({ "filename": "a", "total_size": 1 }));
    let chunks =
        (1..upload.bytes.len().div_ceil(upload.chunk_size)).map(|index| app.put_chunk(upload, index));
    let (chunks, created, status) = tokio::join!(
        futures_util::future::join_all(chunks),
        app.post("/api/uploads", &create),
        app.get(&upload.path),
    );
    assert!(asked.elapsed() < REFUSED_WITHIN, "{:?}", asked.elapsed());
    for refused in chunks.into_iter().chain([created, status]) {
        refused.problem(503, "unavailable");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    }
    // What it found out is believed for a second.
    until("it is not ready", async || (app.get("/readyz").await.status == 503).then_some(())).await;
}

/// The service takes chunks again, soon; what was acknowledged before is there.
async fn healed(app: &TestApp, upload: &TestUpload) {
    let back = Instant::now();
    while app.put_chunk(upload, 1).await.status != 200 {
        assert!(back.elapsed() < HEALED_WITHIN, "{:?}", back.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let status = app.status(upload).await;
    assert!(status["missing"].as_array().unwrap().iter().all(|range| range[0] != 0), "{status}");
    assert_eq!(status["received_chunks"], 2, "{status}");
    app.put_all(upload).await;
    app.finalize(upload).await.expect(201);
    assert_eq!(app.get(&upload.content_path()).await.expect(200).body, upload.bytes);
    until("it is ready", async || (app.get("/readyz").await.status == 200).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_outlive_a_database_that_is_restarted_or_paused() {
    let server = PostgresServer::start();
    let app = app_on(&server.new_service_database().await).await;

    let upload = app.upload_of_chunks(9).await;
    app.put_chunk(&upload, 0).await.expect(200);
    server.stop_in_order();
    all_are_refused(&app, &upload).await;
    server.resume();
    healed(&app, &upload).await;

    let upload = app.upload_of_chunks(9).await;
    app.put_chunk(&upload, 0).await.expect(200);
    server.pause();
    all_are_refused(&app, &upload).await;
    server.unpause();
    healed(&app, &upload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_somebody_cut_are_replaced() {
    const CUT: &str = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let url = postgres::server().new_service_database().await;
    let app = app_on(&url).await;
    let mut somebody = PgConnection::connect(&url).await.unwrap();
    let upload = app.upload_of_chunks(9).await;
    app.put_chunk(&upload, 0).await.expect(200);
    let chunks = futures_util::future::join_all((2..9).map(|index| app.put_chunk(&upload, index)));
    for answer in chunks.await {
        answer.expect(200);
    }
    let cut: i64 = sqlx::query_scalar(CUT).fetch_one(&mut somebody).await.unwrap();
    assert!(cut > 1, "{cut}");
    // The one that finds it out is told so; the others have new connections.
    let mut refused = 0;
    while app.put_chunk(&upload, 1).await.status != 200 {
        refused += 1;
        assert!(refused < 3, "every dead connection is lent once");
    }
    app.finalize(&upload).await.expect(201);
    assert_eq!(app.get(&upload.content_path()).await.expect(200).body, upload.bytes);
}
