//! Two and three nodes on one database, one Redis and one bucket, as processes: what they do together, and what happens
//! when one of them, or what they share, dies or stands still at the worst moment.
//!
//! After each test every byte is compared, and nothing is left in the bucket, in rows or in Redis.

pub(crate) mod chaos;
mod clients;
pub(crate) mod kills;
mod outages;
mod rolling;
mod stops;
mod together;

use bytes::Bytes;

use crate::harness::api::{Answer, Api, CHUNK, Result, chunk};
use crate::harness::cluster::Cluster;
use crate::suites::bytes;

/// Four chunks, the last one short.
const SIZE: usize = 3 * CHUNK + 1_000;

/// An upload with chunks 0 and 2.
async fn half(world: &Cluster, seed: u64) -> (String, Bytes) {
    let content = bytes(SIZE, seed);
    let id = world.api(0).create(SIZE).await;
    for index in [0, 2] {
        taken(world.api(index % world.nodes.len()).put(&id, index, chunk(&content, index)).await);
    }
    (id, content)
}

fn taken(answer: Result) -> Answer {
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

type Sending = tokio::task::JoinHandle<Result>;

/// A request that a test does not wait for yet.
#[expect(clippy::disallowed_methods, reason = "a client of the test, not a task of the service")]
fn begin<F>(api: &Api, call: impl FnOnce(Api) -> F) -> Sending
where
    F: Future<Output = Result> + Send + 'static,
{
    tokio::spawn(call(api.clone()))
}

fn begin_put(api: &Api, id: &str, index: usize, bytes: &Bytes) -> Sending {
    let (id, bytes) = (id.to_owned(), bytes.slice_ref(chunk(bytes, index)));
    begin(api, |api| async move { api.put(&id, index, &bytes).await })
}

fn begin_finalize(api: &Api, id: &str) -> Sending {
    let id = id.to_owned();
    begin(api, |api| async move { api.finalize(&id).await })
}

/// Sends what is missing and finalizes until the upload is the file, as a client does: a chunk that a store damaged is
/// asked for again, and an end that another node holds is asked after.
async fn becomes_the_file(api: &Api, id: &str, content: &[u8]) {
    for _ in 0..20 {
        let done = api.finalize(id).await.unwrap();
        match done.status {
            200 | 201 => return api.finish(id, content).await,
            409 => api.fill(id, content).await,
            202 => {}
            _ => panic!("{done:?}"),
        }
    }
    panic!("upload {id} does not come to its end");
}
