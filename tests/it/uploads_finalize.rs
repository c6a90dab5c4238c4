//! `POST /api/uploads/{id}/finalize`: the file, the same answer again, and every refusal.

use axum::http::Method;
use cifra::config::{ChecksumPolicy, Config};
use serde_json::{Value, json};

use crate::harness::{Answer, NOBODY, TestApp, TestUpload, bytes, crc64_text, sha256_text};

async fn finalize_with(app: &TestApp, upload: &TestUpload, body: &Value) -> Answer {
    app.post(&format!("{}/finalize", upload.path), body).await
}

/// The file is not there.
async fn not_published(app: &TestApp, upload: &TestUpload) {
    app.get(&upload.file_path()).await.problem(404, "file-not-found");
    app.get(&upload.content_path()).await.problem(404, "file-not-found");
    assert_eq!(app.blobs().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_upload_becomes_the_file_of_its_id() {
    let app = TestApp::start().await;
    let upload = app.upload_with(3, json!({ "content_type": "video/mp4", "metadata": { "k": "v" } })).await;
    app.put_all(&upload).await;
    let answer = app.finalize(&upload).await.expect(201);
    assert_eq!(answer.header("location"), upload.file_path());
    let file = answer.json();
    let made = file["created_at"].clone();
    assert_eq!(
        file,
        json!({
            "id": upload.id, "filename": "a.bin", "size": upload.bytes.len(), "content_type": "video/mp4",
            "checksum": sha256_text(&upload.bytes), "crc64nvme": crc64_text(&upload.bytes),
            "metadata": { "k": "v" }, "created_at": made, "updated_at": made, "version": 1,
            "content_url": upload.content_path(), "image": null, "thumbnails": {},
        })
    );
    assert_eq!(app.get(&upload.file_path()).await.expect(200).json(), file);
    assert_eq!(app.get(&upload.content_path()).await.expect(200).body, upload.bytes);
    let status = app.status(&upload).await;
    assert_eq!((&status["state"], &status["file"]), (&json!("completed"), &file));
    assert_eq!((&status["missing"], &status["missing_count"]), (&json!([]), &json!(0)));
    assert_eq!(status["offset"], upload.bytes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finalizing_again_answers_the_same_file() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_all(&upload).await;
    let file = app.finalize(&upload).await.expect(201).json();
    let again = app.finalize(&upload).await.expect(200);
    assert_eq!(again.find("location"), None);
    assert_eq!(again.json(), file);
    let right = json!({ "checksum": file["checksum"] });
    assert_eq!(finalize_with(&app, &upload, &right).await.expect(200).json(), file);
    let wrong = json!({ "checksum": sha256_text(b"x") });
    let problem = finalize_with(&app, &upload, &wrong).await.problem(422, "checksum-mismatch");
    assert_eq!(problem["chunks_replaceable"], false);
    assert_eq!(app.get(&upload.file_path()).await.expect(200).json(), file);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finalizing_at_the_same_time_makes_one_file() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(4).await;
    app.put_all(&upload).await;
    let answers = futures_util::future::join_all((0..8).map(|_| app.finalize(&upload))).await;
    let file = answers[0].json();
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
    assert!(answers.iter().all(|answer| answer.json() == file));
    assert_eq!(app.blobs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_lost_is_given_again() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_all(&upload).await;
    let mut raw = crate::harness::Raw::to(&app).await;
    raw.head(&format!("POST {}/finalize", upload.path), &["Content-Length: 0"]).await;
    drop(raw); // the client leaves before it is answered
    let answer = app.finalize(&upload).await;
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
    assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_chunks_are_listed_and_the_session_goes_on() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(7).await;
    for index in [1, 2, 5] {
        app.put_chunk(&upload, index).await.expect(200);
    }
    let before = app.status(&upload).await;
    let problem = app.finalize(&upload).await.problem(409, "upload-incomplete");
    assert_eq!(problem["missing"], json!([[0, 0], [3, 4], [6, 6]]));
    assert_eq!(problem["missing_count"], 4);
    assert_eq!(app.status(&upload).await, before);
    not_published(&app, &upload).await;
    for index in [0, 3, 4, 6] {
        app.put_chunk(&upload, index).await.expect(200);
    }
    app.finalize(&upload).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_missing_chunks_has_a_bound() {
    let app = TestApp::start().await;
    let size = app.chunk_size().await;
    let total = size * 2_200;
    let body = json!({ "filename": "a", "total_size": total, "chunk_size": 1 });
    let upload = app.upload_from(&body, Vec::new()).await;
    let chunk = bytes(size);
    for index in (1..2_200).step_by(2) {
        app.put(&upload.chunk_path(index), &chunk).await.expect(200);
    }
    for told in [app.status(&upload).await, app.finalize(&upload).await.problem(409, "upload-incomplete")] {
        let missing = told["missing"].as_array().unwrap();
        assert_eq!(missing.len(), 1_000);
        assert_eq!(missing[0], json!([0, 0]));
        assert_eq!(missing[999], json!([1998, 1998]));
        assert_eq!(told["missing_count"], 1_100);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_another_digest_is_not_published_and_can_be_mended() {
    let app = TestApp::start().await;
    for algorithm in [sha256_text, crc64_text] {
        let good = {
            let size = app.chunk_size().await;
            bytes(size * 2)
        };
        let body = json!({
            "filename": "a", "total_size": good.len(), "chunk_size": 1, "checksum": algorithm(&good),
        });
        let upload = app.upload_from(&body, good).await;
        let wrong = vec![7; upload.chunk_size];
        // In order: so that every store knows the digest before it puts the chunks together.
        app.put(&upload.chunk_path(0), &wrong).await.expect(200);
        app.put_chunk(&upload, 1).await.expect(200);
        let received = [&wrong, upload.chunk(1)].concat();

        let problem = app.finalize(&upload).await.problem(422, "checksum-mismatch");
        assert_eq!(problem["algorithm"], algorithm(b"").split(':').next().unwrap());
        assert_eq!(problem["expected"], algorithm(&upload.bytes));
        assert_eq!(problem["actual"], algorithm(&received));
        assert_eq!(problem["chunks_replaceable"], true);
        app.get(&upload.file_path()).await.problem(404, "file-not-found");
        let status = app.status(&upload).await;
        assert_eq!((&status["state"], &status["missing_count"]), (&json!("receiving"), &json!(0)));
        assert!(status["error"].as_str().is_some_and(|error| error.contains("declared")), "{status}");

        app.put(&format!("{}?replace=true", upload.chunk_path(0)), upload.chunk(0)).await.expect(200);
        let file = app.finalize(&upload).await.expect(201).json();
        assert_eq!(file["crc64nvme"], crc64_text(&upload.bytes));
        assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
        assert_eq!(app.status(&upload).await["error"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_declared_at_the_end_must_hold_too() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_all(&upload).await;
    for wrong in [sha256_text(b"x"), crc64_text(b"x")] {
        let problem = finalize_with(&app, &upload, &json!({ "checksum": wrong })).await;
        let problem = problem.problem(422, "checksum-mismatch");
        assert_eq!((&problem["expected"], &problem["chunks_replaceable"]), (&json!(wrong), &json!(true)));
        not_published(&app, &upload).await;
    }
    let right = json!({ "checksum": crc64_text(&upload.bytes) });
    finalize_with(&app, &upload, &right).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_that_was_never_computed_is_verified_when_it_is_declared_later() {
    let policy = |config: &mut Config| config.file_upload.checksum = ChecksumPolicy::Crc64Nvme;
    let app = TestApp::builder().with(policy).start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_all(&upload).await;
    let file = app.finalize(&upload).await.expect(201).json();
    assert_eq!(file["checksum"], crc64_text(&upload.bytes));
    let wrong = json!({ "checksum": sha256_text(b"other bytes") });
    let refused = finalize_with(&app, &upload, &wrong).await.problem(422, "checksum-mismatch");
    assert_eq!(refused["actual"], sha256_text(&upload.bytes));
    let right = json!({ "checksum": sha256_text(&upload.bytes) });
    assert_eq!(finalize_with(&app, &upload, &right).await.expect(200).json(), file);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalize_that_is_malformed_changes_nothing() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(1).await;
    app.put_all(&upload).await;
    let before = app.status(&upload).await;
    let path = format!("{}/finalize", upload.path);
    assert_eq!(app.post(&path, &json!({ "checksums": [] })).await.pointers(), ["/checksums"]);
    assert_eq!(app.post(&path, &json!({ "checksum": 1 })).await.pointers(), ["/checksum"]);
    app.post(&path, &json!({ "checksum": "md5:00" })).await.problem(400, "invalid-digest");
    app.post(&path, &json!([])).await.problem(400, "invalid-request");
    app.send(Method::POST, &path, &[("content-type", "text/plain")], "x")
        .await
        .problem(415, "unsupported-media-type");
    assert_eq!(app.status(&upload).await, before);
    app.post(&path, &json!({})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_upload_cannot_be_finalized() {
    let app = TestApp::start().await;
    let post = async |id: &str| app.post(&format!("/api/uploads/{id}/finalize"), &json!({})).await;
    post(NOBODY).await.problem(404, "upload-not-found");
    post(&NOBODY.to_uppercase()).await.problem(400, "invalid-request");
    post("x").await.problem(400, "invalid-request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_after_the_end_is_refused() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_all(&upload).await;
    app.finalize(&upload).await.expect(201);
    for path in [upload.chunk_path(0), format!("{}?replace=true", upload.chunk_path(1)), upload.chunk_path(9)]
    {
        app.put(&path, &vec![1; upload.chunk_size]).await.problem(409, "upload-finalized");
    }
    assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_file_needs_no_chunk() {
    let app = TestApp::start().await;
    let body = json!({ "filename": "empty", "total_size": 0, "checksum": sha256_text(b"") });
    let upload = app.upload_from(&body, Vec::new()).await;
    let status = app.status(&upload).await;
    assert_eq!(
        (&status["chunk_count"], &status["missing"], &status["offset"]),
        (&json!(0), &json!([]), &json!(0))
    );
    app.put(&upload.chunk_path(0), b"x").await.problem(400, "chunk-out-of-range");
    app.put(&upload.chunk_path(0), b"").await.problem(400, "chunk-out-of-range");
    let file = app.finalize(&upload).await.expect(201).json();
    assert_eq!((&file["size"], &file["checksum"]), (&json!(0), &json!(sha256_text(b""))));
    assert_eq!(file["crc64nvme"], "crc64nvme:0000000000000000");
    app.finalize(&upload).await.expect(200);
    let content = app.get(&upload.content_path()).await.expect(200);
    assert_eq!((content.header("content-length"), content.body.len()), ("0", 0));
}
