//! Redis as the service uses it: asked briefly, left alone while it is away, used again when it is back.

use std::time::{Duration, Instant};

use cifra::config::{Config, Sources, load};
use cifra::redis::{Away, Heard, PATIENCE, Redis, Script};
use cifra::telemetry::Tasks;
use tokio::sync::mpsc;

use crate::harness::process::until;
use crate::harness::redis::{self, RedisCluster, RedisServer};

/// What a test does to a server.
type Act = fn(&RedisServer);

/// A connection of a test's own, ended with it.
struct Connection {
    redis: Redis,
    tasks: Tasks,
}

impl Connection {
    async fn to(url: &str, ca_file: Option<&str>) -> Self {
        Self::of(&format!("cifra:{}", uuid::Uuid::new_v4()), url, ca_file).await
    }

    /// One of several that have the same database.
    async fn of(prefix: &str, url: &str, ca_file: Option<&str>) -> Self {
        let tasks = Tasks::default();
        let redis = Redis::start(&config(url, ca_file).redis, prefix, &tasks).await.unwrap().unwrap();
        Self { redis, tasks }
    }

    async fn set_and_get(&self) -> Result<String, Away> {
        let key = format!("{}:{{x}}", self.redis.prefix());
        let script =
            Script::new("redis.call('SET', KEYS[1], ARGV[1], 'PX', 10000) return redis.call('GET', KEYS[1])");
        self.redis.run(&script, &[&key], &[b"value"]).await
    }

    async fn end(self) {
        assert!(self.tasks.finish(Duration::from_secs(5)).await);
    }
}

fn config(url: &str, ca_file: Option<&str>) -> Config {
    let mut flags = vec![("redis.url".to_owned(), url.to_owned())];
    flags.extend(ca_file.map(|path| ("redis.ca_file".to_owned(), path.to_owned())));
    load(&Sources::of_process(None, flags).unwrap()).unwrap().config
}

/// What is published is heard, by the other too.
async fn messages_pass(one: &Connection, other: &Connection) {
    let (sender, mut heard) = mpsc::unbounded_channel();
    other.redis.listen(move |what| {
        if let Heard::Message(message) = what {
            let _ = sender.send(message.to_vec());
        }
    });
    until("it listens", async || other.redis.hears().then_some(())).await;
    // Servers of a cluster that have just met may not pass on everything yet.
    let hello = until("it is heard", async || {
        one.redis.publish(b"hello").await.unwrap();
        tokio::time::timeout(Duration::from_millis(100), heard.recv()).await.ok()
    });
    assert_eq!(hello.await.unwrap(), b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_is_asked_and_heard() {
    let connection = Connection::to(&redis::server().url(), None).await;
    assert_eq!(connection.set_and_get().await.unwrap(), "value");
    messages_pass(&connection, &connection).await;
    for (key, left) in redis::server().keys(connection.redis.prefix()) {
        assert!((1..=10_000).contains(&left), "{key} stays for {left} ms");
    }
    connection.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_accounts_are_spoken() {
    let server = RedisServer::with_tls();
    let ca_file = server.ca_file();
    let connection = Connection::to(&server.url(), Some(ca_file.to_str().unwrap())).await;
    assert_eq!(connection.set_and_get().await.unwrap(), "value");
    messages_pass(&connection, &connection).await;
    connection.end().await;
    // Without the authority nobody is believed.
    let connection = Connection::to(&server.url(), None).await;
    assert_eq!(connection.set_and_get().await, Err(Away));
    connection.end().await;

    let server = RedisServer::with_account();
    let connection = Connection::to(&server.url(), None).await;
    assert_eq!(connection.set_and_get().await.unwrap(), "value");
    messages_pass(&connection, &connection).await;
    connection.end().await;
    let connection = Connection::to(&format!("redis://alice:wrong@{}", server.address()), None).await;
    assert_eq!(connection.set_and_get().await, Err(Away));
    connection.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_one() {
    let cluster = RedisCluster::start();
    let one = Connection::to(&cluster.url(), None).await;
    let other = Connection::of(one.redis.prefix(), &cluster.url(), None).await;
    let script = Script::new("return redis.call('SET', KEYS[1], 'x', 'PX', 60000)");
    for slot in 0..50 {
        let key = format!("{}:{{{slot}}}", one.redis.prefix());
        let done: String = one.redis.run(&script, &[&key], &[]).await.unwrap();
        assert_eq!(done, "OK");
    }
    let held = cluster.servers.iter().map(|server| server.keys(&format!("{}:{{", one.redis.prefix())).len());
    let held: Vec<usize> = held.collect();
    assert!(held.iter().all(|count| *count > 0) && held.iter().sum::<usize>() == 50, "{held:?}");
    messages_pass(&one, &other).await;
    one.end().await;
    other.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_server_that_is_away_and_it_is_used_again_within_two_seconds() {
    let server = RedisServer::start();
    let connection = Connection::to(&server.url(), None).await;
    let paused: (Act, Act) = (RedisServer::pause, RedisServer::resume);
    let killed: (Act, Act) = (RedisServer::kill, RedisServer::restart);
    let read_only: (Act, Act) = (
        |server| drop(server.command(&["REPLICAOF", "127.0.0.1", "1"])),
        |server| drop(server.command(&["REPLICAOF", "NO", "ONE"])),
    );
    let full: (Act, Act) = (
        |server| drop(server.command(&["CONFIG", "SET", "maxmemory", "1"])),
        |server| drop(server.command(&["CONFIG", "SET", "maxmemory", "0"])),
    );
    for (leave, come_back) in [paused, killed, read_only, full] {
        leave(&server);
        let begun = Instant::now();
        assert_eq!(connection.set_and_get().await, Err(Away));
        assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
        let begun = Instant::now();
        for _ in 0..100 {
            assert_eq!(connection.set_and_get().await, Err(Away));
        }
        assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
        come_back(&server);
        let begun = Instant::now();
        connection.redis.healed().await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(connection.set_and_get().await.unwrap(), "value");
    }
    // A flush takes the scripts along.
    server.flush();
    assert_eq!(connection.set_and_get().await.unwrap(), "value");
    connection.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_later_is_used_and_heard_then() {
    let server = RedisServer::start();
    server.kill();
    let connection = Connection::to(&server.url(), None).await;
    assert!(!connection.redis.works());
    server.restart();
    tokio::time::timeout(Duration::from_secs(2), connection.redis.healed()).await.unwrap();
    assert_eq!(connection.set_and_get().await.unwrap(), "value");
    messages_pass(&connection, &connection).await;
    // And again after a gap, of which the listener is told.
    let (sender, mut gaps) = mpsc::unbounded_channel();
    connection.redis.listen(move |what| {
        if what == Heard::Gap {
            let _ = sender.send(());
        }
    });
    gaps.recv().await.unwrap();
    server.kill();
    server.restart();
    gaps.recv().await.unwrap();
    connection.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_is_asked_after_a_moment() {
    let (server, mut addresses) = (RedisServer::start(), Vec::new());
    let replica = server.replica();
    addresses.extend([server.address(), replica.address()]);
    let connection = Connection::to(&format!("redis://{}", addresses[1]), None).await;
    assert_eq!(connection.set_and_get().await, Err(Away), "it only reads");
    server.kill();
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "OK");
    tokio::time::timeout(Duration::from_secs(2), connection.redis.healed()).await.unwrap();
    assert_eq!(connection.set_and_get().await.unwrap(), "value");
    connection.end().await;
}
