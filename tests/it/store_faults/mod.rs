//! What real object stores do on bad days, played by a proxy between the service and its bucket: who is told what, in
//! which time, and that nothing is lost, half there or left behind. The service is the real one, over HTTP.

mod creation;
mod ends;
pub(crate) mod kills;
mod parts;
mod reads;

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::harness::api::{Answer, Api, CHUNK, Result, chunk};
use crate::harness::cluster::Cluster;
use crate::suites::bytes;

/// Four chunks, the last one short.
const SIZE: usize = 3 * CHUNK + 1_000;

/// `503` with a time to come back, in the five seconds that such an answer may take.
async fn refused_in_time(call: impl Future<Output = Result>, what: &str) {
    let begun = Instant::now();
    let answer = call.await.unwrap();
    assert_eq!(answer.problem(), (503, "unavailable"), "{what}: {answer:?}");
    assert!(answer.retry_after.is_some(), "{what}: {answer:?}");
    // Half a second for a busy machine.
    assert!(begun.elapsed() < Duration::from_millis(5_500), "{what}: {:?}", begun.elapsed());
}

/// An upload with its first chunk; the id and the bytes that belong into it.
async fn begun(api: &Api, seed: u64) -> (String, Bytes) {
    let content = bytes(SIZE, seed);
    let id = api.create(SIZE).await;
    taken(api.put(&id, 0, chunk(&content, 0)).await, "the first chunk");
    (id, content)
}

fn taken(answer: Result, what: &str) -> Answer {
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{what}: {answer:?}");
    answer
}

/// All is as if nothing had happened: the upload becomes a file, and with it everything goes.
async fn ends_well(world: Cluster, uploads: Vec<(String, Bytes)>) {
    world.store.heal();
    for (id, content) in &uploads {
        world.api(0).fill(id, content).await;
        world.api(0).finish(id, content).await;
    }
    world.ends_empty(&uploads).await;
}
