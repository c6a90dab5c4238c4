//! Files that are read back for their SHA-256, and are larger than what is read between two checkpoints.

use std::sync::atomic::Ordering;

use cifra::base::digest::Checksum;
use cifra::config::DatabaseUrl;
use cifra::upload::UploadState;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::killed::keep_in;
use super::nodes::{CHUNK, Pair, Setup, refusal};
use super::wayward::Fault;
use crate::harness::api::sha256;
use crate::harness::databases::TestDb;
use crate::harness::garage::{self, Garage};
use crate::harness::gate::Gate;
use crate::harness::process::{Server, until};
use crate::harness::{TestApp, postgres};
use crate::suites;

const MIB: u64 = 1 << 20;
const PART: u64 = 8 * MIB;
/// Two checkpoints, and a part more.
const PARTS: usize = 17;
const CHECKPOINT: u64 = 64 * MIB;

/// So many parts, no two alike.
fn content() -> Vec<u8> {
    let block = suites::bytes(1 << 20, 3);
    let mut content = block.repeat(PARTS * 8);
    for (number, block) in content.chunks_mut(1 << 20).enumerate() {
        block[..8].copy_from_slice(&number.to_be_bytes());
    }
    content
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_on_reads_from_the_last_checkpoint() {
    const KEPT: &str = "SELECT COALESCE(MAX(front_bytes), 0) FROM cifra_upload_checkpoints";
    let mut setup = Setup::default();
    setup.rules.chunk_size_bytes = PART;
    let pair = Pair::set_up(TestDb::sqlite().await, setup).await;
    let digest = |bytes: &[u8]| Checksum::Sha256(Sha256::digest(bytes).into());
    let sent = pair.a.begin_of(content(), |bytes| Some(digest(bytes))).await;
    pair.a.put_all(&sent, (0..PARTS).rev()).await;
    pair.store.next(Fault::BreaksOffAt(CHECKPOINT + 2 * PART));
    assert_eq!(refusal(pair.a.finalize(&sent, None).await).0, "unavailable");
    assert_eq!(pair.a.state(&sent).await, UploadState::Finalizing);
    let kept = i64::try_from(CHECKPOINT).unwrap();
    until("a checkpoint is kept", async || (pair.count(KEPT).await == kept).then_some(())).await;

    pair.store.read.store(0, Ordering::Relaxed);
    let file = pair.b.finalize(&sent, None).await.unwrap();
    assert_eq!(file.checksum(), digest(&sent.bytes));
    let read = pair.store.read.load(Ordering::Relaxed);
    let rest = sent.bytes.len() as u64 - CHECKPOINT;
    assert!((rest..rest + CHUNK as u64).contains(&read), "{read} bytes, and a few for the type");
}

/// One process dies while it reads back what was declared with a wrong digest; a third one watches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_back_is_told_outlives_its_process_and_ends_with_the_right_digest() {
    const LAPSED: &str =
        "UPDATE cifra_uploads SET finish_until = 1 WHERE state = 'finalizing' RETURNING CAST(1 AS BIGINT)";
    let (url, prefix) = (postgres::server().new_service_database().await, garage::server().new_prefix());
    let mut server = Server::new();
    server.set("database.url", &url);
    server.set("file_upload.finalize_wait", "50ms");
    keep_in(&mut server, &prefix);
    let gate = Gate::of(&server, "read-back");
    server.begin(Some("finish.read_back=kill@12")).await;
    let app = TestApp::builder().with(|config| {
        config.database.url = DatabaseUrl::Postgres(url);
        config.database.max_connections = 4;
        config.file_upload.storage = Garage::storage_at(&garage::server().endpoint(), &prefix);
    });
    let (watching, content) = (app.start().await, content());

    let wanted = json!({ "filename": "a.bin", "total_size": content.len(), "chunk_size": PART });
    let id = server.api.create_as(&wanted).await.unwrap().json["upload_id"].as_str().unwrap().to_owned();
    let parts: Vec<_> = content.chunks(usize::try_from(PART).unwrap()).enumerate().collect();
    for (index, part) in parts.into_iter().rev() {
        let put = server.api.put(&id, index, part).await.unwrap();
        assert_eq!(put.status, 200, "{put:?}");
    }
    let mut events = watching.watch(&format!("/api/uploads/{id}"), &[]).await.unwrap();
    let (right, wrong) = (sha256(&content), sha256(b"other bytes"));
    let working = server.api.finalize_as(&id, &wrong).await.unwrap();
    assert_eq!((working.status, &working.json["state"]), (202, &json!("finalizing")), "{working:?}");
    assert_eq!(working.json["progress"]["total_bytes"], content.len());
    assert!(working.json["progress"]["done_bytes"].as_u64().unwrap() < CHECKPOINT + 4 * PART);
    server.died().await;
    events.until(|event| event.data["progress"]["done_bytes"] == CHECKPOINT).await;

    // Each part that the next process has read stands before the gate.
    gate.close();
    let armed = format!("finish.read_back=pause:{}", server.beside("read-back").display());
    server.begin(Some(&armed)).await;
    watching.number_in_database(LAPSED).await;
    assert_eq!(server.api.finalize_as(&id, &wrong).await.unwrap().status, 202);
    gate.reached().await;
    let working = server.api.upload(&id).await.unwrap();
    assert_eq!(working.json["progress"]["done_bytes"], CHECKPOINT + PART, "not from the start");
    gate.open();
    let sealed = events.until(|event| event.data["state"] != "finalizing").await;
    assert_eq!(sealed.data["state"], "sealed", "{sealed:?}");
    gate.close(); // nothing is read once more
    let settled = async |checksum: &str| {
        until("finalize has ended", async || {
            let answer = server.api.finalize_as(&id, checksum).await.unwrap();
            (answer.status != 202).then_some(answer)
        })
        .await
    };
    let refused = settled(&wrong).await;
    assert_eq!(refused.problem(), (422, "checksum-mismatch"), "{refused:?}");
    assert_eq!(settled(&right).await.json["checksum"], right);
    assert_eq!(events.last("completed").await["checksum"], right);
}
