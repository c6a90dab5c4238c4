//! `/api/files/{id}`: the record, its conditions, and deletion. The content is in `files_content`.

use std::time::Duration;

use axum::http::Method;
use serde_json::json;

use crate::harness::config::loaded;
use crate::harness::process::until;
use crate::harness::{NOBODY, TestApp, bytes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_told_with_its_version_as_etag() {
    let app = TestApp::start().await;
    let file = app.file_with(bytes(100), json!({ "metadata": { "k": "v" } })).await;
    let answer = app.get(&file.file_path()).await.expect(200);
    assert_eq!(answer.header("etag"), "\"1.0\"");
    assert_eq!(answer.json()["content_type"], "application/octet-stream");
    let head = app.send(Method::HEAD, &file.file_path(), &[], "").await.expect(200);
    assert_eq!(head.header("content-length"), answer.body.len().to_string());
    for (condition, status) in [
        (("if-none-match", "\"1.0\""), 304),
        (("if-none-match", "W/\"1.0\""), 304),
        (("if-none-match", "*"), 304),
        (("if-none-match", "\"a\", \"1.0\""), 304),
        (("if-none-match", "\"2.0\""), 200),
        (("if-match", "\"1.0\""), 200),
        (("if-match", "\"2.0\""), 412),
    ] {
        let answer = app.get_with(&file.file_path(), &[condition]).await;
        assert_eq!(answer.status, status, "{condition:?}");
        if status == 412 {
            answer.problem(412, "precondition-failed");
        } else {
            assert_eq!(answer.header("etag"), "\"1.0\"");
            assert_eq!(answer.body.is_empty(), status == 304);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_begin_with_the_public_url_where_one_is_set() {
    let app = TestApp::builder()
        .with(|config| config.server.public_url = Some(cifra_url("https://files.example.com/cifra")))
        .start()
        .await;
    let file = app.file(bytes(3)).await;
    let url = app.get(&file.file_path()).await.json()["content_url"].clone();
    assert_eq!(url, format!("https://files.example.com/cifra{}", file.content_path()));
}

/// Public URLs are only made by reading a configuration.
fn cifra_url(url: &str) -> cifra::config::PublicUrl {
    loaded(&format!("server: {{ public_url: \"{url}\" }}")).server.public_url.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_file_is_not_there_and_its_bytes_are_removed() {
    let at_once = Some(Duration::ZERO);
    let app = TestApp::builder().with(|config| config.files.purge_delay = at_once).start().await;
    let (file, other) = (app.file(bytes(1000)).await, app.file(bytes(2000)).await);
    assert_eq!(app.blobs().await.len(), 2);
    assert!(app.delete(&file.file_path()).await.expect(204).body.is_empty());
    app.delete(&file.file_path()).await.problem(404, "file-not-found");
    app.get(&file.file_path()).await.problem(404, "file-not-found");
    app.get(&file.content_path()).await.problem(404, "file-not-found");
    app.get(&file.path).await.problem(404, "upload-not-found");
    let waiting = "SELECT COUNT(*) FROM cifra_blob_deletions";
    until("its bytes are removed", async || (app.number_in_database(waiting).await == 0).then_some(())).await;
    assert_eq!(app.blobs().await.len(), 1);
    assert_eq!(app.get(&other.content_path()).await.body, other.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_not_finished_is_no_file() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_chunk(&upload, 0).await.expect(200);
    app.get(&upload.file_path()).await.problem(404, "file-not-found");
    app.get(&upload.content_path()).await.problem(404, "file-not-found");
    app.delete(&upload.file_path()).await.problem(404, "file-not-found");
    assert_eq!(app.status(&upload).await["received_chunks"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_an_id_is_refused() {
    let app = TestApp::start().await;
    for id in ["x", "..%2f..%2fcifra.db", "%00", "%ff", "*", &NOBODY.to_uppercase(), &NOBODY[1..]] {
        for path in [format!("/api/files/{id}"), format!("/api/files/{id}/content")] {
            app.get(&path).await.problem(400, "invalid-request");
        }
        app.delete(&format!("/api/files/{id}")).await.problem(400, "invalid-request");
    }
    app.get(&format!("/api/files/{NOBODY}")).await.problem(404, "file-not-found");
    app.get(&format!("/api/files/{NOBODY}/content")).await.problem(404, "file-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_never_ends_cleanly() {
    let app = TestApp::start().await;
    if !app.on_a_folder() {
        return; // nobody can damage it from outside
    }
    let file = app.file(bytes(100_000)).await;
    let name = app.files_below("blobs/blobs").remove(0);
    let mut folders = vec![app.folder().join("blobs/blobs")];
    let path = loop {
        let folder = folders.pop().unwrap();
        if folder.join(&name).is_file() {
            break folder.join(&name);
        }
        let below = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(below.filter(|path| path.is_dir()));
    };
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(50_000).unwrap();
    let problem = app.get(&file.content_path()).await.problem(500, "internal");
    assert!(!problem["detail"].as_str().unwrap().contains("blob"), "it tells internals: {problem}");
    std::fs::remove_file(&path).unwrap();
    app.get(&file.content_path()).await.problem(500, "internal");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_a_file_while_it_is_deleted_gets_it_or_is_told_that_it_is_gone() {
    let app = TestApp::start().await;
    for _ in 0..40 {
        let file = app.file(bytes(1000)).await;
        let (content, record) = (file.content_path(), file.file_path());
        let reads = futures_util::future::join_all((0..8).map(|_| app.get(&content)));
        let (reads, deleted) = tokio::join!(reads, app.delete(&record));
        deleted.expect(204);
        for read in reads {
            assert!(matches!(read.status, 200 | 404), "{read:?}");
        }
    }
}
