//! Nodes that stand still (SIGSTOP) for longer than what they hold lasts, and go on as if nothing had been: what they do
//! late is refused, and the file is what the others made of it.

use super::{SIZE, becomes_the_file, begin_finalize, begin_put, half, taken};
use crate::harness::api::{CHUNK, chunk};
use crate::harness::cluster::Cluster;
use crate::harness::process::until;
use crate::harness::s3_faults::Fault;
use crate::harness::s3_wire::Call;
use crate::suites::bytes;

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_of_a_node_that_stood_still_too_long_is_refused() {
    let mut world = Cluster::start(2).await;
    let mut files = Vec::new();
    for (seed, point) in ["chunk.before_write", "chunk.after_write"].into_iter().enumerate() {
        eprintln!("stopped at {point}");
        let (id, content) = half(&world, seed as u64).await;
        let late = bytes(SIZE, 55);
        stop_at(&mut world, point).await;
        let sending = begin_put(world.api(0), &id, 1, &late);
        world.nodes[0].stands_still().await;
        world.lapse_claims_on_chunks();
        // A node that stands still in a transaction keeps its locks until the database ends it, after 10 s.
        until("the other node takes the chunk", async || {
            let put = world.api(1).put(&id, 1, chunk(&content, 1)).await.unwrap();
            assert!(matches!(put.status, 200 | 503), "{put:?}");
            (put.status == 200).then_some(())
        })
        .await;
        world.nodes[0].unpause();
        let refused = sending.await.unwrap().unwrap();
        assert_eq!(refused.status, 409, "{point}: {refused:?}");

        world.api(1).fill(&id, &content).await;
        becomes_the_file(world.api(1), &id, &content).await;
        files.push((id, content));
    }
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_reaches_the_store_late_is_found_at_the_end() {
    let world = Cluster::start(2).await;
    let (id, content) = half(&world, 1).await;
    let late = bytes(SIZE, 55);
    // On its way to the store when its node stops; there when another one has arrived in its place.
    world.store.plan(Call::UploadPart, &[Fault::Held]);
    let sending = begin_put(world.api(0), &id, 1, &late);
    world.store.holds(1).await;
    world.nodes[0].pause();
    world.lapse_claims_on_chunks();
    world.api(1).fill(&id, &content).await;
    let before = world.store.answered(Call::UploadPart);
    world.store.release();
    until("the late part is in the store", async || {
        (world.store.answered(Call::UploadPart) > before).then_some(())
    })
    .await;
    world.nodes[0].unpause();
    let refused = sending.await.unwrap().unwrap();
    assert_eq!(refused.status, 409, "{refused:?}");

    let damaged = world.api(1).finalize(&id).await.unwrap();
    assert_eq!(damaged.problem(), (409, "upload-incomplete"), "{damaged:?}");
    assert_eq!(world.api(0).missing(&id).await, [1]);
    world.api(0).fill(&id, &content).await;
    world.api(0).finish(&id, &content).await;
    world.ends_empty(&[(id, content)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_a_node_that_stood_still_too_long_changes_nothing() {
    let mut world = Cluster::start(2).await;
    let mut files = Vec::new();
    for (seed, point) in
        ["finish.after_claim", "finish.after_digests", "finish.after_store"].into_iter().enumerate()
    {
        for deleted in [false, true] {
            eprintln!("stopped at {point}; deleted meanwhile: {deleted}");
            let (id, content) = half(&world, seed as u64).await;
            world.api(1).fill(&id, &content).await;
            stop_at(&mut world, point).await;
            let finishing = begin_finalize(world.api(0), &id);
            world.nodes[0].stands_still().await;
            world.lapse_claims_on_ends().await;
            let done = world.api(1).finalize(&id).await.unwrap();
            // By its sweeper, if that came just then.
            assert!(matches!(done.status, 200 | 201), "{point}: {done:?}");
            if deleted {
                assert_eq!(world.api(1).delete_file(&id).await.unwrap().status, 204);
                world.lapse_deletions().await;
                world.nodes[1].restart().await;
            }
            world.nodes[0].unpause();
            let late = finishing.await.unwrap().unwrap();
            if deleted {
                assert!(late.status >= 404, "{point}: {late:?}");
                assert_eq!(world.api(1).content(&id).await, None, "{point}");
            } else {
                assert_eq!((late.status, &late.json), (200, &done.json), "{point}");
                world.api(0).finish(&id, &content).await;
                files.push((id, content));
            }
        }
    }
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_another_node_gave_up_is_not_gone_on_with() {
    let mut world = Cluster::start(2).await;
    let (id, content) = half(&world, 1).await;
    world.api(1).fill(&id, &content).await;
    stop_at(&mut world, "finish.after_claim").await;
    // Its sweeper comes again in half a minute, and not before the abort.
    world.nodes[1].restart().await;
    let finishing = begin_finalize(world.api(0), &id);
    world.nodes[0].stands_still().await;
    world.lapse_claims_on_ends().await;
    assert_eq!(world.api(1).abort(&id).await.unwrap().status, 204);
    world.nodes[0].unpause();
    let late = finishing.await.unwrap().unwrap();
    assert_eq!(late.problem(), (410, "upload-gone"), "{late:?}");
    world.ends_empty(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_of_a_node_that_stood_still_too_long_is_refused() {
    let mut world = Cluster::start(2).await;
    let (id, content) = half(&world, 1).await;
    let (before, late) = (bytes(SIZE, 44), bytes(SIZE, 55));
    taken(world.api(1).put(&id, 1, chunk(&before, 1)).await);
    // The old receipt is withdrawn, the new bytes are not there yet.
    stop_at(&mut world, "chunk.after_withdraw").await;
    let piece = late.slice(CHUNK..2 * CHUNK);
    let name = id.clone();
    let sending = super::begin(world.api(0), |api| async move { api.replace(&name, 1, &piece).await });
    world.nodes[0].stands_still().await;
    world.lapse_claims_on_chunks();
    world.api(1).fill(&id, &content).await;
    world.nodes[0].unpause();
    let refused = sending.await.unwrap().unwrap();
    assert_eq!(refused.status, 409, "{refused:?}");
    becomes_the_file(world.api(1), &id, &content).await;
    world.ends_empty(&[(id, content)]).await;
}

/// The first node, started again with a fail point that stops it.
async fn stop_at(world: &mut Cluster, point: &str) {
    world.nodes[0].kill9();
    world.nodes[0].begin(Some(&format!("{point}=stop"))).await;
}
