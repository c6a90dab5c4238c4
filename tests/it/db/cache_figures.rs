//! What caches counted and what of them is switched off, on both engines.

use cifra::db::cache_figures::{self, Batch, Counts, Day};
use cifra::db::cache_switches;
use uuid::Uuid;

use super::{at, read, write};
use crate::harness::databases::{TestDb, both_engines};

fn counts(l1_hits: i64, misses: i64) -> Counts {
    Counts { l1_hits, misses, loads: misses, loads_nanos: misses * 1_000, ..Counts::default() }
}

fn batch(l1_hits: i64, misses: i64) -> Batch {
    Batch {
        entities: vec![("File".to_owned(), counts(l1_hits, misses)), ("Tenant".to_owned(), counts(1, 0))],
        latencies: vec![("l1", 20, l1_hits), ("l3", 60, misses)],
    }
}

/// Adds the batch `number` of a node at second 0 to `day`; whether it counted.
async fn add(test: &TestDb, node: u128, number: i64, day: i64, batch: Batch) -> bool {
    write(&test.db, move |c| {
        let (batch, name) = (batch.clone(), (Uuid::from_u128(node), number));
        Box::pin(async move { cache_figures::add(c, name, at(0), day, &batch).await })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_all_nodes_add_up_and_each_counts_once() {
    for test in both_engines().await {
        assert!(add(&test, 1, 1, 100, batch(10, 1)).await);
        assert!(!add(&test, 1, 1, 100, batch(10, 1)).await, "{}: sent again", test.engine);
        assert!(add(&test, 2, 1, 100, batch(5, 2)).await, "{}: of another node", test.engine);
        assert!(add(&test, 1, 2, 101, batch(7, 3)).await);
        assert!(!add(&test, 1, 1, 101, batch(7, 3)).await, "{}: an old one", test.engine);
        let totals = read(&test.db, |c| Box::pin(cache_figures::totals(c))).await;
        let wanted = vec![("File".to_owned(), counts(22, 6)), ("Tenant".to_owned(), counts(3, 0))];
        assert_eq!(totals, wanted, "{}", test.engine);
        let days = read(&test.db, |c| Box::pin(cache_figures::days(c, 100, 101))).await;
        let day = |day, reads, loads| Day { day, reads, loads };
        assert_eq!(days, [day(100, 20, 3), day(101, 11, 3)], "{}", test.engine);
        assert_eq!(read(&test.db, |c| Box::pin(cache_figures::days(c, 101, 107))).await.len(), 1);
        let latencies = read(&test.db, |c| Box::pin(cache_figures::latencies(c))).await;
        assert_eq!(latencies, [("l1".to_owned(), 20, 22), ("l3".to_owned(), 60, 6)], "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_days_go_and_what_they_add_up_to_stays() {
    for test in both_engines().await {
        for (number, day) in [(1, 100), (2, 200)] {
            add(&test, 1, number, day, batch(10, 1)).await;
        }
        write(&test.db, |c| Box::pin(cache_figures::prune(c, 200, at(0)))).await;
        let days = read(&test.db, |c| Box::pin(cache_figures::days(c, 1, 300))).await;
        assert_eq!(days, [Day { day: 200, reads: 12, loads: 1 }], "{}", test.engine);
        assert!(!add(&test, 1, 2, 200, batch(1, 1)).await, "{}: the node is still known", test.engine);
        write(&test.db, |c| Box::pin(cache_figures::prune(c, 200, at(1)))).await;
        assert!(add(&test, 1, 2, 200, batch(1, 1)).await, "{}: nobody remembers it", test.engine);
        let totals = read(&test.db, |c| Box::pin(cache_figures::totals(c))).await;
        assert_eq!(totals[0].1.l1_hits, 21, "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_switched_off_stays_off_until_it_is_switched_on() {
    for test in both_engines().await {
        let off = async || read(&test.db, |c| Box::pin(cache_switches::off(c))).await;
        assert!(off().await.is_empty(), "{}", test.engine);
        for (name, changed) in [("subject:key:1", true), ("global", true), ("global", false)] {
            let done = write(&test.db, move |c| Box::pin(cache_switches::turn_off(c, name, at(1)))).await;
            assert_eq!(done, changed, "{}: {name}", test.engine);
        }
        assert_eq!(off().await, ["global", "subject:key:1"], "{}", test.engine);
        for changed in [true, false] {
            let done = write(&test.db, |c| Box::pin(cache_switches::turn_on(c, "global"))).await;
            assert_eq!(done, changed, "{}", test.engine);
        }
        assert_eq!(off().await, ["subject:key:1"], "{}", test.engine);
    }
}
