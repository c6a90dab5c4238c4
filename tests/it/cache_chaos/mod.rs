//! Three nodes on one PostgreSQL and one Redis, while files and rows change, people have the cache forget, and
//! Redis dies, stands still, forgets everything, or comes back with what it had a while ago, in an order that a seed decides.
//!
//! Every change is written down with when it was known to be committed, and every answer is held against that: nothing
//! is older than a second unless it says so, nothing goes back, whoever changed something sees it, and nobody is refused.

mod history;

use std::time::{Duration, Instant};

use self::history::History;
use crate::client::cifra;
use crate::harness::cluster::Cluster;
use crate::harness::process::Server;
use crate::harness::redis::RedisServer;
use crate::harness::rows::Rows;
use crate::node_faults::chaos::Luck;
use cifra::config::Environment;
use futures_util::future::{join, join_all, join3};

/// Nobody is answered with what was changed longer ago.
const BOUND: Duration = Duration::from_secs(1);
/// For a busy machine. Nothing needs it in principle: times are taken so that they only ever forgive.
const MARGIN: Duration = Duration::from_millis(100);
/// How long the short one lasts, which is part of every run of tests.
const SHORT: Duration = Duration::from_secs(18);
const CONTACT: &str = "entities:\n  Contact: { table: contacts, tenant_column: tenant, ttl: 1h }\n";
const NODES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_redis_no_answer_is_older_than_a_second_and_none_goes_back() {
    chaos(SHORT).await;
}

/// `CIFRA_SOAK_MINUTES` says how long (5 if it does not). A run prints its seed; `CIFRA_CHAOS_SEED` gives the same
/// troubles in the same order again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: minutes of bad luck with Redis"]
async fn soak_cache_chaos() {
    let minutes = Environment::of_process().get("CIFRA_SOAK_MINUTES").map_or(5, |text| text.parse().unwrap());
    chaos(Duration::from_mins(minutes)).await;
}

async fn chaos(time: Duration) {
    let given = Environment::of_process().get("CIFRA_CHAOS_SEED").map(|text| text.parse().unwrap());
    let seed: u64 = given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    eprintln!("CIFRA_CHAOS_SEED={seed}");
    let mut world = Cluster::start(NODES).await;
    let mut paths = Vec::new();
    for _ in 0..4 {
        paths.push(format!("/api/files/{}", world.api(0).file(b"bytes").await));
    }
    paths.extend((1..=4).map(|id| format!("/api/entities/Contact/{id}")));
    watch_contacts(&mut world).await;
    let redis = world.redis.take().unwrap();
    let urls = world.apis().iter().map(|api| api.url().to_owned()).collect();
    let history = History::of(urls, paths);

    let (begun, runtime) = (history.begun, tokio::runtime::Handle::current());
    // A thread of its own: it waits for processes.
    let troubles = tokio::task::spawn_blocking(move || {
        let luck = Luck(seed ^ 0xbad | 1);
        (runtime.block_on(trouble(&redis, luck, begun, begun + time)), redis)
    });
    let luck = |number: u64| Luck(seed.rotate_left(7).wrapping_add(number * 0x9e37_79b9) | 1);
    let end = begun + time;
    let Rows::Postgres(database) = &world.rows else { unreachable!() };
    let renaming = (0..2).map(|n| history.renames([2 * n, 2 * n + 1], luck(n as u64), end));
    let updating = (2..4).map(|n| history.updates(database, [2 * n, 2 * n + 1], luck(n as u64), end));
    let reading = (0..2 * NODES).map(|n| history.reads(n % NODES, luck(10 + n as u64), end));
    let changing = join(join_all(renaming), join_all(updating));
    join3(changing, history.forgets(luck(20), end), join_all(reading)).await;
    let (troubles, _redis) = troubles.await.unwrap();
    history.ends_the_same_everywhere().await;
    history.says(seed, &troubles);
}

/// A table of one's own with four rows, and all nodes started again with it as an entity. Two of them ask Redis often.
async fn watch_contacts(world: &mut Cluster) {
    let Rows::Postgres(url) = &world.rows else { unreachable!() };
    let table = "CREATE TABLE contacts (id BIGINT PRIMARY KEY, tenant TEXT, version INTEGER, name TEXT)";
    world.rows.change(table).await;
    world
        .rows
        .change("INSERT INTO contacts SELECT n, 'default', 1, '1' FROM generate_series(1, 4) AS n")
        .await;
    let file = world.nodes[0].beside("entities.yaml");
    std::fs::write(&file, CONTACT).unwrap();
    let mut watch = cifra();
    watch.args(["cache", "watch", "Contact", "--config"]).arg(&file).env("DATABASE_URL", url);
    let said = watch.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    for (number, node) in world.nodes.iter_mut().enumerate() {
        node.env("CIFRA_CONFIG", file.to_str().unwrap());
        if number > 0 {
            node.set("cache.l1.ttl", "300ms");
        }
    }
    join_all(world.nodes.iter_mut().map(Server::restart)).await;
}

/// Redis meets with one thing after the other; what, and when.
async fn trouble(redis: &RedisServer, mut luck: Luck, begun: Instant, end: Instant) -> Vec<String> {
    let mut troubles = Vec::new();
    while Instant::now() < end {
        luck.wait(Duration::from_millis(1_200)).await;
        let since = begun.elapsed();
        let most = Duration::from_millis(if luck.below(5) == 0 { 4_000 } else { 900 });
        let what = match luck.below(8) {
            0 | 1 => {
                redis.pause();
                luck.wait(most).await;
                redis.resume();
                "stood still"
            }
            2 | 3 => {
                redis.kill();
                luck.wait(most).await;
                redis.restart();
                "was killed"
            }
            4 => {
                redis.kill();
                redis.restart();
                "was killed and started at once"
            }
            5 | 6 => {
                redis.flush();
                "was emptied"
            }
            _ => {
                // What it has when it is killed next time.
                assert_eq!(redis.command(&["SAVE"]), "OK");
                "was saved"
            }
        };
        troubles.push(format!("{since:.3?} to {:.3?}: Redis {what}", begun.elapsed()));
    }
    troubles
}
