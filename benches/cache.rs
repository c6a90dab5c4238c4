//! What a read through the cache takes when it hits: in memory, in a SQLite file, in Redis beside a bare GET by the same
//! client. `cargo bench --bench cache`; for Redis a `redis-server` is needed.

use std::cell::Cell;
use std::future::Future;
use std::hint::black_box;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cifra::base::{Clock, EntityName, Principal, Result, SystemClock, TenantId};
use cifra::cache::{Cache, CacheKey, CacheTier, Entity, Read, RedisTier, Source, SqliteOptions, SqliteTier};
use cifra::config::{Config, Sources, load};
use cifra::redis::Redis;
use cifra::telemetry::Tasks;
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// More than the processor's own caches keep beside everything else.
const MANY: usize = 10_000;

/// A value of 1 KB.
fn value() -> String {
    "x".repeat(1_000)
}

/// A cache that is read as requests read it.
struct Reader {
    cache: Cache,
    entity: Entity,
    who: Principal,
}

impl Reader {
    fn new(l2: Option<Arc<dyn CacheTier>>, tasks: &Tasks) -> Self {
        let mut config = Config::builtin(Path::new("/nowhere")).cache;
        if l2.is_some() {
            // Nothing is found in memory.
            config.l1.max_bytes = cifra::config::ByteSize(0);
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let cache = Cache::new(&config, clock, tasks.clone(), l2);
        let entity = cache.entity(EntityName::of("Contact"), 1);
        Self { cache, entity, who: Principal::open(TenantId::default_tenant()) }
    }

    fn key(&self, id: &str) -> CacheKey {
        CacheKey::record(Some(self.who.tenant()), &self.entity, id)
    }

    async fn read(&self, key: &CacheKey) -> Result<Read<String>> {
        self.cache.read(&self.entity, key, &self.who, || async { Ok(Some(value())) }).await
    }

    /// Puts it there, and makes sure that it is found.
    async fn warm(&self, key: &CacheKey, source: Source) {
        for _ in 0..100 {
            if self.read(key).await.is_ok_and(|read| read.source == source) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{key} is not found in {source:?}");
    }
}

fn run<F: Future>(criterion: &mut Criterion, runtime: &Runtime, name: &str, step: impl Fn() -> F) {
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            runtime.block_on(async {
                let begun = std::time::Instant::now();
                for _ in 0..rounds {
                    black_box(step().await);
                }
                begun.elapsed()
            })
        });
    });
}

fn memory(criterion: &mut Criterion) {
    let (runtime, tasks) = (Runtime::new().expect("a runtime starts"), Tasks::default());
    let reader = Reader::new(None, &tasks);
    let key = reader.key("42");
    runtime.block_on(async {
        drop(reader.read(&key).await);
        reader.warm(&key, Source::L1).await;
    });
    run(criterion, &runtime, "L1 hit", || reader.read(&key));
    let keys: Vec<CacheKey> = (0..MANY).map(|id| reader.key(&id.to_string())).collect();
    runtime.block_on(async {
        for key in &keys {
            drop(reader.read(key).await);
        }
    });
    let at = Cell::new(0);
    let next = || {
        // A step that is prime to their number: each is asked for as often, and never one that is near the last.
        at.set((at.get() + 6_151) % MANY);
        &keys[at.get()]
    };
    run(criterion, &runtime, "L1 hit, one of 10,000 keys", || reader.read(next()));
    run(criterion, &runtime, "L1 hit, its key made anew", || async { reader.read(&reader.key("42")).await });
}

fn sqlite(criterion: &mut Criterion) {
    let (runtime, tasks) = (Runtime::new().expect("a runtime starts"), Tasks::default());
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let options = SqliteOptions {
        file: folder.path().join("cache.db"),
        max_bytes: 64 << 20,
        database: Uuid::new_v4(),
        boot: Uuid::new_v4(),
    };
    let tier = runtime.block_on(SqliteTier::start(options, Arc::new(SystemClock::default()), &tasks));
    tier.mark_current(tier.doubts());
    let reader = Reader::new(Some(Arc::new(tier)), &tasks);
    let key = reader.key("42");
    runtime.block_on(reader.warm(&key, Source::L2));
    run(criterion, &runtime, "L2 hit of 1 KB in a SQLite file", || reader.read(&key));
}

/// Ended with it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn redis(criterion: &mut Criterion) {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port is free").port();
    let started = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn();
    let _server = Server(started.expect("redis-server is needed: scripts/setup.sh test"));
    let (runtime, tasks) = (Runtime::new().expect("a runtime starts"), Tasks::default());
    let flags = vec![("redis.url".to_owned(), format!("redis://127.0.0.1:{port}"))];
    let config = load(&Sources::of_process(None, flags).expect("no files")).expect("it is right").config;
    let redis = runtime.block_on(async {
        let redis =
            Redis::start(&config.redis, "bench", &tasks).await.expect("it is right").expect("it is there");
        while !redis.works() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        redis
    });
    let tier = RedisTier::new(redis.clone());
    tier.mark_current(tier.doubts());
    let reader = Reader::new(Some(Arc::new(tier)), &tasks);
    let key = reader.key("42");
    runtime.block_on(async {
        reader.warm(&key, Source::L2).await;
        let set = redis.command::<()>(redis::cmd("SET").arg("bench:{x}:bare").arg(value())).await;
        set.expect("it is there");
    });
    run(criterion, &runtime, "L2 hit of 1 KB in Redis", || reader.read(&key));
    let get = redis::cmd("GET").arg("bench:{x}:bare").to_owned();
    run(criterion, &runtime, "a bare GET of 1 KB from Redis", || redis.command::<Vec<u8>>(&get));
}

criterion_group!(benches, memory, sqlite, redis);
criterion_main!(benches);
