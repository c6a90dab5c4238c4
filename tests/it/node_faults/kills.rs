//! `kill -9` of a node at every step of a chunk and of an end, on PostgreSQL, Redis and S3: another node goes on, and
//! neither knows nor needs the dead one. `crash_points` holds the tables of steps complete.

use super::{begin_finalize, begin_put, half, taken};
use crate::harness::api::chunk;
use crate::harness::cluster::Cluster;
use crate::harness::process::until;
use crate::suites::bytes;

/// Steps on the way of a chunk, each with whether its receipt is there afterwards.
const CHUNK_POINTS: &[(&str, bool)] =
    &[("chunk.before_write", false), ("chunk.after_write", false), ("chunk.after_journal", true)];

/// Steps of the end.
const FINISH_POINTS: &[&str] =
    &["finish.after_claim", "finish.after_digests", "finish.after_store", "finish.after_commit"];

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_in_mid_chunk_is_not_needed_for_it() {
    let mut world = Cluster::start(2).await;
    let mut files = Vec::new();
    for (seed, (point, there)) in CHUNK_POINTS.iter().enumerate() {
        eprintln!("killed at {point}");
        let (id, content) = half(&world, seed as u64).await;
        restart_with(&mut world, &format!("{point}=kill")).await;
        begin_put(world.api(0), &id, 1, &content).await.unwrap().unwrap_err();
        world.nodes[0].died().await;

        let missing: &[usize] = if *there { &[3] } else { &[1, 3] };
        assert_eq!(world.api(1).missing(&id).await, missing, "{point}");
        // The claim has not been given back, and its time is not over.
        let busy = world.api(1).put(&id, 1, chunk(&content, 1)).await.unwrap();
        assert_eq!(busy.problem(), (409, "chunk-busy"), "{point}");
        assert!(busy.retry_after.is_some());
        world.lapse_claims_on_chunks();
        let other = bytes(super::SIZE, 77);
        let answer = world.api(1).put(&id, 1, chunk(&other, 1)).await.unwrap();
        assert_eq!(answer.status, if *there { 409 } else { 200 }, "{point}: {answer:?}");
        let answer = world.api(1).replace(&id, 1, chunk(&content, 1)).await.unwrap();
        assert_eq!(answer.status, 200, "{point}: {answer:?}");
        world.api(1).fill(&id, &content).await;
        world.api(1).finish(&id, &content).await;
        files.push((id, content));
        world.nodes[0].begin(None).await;
    }
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_in_finalize_is_not_needed_for_it() {
    let mut world = Cluster::start_with(2, &[("file_upload.finalize_wait", "100ms")]).await;
    let mut files = Vec::new();
    for (seed, point) in FINISH_POINTS.iter().enumerate() {
        for by_sweeper in [false, true] {
            eprintln!("killed at {point}, finished by the sweeper: {by_sweeper}");
            let (id, content) = half(&world, seed as u64).await;
            world.api(1).fill(&id, &content).await;
            restart_with(&mut world, &format!("{point}=kill")).await;
            // It may be told to come back later before the node dies.
            let told = begin_finalize(world.api(0), &id).await.unwrap();
            assert!(told.as_ref().map_or(true, |told| told.status == 202), "{point}: {told:?}");
            world.nodes[0].died().await;

            if *point != "finish.after_commit" {
                let held = world.api(1).finalize(&id).await.unwrap();
                assert_eq!((held.status, held.retry_after.is_some()), (202, true), "{point}: {held:?}");
                let refused = world.api(1).put(&id, 1, chunk(&content, 1)).await.unwrap();
                assert!(matches!(refused.status, 200 | 409), "{point}: {refused:?}");
                assert_eq!(world.api(1).content(&id).await, None, "{point}");
            }
            world.lapse_claims_on_ends().await;
            if by_sweeper {
                world.nodes[1].restart().await;
                until("the sweeper has finished it", async || {
                    world.api(1).content(&id).await.is_some().then_some(())
                })
                .await;
            }
            until("it is finished", async || {
                (world.api(1).finalize(&id).await.unwrap().status < 202).then_some(())
            })
            .await;
            world.api(1).finish(&id, &content).await;
            files.push((id, content));
            world.nodes[0].begin(None).await;
        }
    }
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_while_it_aborts_leaves_the_rest_to_the_others() {
    let mut world = Cluster::start(2).await;
    for point in ["sweep.before_expire", "sweep.after_expire"] {
        eprintln!("killed at {point}");
        let (id, _) = half(&world, 1).await;
        // Nobody else sweeps before it, and nobody seems to be writing.
        world.nodes[0].kill9();
        world.nodes[1].kill9();
        world.lapse_claims_on_chunks();
        let expire = format!("UPDATE cifra_uploads SET expires_at = 1 WHERE id = '{id}'");
        world.rows.change(&expire).await;
        world.nodes[0].launch(Some(&format!("{point}=kill")));
        world.nodes[0].died().await;
        world.nodes[1].begin(None).await;
        let cleared = "SELECT COUNT(*) FROM cifra_uploads WHERE bytes_cleared = FALSE";
        until("its bytes are gone", async || (world.rows.count(cleared).await == 0).then_some(())).await;
        assert_eq!(world.api(1).upload(&id).await.unwrap().problem(), (410, "upload-gone"), "{point}");
        world.nodes[0].begin(None).await;
    }
    // The same in the middle of a deletion.
    for point in ["delete.after_commit", "delete.after_unlink"] {
        let (id, content) = half(&world, 2).await;
        world.api(1).fill(&id, &content).await;
        taken_off(&mut world, &id, &content, point).await;
    }
    world.ends_empty(&[]).await;
}

async fn taken_off(world: &mut Cluster, id: &str, content: &bytes::Bytes, point: &str) {
    world.api(1).finish(id, content).await;
    restart_with(world, &format!("{point}=kill")).await;
    drop(world.api(0).delete_file(id).await);
    if point == "delete.after_unlink" {
        // Bytes go an hour later: when the next sweep finds that their time has come.
        world.nodes[0].kill9();
        world.nodes[1].kill9();
        world.lapse_deletions().await;
        world.nodes[0].launch(Some(&format!("{point}=kill")));
    }
    world.nodes[0].died().await;
    if !world.nodes[1].runs() {
        world.nodes[1].begin(None).await;
    }
    assert_eq!(world.api(1).content(id).await, None, "{point}");
    assert_eq!(world.api(1).delete_file(id).await.unwrap().status, 404, "{point}");
    world.nodes[0].begin(None).await;
}

/// The first node, with a fail point armed.
async fn restart_with(world: &mut Cluster, failpoint: &str) {
    world.nodes[0].kill9();
    world.nodes[0].begin(Some(failpoint)).await;
    // The other one speaks to it as if nothing had been.
    taken(world.api(0).get("/healthz").await);
}
