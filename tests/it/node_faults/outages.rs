//! What nodes share goes away in the middle of uploads, and comes back: slower, not refused, nothing lost.

use std::time::Duration;

use super::clients::Crowd;
use super::{half, taken};
use crate::harness::api::chunk;
use crate::harness::cluster::Cluster;
use crate::harness::process::until;
use crate::harness::s3_faults::{Fault, SLOW_DOWN};
use crate::harness::s3_wire::Call;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_goes_away_and_comes_back_empty_is_missed_by_nobody() {
    let world = Cluster::start(2).await;
    let crowd = Crowd::start(&world.apis(), 3, 1);
    let redis = world.redis();
    let pause = || tokio::time::sleep(Duration::from_millis(700)); // uploads go on
    pause().await;
    for _ in 0..2 {
        redis.pause();
        pause().await;
        redis.resume();
        pause().await;
        redis.flush();
        pause().await;
        redis.kill();
        pause().await;
        redis.restart();
        pause().await;
    }
    let files = crowd.files().await;
    until("all nodes have it again", async || {
        let mut ready = Vec::new();
        for api in world.apis() {
            ready.push(api.get("/readyz").await.unwrap().json["status"].clone());
        }
        ready.iter().all(|status| status == "ok").then_some(())
    })
    .await;
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_started_again_is_waited_for() {
    let world = Cluster::start_with_postgres(2, &[]).await;
    let crowd = Crowd::start(&world.apis(), 3, 2);
    let postgres = world.postgres.as_ref().unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(800)).await; // uploads go on
        tokio::task::block_in_place(|| postgres.shut_down());
        tokio::time::sleep(Duration::from_millis(800)).await; // and are told to come back
        tokio::task::block_in_place(|| postgres.resume());
    }
    tokio::time::sleep(Duration::from_millis(500)).await; // one more round for all
    let files = crowd.files().await;
    world.drops_unknown_uploads().await;
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_has_every_receipt_and_every_file_that_was_told() {
    let world = Cluster::start_with_postgres(2, &[]).await;
    let postgres = world.postgres.as_ref().unwrap();
    let (id, content) = half(&world, 1).await;
    for index in [1, 3] {
        taken(world.api(index % 2).put(&id, index, chunk(&content, index)).await);
    }
    tokio::task::block_in_place(|| postgres.stop());
    tokio::task::block_in_place(|| postgres.resume());
    for node in 0..2 {
        // A connection that died without being used is noticed by the request that is given it.
        let told = until("the node has its database again", async || {
            let told = world.api(node).upload(&id).await.unwrap();
            (told.status == 200).then_some(told)
        });
        assert_eq!(told.await.json["missing_count"], 0, "every receipt is there");
    }
    world.api(0).finish(&id, &content).await;
    // A file that was told to be there survives the next moment's crash.
    tokio::task::block_in_place(|| postgres.stop());
    tokio::task::block_in_place(|| postgres.resume());
    for node in 0..2 {
        until("the file is there", async || {
            let answer = world.api(node).get(&format!("/api/files/{id}")).await.unwrap();
            assert_ne!(answer.status, 404, "{answer:?}");
            (answer.status == 200).then_some(())
        })
        .await;
    }
    world.ends_empty(&[(id, content)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_bad_moments_loses_nothing() {
    let world = Cluster::start(2).await;
    let crowd = Crowd::start(&world.apis(), 3, 3);
    for way in [SLOW_DOWN, Fault::CutBefore, Fault::CutInBody(30_000), Fault::Silent] {
        tokio::time::sleep(Duration::from_millis(500)).await; // uploads go on
        world.store.everything(way);
        tokio::time::sleep(Duration::from_secs(1)).await; // and are told to come back
        world.store.heal();
    }
    for call in [Call::UploadPart, Call::Complete, Call::Put, Call::Get, Call::Head, Call::Abort] {
        world.store.plan(call, &[Fault::CutAfter, SLOW_DOWN, Fault::CutAfter]);
        tokio::time::sleep(Duration::from_millis(300)).await; // they meet with it
    }
    let files = crowd.files().await;
    world.ends_empty(&files).await;
}
