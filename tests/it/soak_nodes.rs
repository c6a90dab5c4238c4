//! What sharing costs: chunks on the embedded default beside chunks on PostgreSQL and Redis, and two hundred uploads
//! at once over two nodes. Measured and printed; asserted is only that nothing fails.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cifra::base::crc;
use futures_util::future::join_all;

use crate::harness::api::{CHUNK, chunk};
use crate::harness::cluster::Cluster;
use crate::harness::garage;
use crate::harness::postgres::PostgresServer;
use crate::harness::process::Server;
use crate::harness::redis::RedisServer;
use crate::suites::bytes;

/// The middle one, and the one that only a hundredth are slower than, in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
    (at(50), at(99))
}

/// Sends one chunk on a connection that is kept, as clients do; how long that took.
async fn send(http: &reqwest::Client, url: &str, id: &str, index: usize, body: &Bytes) -> Duration {
    let crc64 = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        crc::of(body).value().to_be_bytes(),
    );
    let request = http.put(format!("{url}/api/uploads/{id}/chunks/{index}")).body(body.clone());
    let begun = Instant::now();
    let answer = request.header("X-Checksum-Crc64nvme", crc64).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    begun.elapsed()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: a measurement"]
async fn soak_what_a_chunk_costs_on_postgresql_and_redis() {
    const CHUNKS: usize = 400;
    let (postgres, redis) = (PostgresServer::start_flushing(), RedisServer::start());
    let database = postgres.new_service_database().await;
    let embedded = Server::start().await;
    let shared =
        Server::start_with(&[("database.url", database.as_str()), ("redis.url", &redis.url())]).await;
    let content = bytes(CHUNKS * CHUNK, 3);
    let mut times = [Vec::new(), Vec::new()];
    // In turns, so that what else the machine does slows both.
    for _ in 0..5 {
        for (server, times) in [&embedded, &shared].into_iter().zip(&mut times) {
            let (http, id) = (client(), server.api.create(content.len()).await);
            for index in 0..CHUNKS {
                let body = Bytes::copy_from_slice(chunk(&content, index));
                times.push(send(&http, server.api.url(), &id, index, &body).await);
            }
            server.api.finish(&id, &content).await;
        }
    }
    let [embedded, shared] = times.map(percentiles);
    eprintln!(
        "a chunk of 64 KiB, p50 and p99 in ms: embedded {embedded:.2?}, PostgreSQL and Redis {shared:.2?}"
    );
}

/// Chunks of each upload.
const CHUNKS: usize = 12;

/// Sends all chunks of all uploads over two nodes, each at its time if there is a pace; how long each took, and all.
async fn load(
    urls: &[String],
    uploads: &[(String, Bytes)],
    pace: Option<Duration>,
) -> (Vec<Duration>, Duration) {
    let (begun, http) = (Instant::now(), client());
    let one = async |number: usize, id: &str, content: &Bytes| {
        let mut times = Vec::new();
        for index in 0..CHUNKS {
            if let Some(pace) = pace {
                let turn = u32::try_from(index * uploads.len() + number).unwrap();
                tokio::time::sleep_until((begun + pace * turn).into()).await;
            }
            let body = content.slice_ref(chunk(content, index));
            times.push(send(&http, &urls[(index + number) % urls.len()], id, index, &body).await);
        }
        times
    };
    let sent = uploads.iter().enumerate().map(|(number, (id, content))| one(number, id, content));
    let times = join_all(sent).await.concat();
    (times, begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: a measurement"]
async fn soak_two_hundred_uploads_at_once_over_two_nodes() {
    let endpoint = garage::server().endpoint();
    let world = Cluster::start_with(2, &[("file_upload.storage.s3.endpoint", &endpoint)]).await;
    let urls: Vec<String> = world.apis().iter().map(|api| api.url().to_owned()).collect();
    let mut files = Vec::new();
    let mut begin = async |seed: usize| {
        let mut uploads = Vec::new();
        for number in 0..200 {
            let content = bytes(CHUNKS * CHUNK, (seed * 1_000 + number) as u64);
            uploads.push((world.api(number % 2).create(content.len()).await, content));
        }
        files.extend(uploads.iter().cloned());
        uploads
    };
    let (warm, full, half) = (begin(1).await, begin(2).await, begin(3).await);
    load(&urls, &warm, None).await;
    let (at_full, elapsed) = load(&urls, &full, None).await;
    let pace = elapsed * 2 / u32::try_from(at_full.len()).unwrap();
    let (at_half, _) = load(&urls, &half, Some(pace)).await;
    let rate = f64::from(u32::try_from(at_full.len()).unwrap()) / elapsed.as_secs_f64();
    let (full, (p50, p99)) = (percentiles(at_full), percentiles(at_half));
    eprintln!("200 uploads, chunks of 64 KiB over two nodes: {rate:.0} chunks/s, p50 and p99 {full:.1?} ms");
    eprintln!("at half that rate: p50 {p50:.1} ms, p99 {p99:.1} ms, {:.1} times", p99 / p50);
    for (number, (id, content)) in files.iter().enumerate() {
        world.api(number % 2).finish(id, content).await;
    }
}
