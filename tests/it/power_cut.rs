//! The loss of power, played: staged bytes become zeros and the receipts are those of another run of the kernel.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::harness::api::{CHUNK, chunk};
use crate::harness::process::{Server, until};
use crate::suites::bytes;

const SIZE: usize = 4 * CHUNK + 100;

/// The receipts were written by another run of the kernel.
const OTHER_BOOT: &str = "UPDATE cifra_upload_parts SET boot = zeroblob(16)";
const UNSYNCED: &str = "SELECT COUNT(*) FROM cifra_upload_parts WHERE synced = FALSE";

/// What a disk holds that was not told to keep the bytes.
fn lose(file: &Path, start: usize, len: usize) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&vec![0; len], start as u64).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_chunks_are_asked_for_again_and_others_kept() {
    for checksum in ["auto", "crc64nvme"] {
        let mut server = Server::start_with(&[("file_upload.checksum", checksum)]).await;
        let content = bytes(SIZE, 1);
        let id = server.api.create(SIZE).await;
        server.api.fill(&id, &content).await;
        server.kill9();
        lose(&server.staged(), CHUNK + 7, 1);
        lose(&server.staged(), 3 * CHUNK, CHUNK + 100);
        server.sql(OTHER_BOOT).await;

        server.begin(None).await;
        let refused = server.api.finalize(&id).await.unwrap();
        assert_eq!(refused.problem(), (409, "upload-incomplete"), "{checksum}: {refused:?}");
        assert_eq!(refused.json["missing"], serde_json::json!([[1, 1], [3, 4]]));
        assert_eq!(server.api.missing(&id).await, [1, 3, 4]);
        server.api.fill(&id, &content).await;
        server.api.finish(&id, &content).await;
        server.settled(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_chunk_that_comes_again_by_itself_is_taken() {
    let mut server = Server::start().await;
    let content = bytes(SIZE, 2);
    let id = server.api.create(SIZE).await;
    server.api.fill(&id, &content).await;
    server.kill9();
    lose(&server.staged(), 2 * CHUNK, CHUNK);
    server.sql(OTHER_BOOT).await;

    server.begin(None).await;
    // Not compared with the receipt: its bytes are gone.
    let put = server.api.put(&id, 2, chunk(&content, 2)).await.unwrap();
    assert_eq!((put.status, &put.json["received_chunks"]), (200, &5.into()), "{put:?}");
    server.api.finish(&id, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_loss_of_power_is_noticed_too() {
    let mut server = Server::start().await;
    let content = bytes(SIZE, 3);
    let id = server.api.create(SIZE).await;
    server.api.fill(&id, &content).await;
    for _ in 0..2 {
        server.kill9();
        // What survived the first loss has reached the disk; what was sent again after it may not have.
        lose(&server.staged(), CHUNK, CHUNK);
        server.sql("UPDATE cifra_upload_parts SET boot = zeroblob(16) WHERE synced = FALSE").await;
        server.begin(None).await;
        assert_eq!(server.api.missing(&id).await, [1]);
        assert_eq!(server.count(UNSYNCED).await, 0);
        server.api.fill(&id, &content).await;
    }
    server.api.finish(&id, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_chunks_are_not_read_again() {
    let mut server = Server::start_with(&[("file_upload.durability", "chunk")]).await;
    let content = bytes(SIZE, 4);
    let id = server.api.create(SIZE).await;
    server.api.fill(&id, &content).await;
    server.kill9();
    assert_eq!(server.count(UNSYNCED).await, 0);
    // A disk that keeps its word does not do this; so who looks would notice.
    lose(&server.staged(), 0, CHUNK);
    server.sql(OTHER_BOOT).await;
    server.begin(None).await;
    assert!(server.api.missing(&id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_in_the_middle_of_finalize_is_noticed() {
    for (point, lost) in
        [("finish.after_claim", true), ("finish.after_digests", true), ("finish.after_store", false)]
    {
        let mut server = Server::start().await;
        let content = bytes(SIZE, 5);
        let id = server.api.create(SIZE).await;
        server.api.fill(&id, &content).await;
        server.kill9();
        server.begin(Some(&format!("{point}=kill"))).await;
        server.api.finalize(&id).await.unwrap_err();
        server.died().await;
        if lost {
            lose(&server.staged(), CHUNK, CHUNK);
        }
        server.sql(OTHER_BOOT).await;

        server.begin(None).await;
        let state = until("the sweeper has looked", async || {
            let state = server.api.upload(&id).await.unwrap().json["state"].clone();
            (state != "finalizing").then_some(state)
        });
        let state = state.await;
        if lost {
            assert_eq!(state, "receiving", "{point}");
            assert_eq!(server.api.content(&id).await, None);
            assert_eq!(server.api.missing(&id).await, [1], "{point}");
            server.api.fill(&id, &content).await;
        } else {
            // The bytes were flushed before the file got its name.
            assert_eq!(state, "completed", "{point}");
        }
        server.api.finish(&id, &content).await;
        server.settled(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_meets_finalize_vouches_for_nothing_that_is_lost() {
    let mut server = Server::start_with(&[("file_upload.checksum", "crc64nvme")]).await;
    let content = bytes(SIZE, 6);
    let id = server.api.create(SIZE).await;
    server.api.fill(&id, &content).await;
    server.kill9();
    lose(&server.staged(), CHUNK, CHUNK);
    server.sql(OTHER_BOOT).await;

    let (look, end) = (server.beside("look"), server.beside("end"));
    std::fs::write(&look, "").unwrap();
    std::fs::write(&end, "").unwrap();
    let pauses =
        format!("chunk.before_withdraw=pause:{};finish.after_claim=pause:{}", look.display(), end.display());
    server.begin(Some(&pauses)).await;
    let api = server.api.clone();
    let looking = api.upload(&id);
    let finalizing = api.finalize(&id);
    let meeting = async {
        let reached = |name: &str| server.beside(&format!("{name}.reached"));
        until("the loss is seen", async || reached("look").exists().then_some(())).await;
        until("the end is claimed", async || reached("end").exists().then_some(())).await;
        // Too late to withdraw: the end has begun.
        std::fs::remove_file(&look).unwrap();
    };
    let looking = async {
        let seen = looking.await;
        std::fs::remove_file(&end).unwrap();
        seen
    };
    let finalizing = async {
        until("the look has begun", async || server.beside("look.reached").exists().then_some(())).await;
        finalizing.await
    };
    let (seen, refused, ()) = tokio::join!(looking, finalizing, meeting);
    assert_eq!(seen.unwrap().status, 200);
    assert_eq!(refused.unwrap().problem(), (409, "upload-incomplete"));
    assert_eq!(server.api.content(&id).await, None);
    assert_eq!(server.api.missing(&id).await, [1]);
    server.api.fill(&id, &content).await;
    server.api.finish(&id, &content).await;
}

/// The SHA-256 has checkpoints; one that has seen a lost chunk is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_loss_behind_a_checkpoint_is_noticed() {
    const LARGE: usize = 8 << 20;
    let mut server = Server::start().await;
    let content = bytes(9 * LARGE + 5, 7);
    let wanted = serde_json::json!({ "filename": "a", "total_size": content.len(), "chunk_size": LARGE });
    let id = server.api.create_as(&wanted).await.unwrap().json["upload_id"].as_str().unwrap().to_owned();
    let part = |index: usize| &content[index * LARGE..content.len().min((index + 1) * LARGE)];
    for index in 0..10 {
        assert_eq!(server.api.put(&id, index, part(index)).await.unwrap().status, 200);
    }
    until("a checkpoint is kept", async || {
        (server.count("SELECT COUNT(*) FROM cifra_upload_checkpoints").await > 0).then_some(())
    })
    .await;
    server.kill9();
    lose(&server.staged(), 2 * LARGE, LARGE);
    server.sql(OTHER_BOOT).await;

    server.begin(None).await;
    assert_eq!(server.api.missing(&id).await, [2]);
    assert_eq!(server.api.put(&id, 2, part(2)).await.unwrap().status, 200);
    server.api.finish(&id, &content).await;
}
