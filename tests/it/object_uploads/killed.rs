//! A process that is killed at any step of an upload's end, on S3: what it left is healed by the next one.

use bytes::Bytes;

use crate::harness::api::{CHUNK, chunk, sha256};
use crate::harness::garage;
use crate::harness::process::{Server, until};
use crate::suites::bytes;

const SIZE: usize = 3 * CHUNK + 1_000;

/// A server whose bytes are in a folder of a bucket.
async fn on_s3() -> Server {
    let mut server = Server::new();
    keep_in(&mut server, &garage::server().new_prefix());
    server.begin(None).await;
    server
}

/// Its bytes are in the folder `prefix` of the bucket from the next start on.
pub(super) fn keep_in(server: &mut Server, prefix: &str) {
    let endpoint = garage::server().endpoint();
    let key = |name: &str| format!("file_upload.storage.s3.{name}");
    server.set("file_upload.storage.backend", "s3");
    for (name, value) in [
        ("bucket", garage::BUCKET),
        ("region", garage::REGION),
        ("endpoint", &endpoint),
        ("prefix", prefix),
        ("access_key_id", garage::KEY),
        ("secret_access_key", garage::SECRET),
        ("allow_http", "true"),
        ("min_part_size", "64KiB"),
    ] {
        server.set(&key(name), value);
    }
}

/// Out of order, so that nothing is hashed on its way.
async fn put_all(server: &Server, id: &str, content: &Bytes) {
    for index in [2, 3, 1, 0] {
        let put = server.api.put(id, index, chunk(content, index)).await.unwrap();
        assert_eq!(put.status, 200, "{put:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_of_an_end_is_healed() {
    let mut server = on_s3().await;
    for (seed, point) in
        (1..).zip(["finish.after_claim", "finish.after_digests", "finish.after_store", "finish.after_commit"])
    {
        let content = bytes(SIZE, seed);
        let id = server.api.create(SIZE).await;
        put_all(&server, &id, &content).await;
        server.kill9();
        server.begin(Some(&format!("{point}=kill"))).await;
        server.api.finalize_as(&id, &sha256(&content)).await.unwrap_err();
        server.died().await;
        server.begin(None).await;
        let done = until("it is finished", async || {
            let done = server.api.finalize_as(&id, &sha256(&content)).await.unwrap();
            (done.status != 202).then_some(done)
        });
        assert_eq!(done.await.json["checksum"], sha256(&content), "{point}");
        server.api.finish(&id, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_seals_it_after_a_crash_too() {
    let mut server = on_s3().await;
    let content = bytes(SIZE, 9);
    let id = server.api.create(SIZE).await;
    put_all(&server, &id, &content).await;
    server.kill9();
    server.begin(Some("finish.after_digests=kill")).await; // before the store is told to put it together
    let wrong = sha256(b"other bytes");
    server.api.finalize_as(&id, &wrong).await.unwrap_err();
    server.died().await;
    server.begin(None).await;
    // The sweeper goes on with the digest that was declared.
    let sealed = until("it is sealed", async || {
        let upload = server.api.upload(&id).await.unwrap();
        (upload.json["state"] != "finalizing").then_some(upload)
    });
    let sealed = sealed.await;
    assert_eq!(sealed.json["state"], "sealed", "{sealed:?}");
    assert!(sealed.json["error"].is_string(), "{sealed:?}");
    assert_eq!(server.api.content(&id).await, None);
    let refused = server.api.finalize_as(&id, &wrong).await.unwrap();
    assert_eq!(refused.problem(), (422, "checksum-mismatch"), "{refused:?}");
    assert_eq!(refused.json["chunks_replaceable"], false);
    let late = server.api.replace(&id, 0, chunk(&content, 0)).await.unwrap();
    assert_eq!(late.problem(), (409, "upload-finalized"), "{late:?}");
    server.restart().await; // what was learned is not lost with the process
    server.api.finish(&id, &content).await;
    assert_eq!(server.api.get(&format!("/api/files/{id}")).await.unwrap().json["checksum"], sha256(&content));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_one_request_that_was_never_published_is_removed() {
    let mut server = on_s3().await;
    for (point, left) in [("files.before_keep", 1), ("files.before_commit", 1), ("files.after_commit", 0)] {
        server.kill9();
        server.begin(Some(&format!("{point}=kill"))).await;
        server.api.create_file("a", b"hello").await.unwrap_err();
        server.died().await;
        let waiting = "SELECT COUNT(*) FROM cifra_blob_deletions";
        assert_eq!(server.count(waiting).await, left, "{point}");
        server.sql("UPDATE cifra_blob_deletions SET purge_after = 1").await; // an hour later
        server.begin(None).await;
        until("it is removed", async || (server.count(waiting).await == 0).then_some(())).await;
    }
    let files = server.api.get("/api/files").await.unwrap().json;
    assert_eq!(files["items"].as_array().unwrap().len(), 1);
    let id = files["items"][0]["id"].as_str().unwrap();
    assert_eq!(server.api.content(id).await.unwrap(), "hello");
}
