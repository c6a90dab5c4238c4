//! Chunks on their way to a store that has a bad day.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{begun, ends_well, refused_in_time, taken};
use crate::harness::api::chunk;
use crate::harness::cluster::Cluster;
use crate::harness::s3_faults::{Fault, INTERNAL_ERROR, SLOW_DOWN};
use crate::harness::s3_wire::Call;
use crate::suites::bytes;

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_moment_of_the_store_is_not_the_clients() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let moments: &[&[Fault]] = &[
        &[SLOW_DOWN, SLOW_DOWN],
        &[INTERNAL_ERROR],
        &[Fault::CutBefore],
        &[Fault::CutInBody(1_000)],
        &[Fault::CutAfter],
        &[Fault::Answered(503, "SlowDown")],
    ];
    let mut uploads = Vec::new();
    for (seed, moment) in moments.iter().enumerate() {
        let (id, content) = begun(api, seed as u64).await;
        world.store.plan(Call::UploadPart, moment);
        taken(api.put(&id, 1, chunk(&content, 1)).await, &format!("{moment:?}"));
        assert_eq!(api.missing(&id).await, [2, 3]);
        uploads.push((id, content));
    }
    ends_well(world, uploads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_told_in_time_and_nothing_counts() {
    let ways = [
        SLOW_DOWN,
        INTERNAL_ERROR,
        Fault::CutBefore,
        Fault::CutInBody(1_000),
        Fault::CutAfter,
        Fault::Silent,
    ];
    let all = ways.map(async |way| {
        let world = Cluster::alone(&[]).await;
        let api = world.api(0);
        let (id, content) = begun(api, 1).await;
        let before = world.store.seen(Call::UploadPart);
        world.store.always(Call::UploadPart, way);
        refused_in_time(api.put(&id, 1, chunk(&content, 1)), &format!("{way:?}")).await;
        let tries = world.store.seen(Call::UploadPart) - before;
        assert!((1..=10).contains(&tries), "{way:?}: {tries} tries");
        assert_eq!(api.missing(&id).await, [1, 2, 3], "{way:?}: a chunk counts that did not arrive");
        world.store.heal();
        taken(api.put(&id, 1, chunk(&content, 1)).await, &format!("after {way:?}"));
        ends_well(world, vec![(id, content)]).await;
    });
    join_all(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_to_the_store_is_not_a_store_that_is_away() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let size = 8 << 20;
    let wanted = json!({ "filename": "a.bin", "total_size": size, "chunk_size": size });
    let id = api.create_as(&wanted).await.unwrap().json["upload_id"].as_str().unwrap().to_owned();
    let content = bytes(size, 1);
    world.store.plan(Call::UploadPart, &[Fault::Slow(size / 6)]);
    let begun = std::time::Instant::now();
    taken(api.put(&id, 0, &content).await, "a part that takes six seconds");
    assert!(begun.elapsed() > Duration::from_secs(5), "the line was not slow");
    api.finish(&id, &content).await;
    world.ends_empty(&[(id, content)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_store_dropped_is_gone() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    for _ in 0..2 {
        let (id, content) = begun(api, 1).await;
        // As a rule of the bucket does with uploads that are old.
        assert_eq!(world.folder.abort(|_| true).await, 1);
        let gone = api.put(&id, 1, chunk(&content, 1)).await.unwrap();
        assert_eq!(gone.problem(), (410, "upload-gone"), "{gone:?}");
        for gone in
            [api.upload(&id).await, api.finalize(&id).await, api.put(&id, 2, chunk(&content, 2)).await]
        {
            assert_eq!(gone.unwrap().problem(), (410, "upload-gone"));
        }
        assert_eq!(api.abort(&id).await.unwrap().status, 204);
    }
    world.ends_empty(&[]).await;
}
