//! All of it at once, in an order that a seed decides: nodes die, stand still, are started again; PostgreSQL, Redis and
//! the store go away and come back. Clients go on meanwhile, and whatever they were told holds at the end.

use std::time::{Duration, Instant};

use cifra::config::Environment;

use super::clients::Crowd;
use crate::harness::cluster::Cluster;
use crate::harness::postgres::PostgresServer;
use crate::harness::process::Server;
use crate::harness::redis::RedisServer;
use crate::harness::s3_faults::{Fault, FaultyS3, INTERNAL_ERROR, SLOW_DOWN};
use crate::harness::s3_wire::Call;

/// How long the short one lasts, which is part of every run of tests.
const SHORT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn half_a_minute_of_bad_luck_loses_nothing() {
    chaos(SHORT, 3).await;
}

/// `CIFRA_SOAK_MINUTES` says how long (10 if it does not). A run prints its seed; `CIFRA_CHAOS_SEED` gives the same
/// troubles in the same order again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: minutes of bad luck"]
async fn soak_minutes_of_bad_luck_lose_nothing() {
    let minutes =
        Environment::of_process().get("CIFRA_SOAK_MINUTES").map_or(10, |text| text.parse().unwrap());
    chaos(Duration::from_mins(minutes), 4).await;
}

async fn chaos(time: Duration, clients: u64) {
    let given = Environment::of_process().get("CIFRA_CHAOS_SEED").map(|text| text.parse().unwrap());
    let seed = given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    // Sometimes nodes do without Redis.
    let sessions = if seed.is_multiple_of(3) { "database" } else { "auto" };
    eprintln!("CIFRA_CHAOS_SEED={seed} (sessions.backend: {sessions})");
    let mut world = Cluster::start_with_postgres(3, &[("sessions.backend", sessions)]).await;
    let crowd = Crowd::start(&world.apis(), clients, seed);
    let end = Instant::now() + time;
    let Cluster { nodes, redis, store, postgres, .. } = &mut world;
    let (nodes_met, others_met) = tokio::join!(
        trouble_nodes(nodes, Luck(seed | 1), end),
        trouble_surroundings(
            redis.as_ref().unwrap(),
            postgres.as_ref().unwrap(),
            store,
            Luck(seed ^ 0xbad | 1),
            end
        ),
    );
    let files = crowd.files().await;
    eprintln!(
        "{} files; {nodes_met} times a node was in trouble, {others_met} times what they share",
        files.len()
    );
    assert!(nodes_met > 3 && others_met > 3, "there was hardly any trouble");
    assert!(files.len() as u64 >= 2 * clients, "hardly anything was sent");
    assert_eq!(
        world.rows.count("SELECT COUNT(*) FROM cifra_files").await,
        i64::try_from(files.len()).unwrap()
    );
    world.drops_unknown_uploads().await;
    world.ends_empty(&files).await;
}

/// What comes next, always the same after the same seed.
pub(crate) struct Luck(pub(crate) u64);

impl Luck {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % bound
    }

    pub(crate) async fn wait(&mut self, at_most: Duration) {
        let most = u64::try_from(at_most.as_millis()).unwrap();
        tokio::time::sleep(Duration::from_millis(50 + self.below(most))).await; // any moment is a bad one
    }
}

/// One node after the other meets with something; the others go on.
async fn trouble_nodes(nodes: &mut [Server], mut luck: Luck, end: Instant) -> u32 {
    let mut times = 0;
    while Instant::now() < end {
        times += 1;
        luck.wait(Duration::from_millis(1_500)).await;
        let count = nodes.len() as u64;
        let node = &mut nodes[usize::try_from(luck.below(count)).unwrap()];
        match luck.below(8) {
            0..=2 => node.kill9(),
            3 | 4 => {
                node.terminate();
                node.ended().await;
            }
            // For a moment, or for longer than a claim on a chunk lasts.
            longer => {
                node.pause();
                let most = if longer == 7 { Duration::from_secs(13) } else { Duration::from_secs(1) };
                luck.wait(most).await;
                node.unpause();
                continue;
            }
        }
        luck.wait(Duration::from_millis(500)).await;
        revive(node).await;
    }
    times
}

/// Starts it until it stays, as whoever watches over processes does: while the database is away it cannot start.
async fn revive(node: &mut Server) {
    loop {
        node.launch(None);
        if node.is_up().await {
            return;
        }
        node.ended().await;
        tokio::time::sleep(Duration::from_millis(200)).await; // as a supervisor waits
    }
}

/// One of what the nodes share goes away and comes back.
async fn trouble_surroundings(
    redis: &RedisServer,
    postgres: &PostgresServer,
    store: &FaultyS3,
    mut luck: Luck,
    end: Instant,
) -> u32 {
    let (most, mut times) = (Duration::from_millis(1_500), 0);
    while Instant::now() < end {
        times += 1;
        luck.wait(most).await;
        match luck.below(8) {
            0 => {
                let crashes = luck.below(2) == 0;
                let end = || if crashes { postgres.stop() } else { postgres.shut_down() };
                tokio::task::block_in_place(end);
                luck.wait(most).await;
                tokio::task::block_in_place(|| postgres.resume());
            }
            1 => {
                redis.pause();
                luck.wait(most).await;
                redis.resume();
            }
            2 => {
                tokio::task::block_in_place(|| redis.kill());
                luck.wait(most).await;
                tokio::task::block_in_place(|| redis.restart());
            }
            3 => tokio::task::block_in_place(|| redis.flush()),
            4 | 5 => {
                let ways =
                    [SLOW_DOWN, INTERNAL_ERROR, Fault::CutBefore, Fault::CutInBody(9_000), Fault::Silent];
                store.everything(ways[usize::try_from(luck.below(5)).unwrap()]);
                luck.wait(most).await;
                store.heal();
            }
            _ => {
                // Of uploads that begin an answer must not be lost: nobody would know their names.
                let calls = [Call::UploadPart, Call::Complete, Call::Put, Call::Get, Call::Head, Call::Abort];
                let call = calls[usize::try_from(luck.below(6)).unwrap()];
                store.plan(call, &[Fault::CutAfter, SLOW_DOWN, Fault::CutAfter]);
            }
        }
    }
    store.heal();
    times
}
