//! Two services on one database and one real store, which write the same chunk.

use cifra::config::{DatabaseUrl, Storage};
use serde_json::json;

use crate::harness::{Raw, TestApp, TestUpload, azurite, garage, postgres};

async fn two(storage: Storage) -> [TestApp; 2] {
    let url = postgres::server().new_service_database().await;
    let start = async || {
        let app = TestApp::builder().with(|config| {
            config.database.url = DatabaseUrl::Postgres(url.clone());
            config.database.max_connections = 4;
            config.file_upload.storage = storage.clone();
        });
        app.start().await
    };
    [start().await, start().await]
}

/// Both write chunk 1 with other bytes: `b` gets the receipt, and then the bytes of `a` come to the store.
async fn written_by_both([a, b]: &[TestApp; 2]) -> TestUpload {
    let upload = a.upload_of_chunks(3).await;
    let other = vec![7; upload.chunk_size];
    let (last, first) = other.split_last().unwrap();
    let mut loser = Raw::to(a).await;
    let length = format!("Content-Length: {}", other.len());
    loser.head(&format!("PUT {}", upload.chunk_path(1)), &[&length, "Expect: 100-continue"]).await;
    assert_eq!(loser.answer().await.unwrap().status, 100); // it has seen no receipt
    loser.send(first).await;
    b.put_chunk(&upload, 1).await.expect(200);
    loser.send(&[*last]).await;
    loser.answer().await.unwrap().problem(409, "chunk-busy");
    for index in [2, 0] {
        a.put_chunk(&upload, index).await.expect(200);
    }
    upload
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_lost_but_came_last_are_found_out_on_s3_and_only_their_chunk_is_sent_again() {
    let services = two(garage::server().storage()).await;
    let upload = written_by_both(&services).await;
    let [a, b] = services;
    let incomplete = b.finalize(&upload).await.problem(409, "upload-incomplete");
    assert_eq!((&incomplete["missing"], &incomplete["missing_count"]), (&json!([[1, 1]]), &json!(1)));
    let status = a.status(&upload).await;
    assert_eq!((&status["state"], &status["missing"]), (&json!("receiving"), &json!([[1, 1]])));
    a.put_chunk(&upload, 1).await.expect(200);
    b.finalize(&upload).await.expect(201);
    assert!(a.get(&upload.content_path()).await.expect(200).body == upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_lost_and_came_last_are_nobodys_on_azure() {
    let services = two(azurite::server().storage()).await;
    let upload = written_by_both(&services).await;
    let [a, b] = services;
    b.finalize(&upload).await.expect(201);
    assert!(a.get(&upload.content_path()).await.expect(200).body == upload.bytes);
}
