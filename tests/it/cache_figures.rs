//! What the caches of several nodes counted is what each of them shows, to the last one: at once for its own, after a
//! restart, while the database is away.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cifra::base::{Clock, EntityName, ManualClock, Principal, TenantId, Timestamp};
use cifra::cache::figures::Loaded;
use cifra::cache::{Cache, Source};
use cifra::config::Config;
use cifra::db::{Conn, Db, Urgency};
use cifra::entities::EntityService;
use cifra::ops::cache::{CacheAdmin, Stats, Switched};
use cifra::telemetry::Tasks;

use crate::harness::databases::both_engines;

/// One process of several, as far as its figures can tell.
struct Node {
    cache: Cache,
    admin: CacheAdmin,
}

impl Node {
    async fn start(db: &Db, clock: &Arc<ManualClock>) -> Self {
        let config = Config::builtin(Path::new("/nowhere")).cache;
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        let cache = Cache::new(&config, Arc::clone(&clock), Tasks::default(), None);
        let entities = EntityService::open(db, &cache, &clock, &Tasks::default(), &[]).await.unwrap();
        let admin = CacheAdmin::start(db.clone(), cache.clone(), clock, entities).await.unwrap();
        Self { cache, admin }
    }

    fn count(&self, entity: &str, source: Source, times: u64) {
        let figures = self.cache.figures();
        let index = figures.index_of(&entity.parse().unwrap());
        for _ in 0..times {
            figures.answered(index, source, Duration::from_micros(2));
            if source == Source::Database {
                figures.loaded(index, Duration::from_micros(500), Loaded::Answered);
            }
        }
    }

    async fn stats(&self) -> Stats {
        self.admin.stats(&who()).await.unwrap()
    }
}

fn who() -> Principal {
    Principal::open(TenantId::default_tenant())
}

fn clock_at(text: &str) -> Arc<ManualClock> {
    Arc::new(ManualClock::at(text.parse::<Timestamp>().unwrap()))
}

async fn execute(db: &Db, text: &'static str) {
    let done = db.write(Urgency::Normal, move |c| {
        Box::pin(async move {
            match c {
                Conn::Sqlite(c) => sqlx::query(text).execute(&mut **c).await.map(drop)?,
                Conn::Postgres(c) => sqlx::query(text).execute(&mut **c).await.map(drop)?,
            }
            Ok(())
        })
    });
    done.await.unwrap();
}

/// Hits and misses, of all and of files; queries saved.
fn seen(stats: &Stats) -> (u64, u64, (u64, u64), [u64; 3]) {
    let figures = &stats.figures;
    let files = figures.entities.get(EntityName::FILE).map_or((0, 0), |file| (file.hits, file.misses));
    (figures.hits(), figures.misses(), files, [figures.saved.today, figures.saved.week, figures.saved.total])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_shows_what_all_have_counted_and_a_restart_forgets_nothing() {
    for test in both_engines().await {
        let clock = clock_at("2026-11-22T23:59:00Z"); // a Sunday
        let (one, two) = (Node::start(&test.db, &clock).await, Node::start(&test.db, &clock).await);
        assert_eq!(seen(&one.stats().await), (0, 0, (0, 0), [0; 3]));
        one.count("File", Source::L1, 90);
        one.count("File", Source::Database, 10);
        two.count("File", Source::L2, 7);
        two.count("Tenant", Source::Stale, 3);
        two.count("Tenant", Source::Bypass, 5);
        assert_eq!(seen(&one.stats().await), (90, 10, (90, 10), [90; 3]), "{}: its own at once", test.engine);
        two.admin.flush().await.unwrap();
        let all = (100, 10, (97, 10), [100; 3]);
        for node in [&one, &two, &Node::start(&test.db, &clock).await] {
            assert_eq!(seen(&node.stats().await), all, "{}", test.engine);
            assert_eq!(seen(&node.stats().await), all, "{}: looking changes nothing", test.engine);
        }
        clock.advance(Duration::from_mins(2));
        two.count("File", Source::L1, 1);
        assert_eq!(seen(&two.stats().await).3, [1, 1, 101], "{}: a new day, and a new week", test.engine);
        let stats = one.stats().await;
        let file = stats.figures.entities["File"].times.unwrap();
        assert!((file.cached_ms - 0.002).abs() < 1e-9 && (file.database_ms - 0.5).abs() < 1e-9, "{file:?}");
        assert!((file.improvement_percent() - 99.6).abs() < 1e-6, "{file:?}");
        assert!(stats.figures.entities["Tenant"].times.is_none(), "nothing to compare with");
        let [l1, l2, l3] = stats.figures.tiers;
        assert_eq!(
            [(l1.hits, l1.misses), (l2.hits, l2.misses), (l3.hits, l3.misses)],
            [(91, 20), (7, 10), (10, 0)]
        );
        let p50 = l3.p50_us.unwrap();
        assert!((437.0..=563.0).contains(&p50), "{p50} is not 500 give or take an eighth");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_nothing_that_is_counted_is_lost_or_counted_twice() {
    for test in both_engines().await {
        let clock = clock_at("2026-11-24T12:00:00Z");
        let node = Node::start(&test.db, &clock).await;
        node.count("File", Source::L1, 10);
        node.stats().await;
        execute(&test.db, "ALTER TABLE cifra_cache_figures RENAME TO cifra_hidden").await;
        for round in 1..=3 {
            node.count("File", Source::L1, 5);
            assert!(node.admin.flush().await.is_err(), "{}", test.engine);
            node.count("File", Source::L1, 1);
            let shown = 10 + 6 * round;
            assert_eq!(seen(&node.stats().await).2, (shown, 0), "{}: what is known", test.engine);
        }
        execute(&test.db, "ALTER TABLE cifra_hidden RENAME TO cifra_cache_figures").await;
        for _ in 0..2 {
            assert_eq!(seen(&node.stats().await), (28, 0, (28, 0), [28; 3]), "{}", test.engine);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_holds_for_all_nodes_that_look_and_after_a_restart() {
    for test in both_engines().await {
        let clock = clock_at("2026-11-24T12:00:00Z");
        let (one, two) = (Node::start(&test.db, &clock).await, Node::start(&test.db, &clock).await);
        one.admin.switch_all(&who(), Switched::Off).await.unwrap();
        one.admin.switch_auto_invalidate(&who(), Switched::Off).await.unwrap();
        assert!(!one.cache.switches().is_on_globally() && !one.cache.switches().auto_invalidates());
        assert!(two.cache.switches().is_on_globally(), "{}: it was not told", test.engine);
        two.cache.switches().reload(&test.db).await.unwrap();
        let three = Node::start(&test.db, &clock).await;
        for node in [&two, &three] {
            let stats = node.stats().await;
            assert!(!stats.global_enabled && !stats.auto_invalidate && stats.user_enabled, "{}", test.engine);
        }
        two.admin.switch_all(&who(), Switched::On).await.unwrap();
        assert!(two.cache.switches().is_on_globally() && !two.cache.switches().auto_invalidates());
    }
}
