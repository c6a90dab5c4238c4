//! Days on which the disk is full, the store is not there, or the database does not answer: honest refusals, in
//! time, and nothing is lost.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::Connection;

use crate::child::{DISK_BYTES, on_a_small_disk};
use crate::harness::{TestApp, bytes};

#[test]
fn a_chunk_that_finds_the_disk_full_is_not_counted_and_the_others_go_on() {
    let name = "resources_away::a_chunk_that_finds_the_disk_full_is_not_counted_and_the_others_go_on";
    on_a_small_disk(name, async |disk| {
        let root = disk.join("root");
        let app =
            TestApp::builder().with(|config| config.file_upload.storage.local.root = root).start().await;
        let begin = async |size: usize| {
            let body = json!({ "filename": "a", "total_size": size, "chunk_size": 1 << 20 });
            app.upload_from(&body, bytes(size)).await
        };
        let (early, late) = (begin(2 << 20).await, begin(2 << 20).await);
        app.put_chunk(&early, 0).await.expect(200);
        let foreign = disk.join("foreign");
        let full = std::fs::write(&foreign, vec![0; usize::try_from(DISK_BYTES).unwrap()]);
        assert!(full.is_err(), "the disk was to be full");

        let before = app.status(&late).await;
        let refused = app.put_chunk(&late, 0).await;
        refused.problem(507, "storage-full");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
        assert_eq!(app.status(&late).await, before);
        let create = json!({ "filename": "a", "total_size": 1 << 20 });
        app.post("/api/uploads", &create).await.problem(507, "storage-full");
        app.get("/readyz").await.expect(200);

        // What was begun has its room already; what was refused is taken when there is room again.
        app.put_chunk(&early, 1).await.expect(200);
        app.finalize(&early).await.expect(201);
        assert_eq!(app.get(&early.content_path()).await.body, early.bytes);
        std::fs::remove_file(foreign).unwrap();
        app.put_all(&late).await;
        app.finalize(&late).await.expect(201);
        assert_eq!(app.get(&late.content_path()).await.body, late.bytes);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_away_nothing_is_lost_or_forgotten() {
    let app = TestApp::start().await;
    let file = app.file(bytes(1000)).await;
    let doomed = app.file(bytes(2000)).await;
    let upload = app.upload_of_chunks(2).await;
    let (blobs, away) = (app.folder().join("blobs"), app.folder().join("elsewhere"));
    std::fs::rename(&blobs, &away).unwrap();

    let create = app.post("/api/uploads", &json!({ "filename": "a", "total_size": 1 })).await;
    for refused in [create, app.put_chunk(&upload, 0).await, app.get(&file.content_path()).await] {
        refused.problem(503, "unavailable");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    }
    assert_eq!(app.status(&upload).await["received_chunks"], 0);
    app.get(&file.file_path()).await.expect(200);
    // Its record goes; its bytes must not be forgotten.
    app.delete(&doomed.file_path()).await.expect(204);
    app.sweep().await;
    assert_eq!(app.number_in_database("SELECT COUNT(*) FROM cifra_blob_deletions").await, 1);

    std::fs::rename(&away, &blobs).unwrap();
    app.sweep().await;
    assert_eq!(app.files_below("blobs/blobs").len(), 1);
    assert_eq!(app.get(&file.content_path()).await.expect(200).body, file.bytes);
    app.put_all(&upload).await;
    app.finalize(&upload).await.expect(201);
    assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_answer_is_told_within_five_seconds() {
    let app = TestApp::start().await;
    let (upload, doomed) = (app.upload_of_chunks(2).await, app.file(bytes(10)).await);
    app.put_chunk(&upload, 0).await.expect(200);
    let file = format!("sqlite://{}", app.folder().join("cifra.db").display());
    let mut other = sqlx::SqliteConnection::connect(&file).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();

    let asked = Instant::now();
    let (body, empty) = (json!({ "filename": "a", "total_size": 1 }), json!({}));
    let finalize = format!("{}/finalize", upload.path);
    let (replacing, doomed) = (format!("{}?replace=true", upload.chunk_path(0)), doomed.file_path());
    let (create, chunk, replace, abort, delete, finalized) = tokio::join!(
        app.post("/api/uploads", &body),
        app.put_chunk(&upload, 1),
        app.put(&replacing, upload.chunk(0)),
        app.delete(&upload.path),
        app.delete(&doomed),
        app.post(&finalize, &empty),
    );
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    for refused in [create, chunk, replace, abort, delete] {
        refused.problem(503, "unavailable");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    }
    finalized.problem(409, "upload-incomplete"); // that needs no writing
    assert_eq!(app.status(&upload).await["state"], "receiving"); // nor does reading
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    app.get("/readyz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_lost_its_staging_folder_is_away_until_it_is_back() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(1).await;
    let (staging, aside) = (app.folder().join("blobs/staging"), app.folder().join("blobs/aside"));
    std::fs::rename(&staging, &aside).unwrap();
    app.put_chunk(&upload, 0).await.problem(503, "unavailable");
    app.get("/readyz").await.expect(503);
    std::fs::rename(&aside, &staging).unwrap();
    app.put_chunk(&upload, 0).await.expect(200);
    app.finalize(&upload).await.expect(201);
    app.get("/readyz").await.expect(200);
}
