//! Nodes that work on the same uploads at the same time.

use std::time::Duration;

use futures_util::future::join_all;

use super::{SIZE, begin_put, half, taken};
use crate::harness::api::{CHUNK, chunk};
use crate::harness::cluster::Cluster;
use crate::harness::process::until;
use crate::harness::s3_faults::Fault;
use crate::harness::s3_wire::Call;
use crate::suites::bytes;

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_one_upload_come_by_all_nodes() {
    let world = Cluster::start(3).await;
    let size = 12 * CHUNK - 5;
    let mut files = Vec::new();
    for seed in 0..3 {
        let content = bytes(size, seed as u64);
        let id = world.api(seed).create(size).await;
        let all = (0..12).map(|index| world.api((index + seed) % 3).put(&id, index, chunk(&content, index)));
        for answer in join_all(all).await {
            taken(answer);
        }
        for node in 0..3 {
            assert_eq!(world.api(node).upload(&id).await.unwrap().json["received_chunks"], 12);
        }
        // Repeated elsewhere it is the old receipt; other bytes are refused everywhere.
        taken(world.api((seed + 1) % 3).put(&id, 3, chunk(&content, 3)).await);
        let conflict = world.api((seed + 2) % 3).put(&id, 3, chunk(&content, 4)).await.unwrap();
        assert_eq!(conflict.problem(), (409, "chunk-conflict"));
        let done = world.api((seed + 1) % 3).finalize(&id).await.unwrap();
        assert_eq!(done.status, 201, "{done:?}");
        world.api((seed + 2) % 3).finish(&id, &content).await;
        files.push((id, content));
    }
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_finalize_at_once_on_two_nodes_get_the_same_file() {
    let world = Cluster::start(2).await;
    let mut files = Vec::new();
    for seed in 0..6 {
        let (id, content) = half(&world, seed).await;
        world.api(0).fill(&id, &content).await;
        if seed % 2 == 1 {
            // The first one stands in the middle of it when the others come.
            world.store.plan(Call::Complete, &[Fault::AnswerHeld]);
        }
        let calls = [0, 1, 0, 1].map(|node| world.api(node).finalize(&id));
        let release = async {
            if seed % 2 == 1 {
                world.store.holds(1).await;
                tokio::time::sleep(Duration::from_millis(300)).await; // the others come and wait
                world.store.release();
            }
        };
        let (answers, ()) = tokio::join!(join_all(calls), release);
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 201)), "{answers:?}");
        assert!(answers.iter().all(|answer| answer.json == answers[0].json), "{answers:?}");
        world.api(1).finish(&id, &content).await;
        files.push((id, content));
    }
    assert_eq!(world.rows.count("SELECT COUNT(*) FROM cifra_files").await, 6);
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_send_one_chunk_to_two_nodes_get_one_receipt() {
    let world = Cluster::start(2).await;
    let mut files = Vec::new();
    for seed in 0..5 {
        let (id, content) = half(&world, seed).await;
        let other = bytes(SIZE, seed + 100);
        let (ours, theirs) = tokio::join!(
            world.api(0).put(&id, 1, chunk(&content, 1)),
            world.api(1).put(&id, 1, chunk(&other, 1)),
        );
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        let won = match (ours.status, theirs.status) {
            (200, 409) => content,
            (409, 200) => [&content[..CHUNK], chunk(&other, 1), &content[2 * CHUNK..]].concat().into(),
            both => panic!("{both:?}"),
        };
        world.api(1).fill(&id, &won).await;
        let done = world.api(0).finalize(&id).await.unwrap();
        assert_eq!(done.status, 201, "{done:?}");
        world.api(1).finish(&id, &won).await;
        files.push((id, won));
    }
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_on_one_node_ends_what_the_other_writes() {
    let world = Cluster::start(2).await;
    for point in [Fault::Held, Fault::AnswerHeld] {
        let (id, content) = half(&world, 1).await;
        world.store.plan(Call::UploadPart, &[point]);
        let sending = begin_put(world.api(1), &id, 1, &content);
        world.store.holds(1).await;
        assert_eq!(world.api(0).abort(&id).await.unwrap().status, 204, "{point:?}");
        let refused = world.api(1).put(&id, 3, chunk(&content, 3)).await.unwrap();
        assert_eq!(refused.problem(), (410, "upload-gone"), "{point:?}");
        world.store.release();
        assert_eq!(sending.await.unwrap().unwrap().problem(), (410, "upload-gone"), "{point:?}");
        for node in 0..2 {
            assert_eq!(world.api(node).upload(&id).await.unwrap().json["state"], "aborted");
        }
    }
    world.ends_empty(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sweepers_end_each_upload_once() {
    let mut world = Cluster::start(2).await;
    let mut ids = Vec::new();
    for seed in 0..12 {
        ids.push(half(&world, seed).await.0);
    }
    let (kept, content) = half(&world, 99).await;
    for node in &mut world.nodes {
        node.stop().await;
    }
    let expire = format!("UPDATE cifra_uploads SET expires_at = 1 WHERE id <> '{kept}'");
    assert_eq!(world.rows.change(&expire).await, 12);
    // Both sweep when they start.
    join_all(world.nodes.iter_mut().map(|node| node.begin(None))).await;
    let cleared = "SELECT COUNT(*) FROM cifra_uploads WHERE state = 'expired' AND bytes_cleared = TRUE";
    until("all of them have ended", async || (world.rows.count(cleared).await == 12).then_some(())).await;
    let noted = "SELECT COUNT(*) FROM cifra_audit WHERE action = 'upload-expired'";
    assert_eq!(world.rows.count(noted).await, 12, "an upload expired twice");
    for id in &ids {
        assert_eq!(world.api(1).upload(id).await.unwrap().problem(), (410, "upload-gone"));
    }
    world.api(1).fill(&kept, &content).await;
    world.api(0).finish(&kept, &content).await;
    world.ends_empty(&[(kept, content)]).await;
}

/// Without Redis nobody knows who else writes a chunk: the journal takes one receipt, and the end finds whose part the
/// store has.
#[tokio::test(flavor = "multi_thread")]
async fn two_who_send_one_chunk_without_redis_make_no_wrong_file() {
    let world = Cluster::start_with(2, &[("sessions.backend", "database")]).await;
    let (id, content) = half(&world, 1).await;
    let other = bytes(SIZE, 55);
    world.store.plan(Call::UploadPart, &[Fault::Held]);
    let slow = begin_put(world.api(0), &id, 1, &other);
    world.store.holds(1).await;
    world.api(1).fill(&id, &content).await;
    // The other one's part comes to the store behind the one that counts.
    world.store.release();
    let refused = slow.await.unwrap().unwrap();
    assert_eq!(refused.status, 409, "{refused:?}");
    let damaged = world.api(1).finalize(&id).await.unwrap();
    assert_eq!(damaged.problem(), (409, "upload-incomplete"), "{damaged:?}");
    assert_eq!(world.api(0).missing(&id).await, [1]);
    world.api(0).fill(&id, &content).await;
    let (one, two) = tokio::join!(world.api(0).finalize(&id), world.api(1).finalize(&id));
    assert_eq!(one.unwrap().json, two.unwrap().json);
    world.api(1).finish(&id, &content).await;
    world.ends_empty(&[(id, content)]).await;
}
