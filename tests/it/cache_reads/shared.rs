//! Two nodes that share a Redis: what one has read the other need not, and never what does not stand any more.

use std::sync::Arc;
use std::time::Duration;

use cifra::base::{Code, ManualClock, Timestamp};
use cifra::cache::{CacheTier, Policy, RedisTier, TAGS, Token};
use cifra::redis::Redis;
use cifra::telemetry::Tasks;

use super::stage::{Source, Stage, TTL};
use crate::harness::process::until;
use crate::harness::redis;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nodes of one service, on one clock.
struct Nodes {
    prefix: String,
    clock: Arc<ManualClock>,
    tasks: Tasks,
}

impl Nodes {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
        Self { prefix: format!("cifra:{}", uuid::Uuid::new_v4()), clock, tasks: Tasks::default() }
    }

    async fn tier(&self) -> Arc<RedisTier> {
        let server = redis::server();
        let redis = Redis::start(&server.config(), &self.prefix, &self.tasks).await.unwrap().unwrap();
        let tier = RedisTier::new(redis);
        tier.mark_current(tier.doubts());
        Arc::new(tier)
    }

    /// One that has just begun.
    async fn start(&self) -> Stage {
        self.start_with_locks_of(Duration::from_millis(300)).await
    }

    /// The same; others wait so long for what it reads.
    async fn start_with_locks_of(&self, lock_ttl: Duration) -> Stage {
        let tier = self.tier().await;
        Stage::on(Arc::clone(&self.clock), Some(tier), |config| {
            // Redis may take as long as it may take.
            config.soft_timeout = Duration::from_secs(1);
            config.hard_timeout = PATIENCE;
            config.lock_ttl = lock_ttl;
        })
    }

    async fn end(self) {
        assert!(self.tasks.finish(Duration::from_secs(5)).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_has_read_another_finds_until_somebody_changes_it() {
    let nodes = Nodes::new();
    let (one, two, source) = (nodes.start().await, nodes.start().await, Source::open());
    assert_eq!(one.told("1", &source).await, (1, "DB"));
    assert_eq!(two.told("1", &source).await, (1, "L2"));
    assert_eq!(two.told("1", &source).await, (1, "L1"));
    source.set(2);
    one.cache.invalidate(&[one.change_of("1")]).await;
    let three = nodes.start().await;
    assert_eq!(three.told("1", &source).await, (2, "DB"));
    assert_eq!(one.told("1", &source).await, (2, "L2"));
    // It hears of it by its feed.
    two.cache.apply(&[two.change_of("1")]).await.unwrap();
    assert_eq!(two.told("1", &source).await.0, 2);
    nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_before_a_change_on_another_node_is_nothing_to_anybody() {
    let nodes = Nodes::new();
    let (one, two, source) = (nodes.start().await, nodes.start().await, Source::closed());
    let before = one.asks("1", &source);
    source.was_asked(1).await;
    source.set(2);
    two.cache.invalidate(&[two.change_of("1")]).await;
    source.answers(2);
    assert_eq!(before.await.unwrap(), (1, "DB"));
    assert_eq!(two.told("1", &source).await, (2, "DB"));
    nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_reads_for_all_of_them() {
    let nodes = Nodes::new();
    // The first may be slow on a busy machine; nobody else may answer for it.
    let [one, two] = [PATIENCE; 2].map(|lock_ttl| nodes.start_with_locks_of(lock_ttl));
    let (one, two, source) = (one.await, two.await, Source::closed());
    let first = one.asks("1", &source);
    source.was_asked(1).await;
    let second: Vec<_> = (0..100).map(|_| two.asks("1", &source)).collect();
    source.answers(1);
    assert_eq!(first.await.unwrap(), (1, "DB"));
    for reader in second {
        assert_eq!(reader.await.unwrap().0, 1);
    }
    assert_eq!(source.asked(), 1);
    nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_died_while_it_read_is_waited_for_only_as_long_as_its_lock() {
    let nodes = Nodes::new();
    let (node, source) = (nodes.start().await, Source::open());
    let key = node.key("1");
    let died = nodes.tier().await;
    assert_eq!(died.lock(&key, Token::random(), Duration::from_millis(300)).await, Ok(true));
    let begun = std::time::Instant::now();
    assert_eq!(node.told("1", &source).await, (1, "DB"));
    assert!(begun.elapsed() >= Duration::from_millis(150), "it was not waited for: {:?}", begun.elapsed());
    // One that left gives the lock back.
    let closed = Source::closed();
    let left = node.asks("2", &closed);
    closed.was_asked(1).await;
    left.abort();
    let free = async {
        while died.lock(&node.key("2"), Token::random(), Duration::from_millis(1)).await != Ok(true) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_millis(200), free)
        .await
        .expect("the lock is given back before its time");
    nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_has_the_aged_values_of_the_one_before_it() {
    let nodes = Nodes::new();
    let (one, source) = (nodes.start().await, Source::open());
    for id in ["1", "2"] {
        one.told(id, &source).await;
        // A second node sees it there: then it is.
        assert_eq!(nodes.start().await.told(id, &source).await, (1, "L2"));
    }
    nodes.clock.advance(TTL);
    source.fails(true);
    let two = nodes.start().await;
    assert_eq!(two.told("1", &source).await, (1, "STALE"));
    one.cache.invalidate(&[one.change_of("2")]).await;
    assert_eq!(two.read("2", &source).await.unwrap_err().code(), Code::Unavailable);
    nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_there_is_none_is_shared_too_and_forgotten_with_what_was_there() {
    let nodes = Nodes::new();
    let (mut one, mut two, source) = (nodes.start().await, nodes.start().await, Source::open());
    for node in [&mut one, &mut two] {
        node.entity = node.entity.clone().believed(Policy { ttl: TTL, negative_ttl: Some(TTL) });
    }
    source.set(0);
    assert!(one.read("1", &source).await.unwrap().value.is_none());
    let read = two.read("1", &source).await.unwrap();
    assert_eq!((read.value, read.source.as_str(), source.asked()), (None, "L2", 1));
    nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_what_is_not_there_leaves_nothing_of_it_behind() {
    let nodes = Nodes::new();
    let (node, source, tier) = (nodes.start().await, Source::open(), nodes.tier().await);
    let own_token = async || tier.get(&node.key("1")).await.unwrap().tokens[TAGS - 1];
    node.told("1", &source).await;
    assert!(own_token().await.is_some(), "it stands by it");
    node.cache.invalidate(&[node.change_of("1")]).await;
    source.set(0);
    assert!(node.read("1", &source).await.unwrap().value.is_none());
    until("its token is gone", async || own_token().await.is_none().then_some(())).await;
    nodes.end().await;
}
