//! Write-behind: each queued write is applied once and in its key's order, by whichever node, however often it fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cifra::base::{Clock, Code, Error, ManualClock, Result, TenantId};
use cifra::cache::write_behind::{Apply, WriteBehind};
use cifra::db::write_behind::{NewWrite, Queued};
use cifra::db::{Conn, Db};
use cifra::telemetry::Tasks;

use crate::db::{at, read, write};
use crate::harness::databases::{TestDb, both_engines, options};
use crate::harness::process::until;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(at(0)))
}

fn a_write(key: &str, value: i64) -> NewWrite {
    NewWrite { tenant: TenantId::default_tenant(), key: key.to_owned(), payload: value.to_string() }
}

fn queue(db: &Db, clock: &Arc<ManualClock>, apply: Apply) -> WriteBehind {
    WriteBehind::new(db.clone(), Arc::clone(clock) as Arc<dyn Clock>, "test", apply)
}

async fn execute(c: &mut Conn, text: &'static str, key: &str, value: i64) -> Result<u64> {
    Ok(match c {
        Conn::Sqlite(c) => sqlx::query(text).bind(key).bind(value).execute(&mut **c).await?.rows_affected(),
        Conn::Postgres(c) => sqlx::query(text).bind(key).bind(value).execute(&mut **c).await?.rows_affected(),
    })
}

/// A table that each key counts up in: what comes twice, or not in its turn, fails.
async fn a_table(db: &Db, keys: &'static [&'static str]) {
    const TABLE: &str = "CREATE TABLE counted (key TEXT PRIMARY KEY, value BIGINT)";
    const KEY: &str = "INSERT INTO counted (key, value) VALUES ($1, $2)";
    write(db, move |c| {
        Box::pin(async move {
            match c {
                Conn::Sqlite(c) => sqlx::query(TABLE).execute(&mut **c).await.map(|_| ())?,
                Conn::Postgres(c) => sqlx::query(TABLE).execute(&mut **c).await.map(|_| ())?,
            }
            for key in keys {
                execute(c, KEY, key, 0).await?;
            }
            Ok(())
        })
    })
    .await;
}

async fn count_up(c: &mut Conn, queued: &Queued) -> Result<()> {
    const NEXT: &str = "UPDATE counted SET value = $2 WHERE key = $1 AND value = $2 - 1";
    let value: i64 = queued.payload.parse().unwrap();
    match execute(c, NEXT, &queued.key, value).await? {
        1 => Ok(()),
        _ => Err(Error::new(Code::Internal, format!("{} {value} is not the next", queued.key))),
    }
}

async fn counted(db: &Db, key: &'static str) -> i64 {
    const COUNTED: &str = "SELECT value FROM counted WHERE key = $1";
    read(db, move |c| {
        Box::pin(async move {
            Ok(match c {
                Conn::Sqlite(c) => sqlx::query_scalar(COUNTED).bind(key).fetch_one(&mut **c).await?,
                Conn::Postgres(c) => sqlx::query_scalar(COUNTED).bind(key).fetch_one(&mut **c).await?,
            })
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_apply_each_write_once_and_those_of_a_key_in_their_order() {
    const KEYS: [&str; 4] = ["a", "b", "c", "d"];
    const WRITES: i64 = 40;
    for test in both_engines().await {
        let (TestDb { db, url, engine, tasks: db_tasks, .. }, tasks) = (&test, Tasks::default());
        a_table(db, &KEYS).await;
        let (clock, failed) = (clock(), Arc::new(AtomicUsize::new(0)));
        let counting = Arc::clone(&failed);
        let apply: Apply = Arc::new(move |c, writes| {
            let failed = Arc::clone(&counting);
            Box::pin(async move {
                for queued in &writes {
                    let counted = count_up(c, queued).await;
                    failed.fetch_add(usize::from(counted.is_err()), Ordering::SeqCst);
                    counted?;
                }
                Ok(())
            })
        });
        let other = match *engine {
            "SQLite" => db.clone(),
            _ => Db::connect(url, &options(), db_tasks).await.unwrap(),
        };
        let nodes = [queue(db, &clock, Arc::clone(&apply)), queue(&other, &clock, apply)];
        for node in &nodes {
            node.start(&tasks);
        }
        let nodes = &nodes;
        futures_util::future::join_all(KEYS.map(|key| async move {
            for value in 1..=WRITES {
                // One after the other, now by this node, now by that.
                nodes[usize::from(value % 3 == 0)].put(vec![a_write(key, value)]).await.unwrap();
            }
        }))
        .await;
        for key in KEYS {
            until("all are applied", async || (counted(db, key).await == WRITES).then_some(())).await;
        }
        assert_eq!(failed.load(Ordering::SeqCst), 0, "{engine}");
        assert!(tasks.finish(Duration::from_secs(5)).await, "{engine}");
        assert_eq!(nodes[0].apply_due().await.unwrap(), 0, "{engine}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_waits_with_what_came_after_it_and_nothing_else_does() {
    for test in both_engines().await {
        let (clock, fails) = (clock(), Arc::new(AtomicBool::new(true)));
        let applied = Arc::new(Mutex::new(Vec::new()));
        let (failing, seen) = (Arc::clone(&fails), Arc::clone(&applied));
        let apply: Apply = Arc::new(move |_, writes| {
            let (fails, seen) = (failing.load(Ordering::SeqCst), Arc::clone(&seen));
            Box::pin(async move {
                if fails && writes.iter().any(|queued| queued.key == "bad") {
                    return Err(Error::new(Code::Internal, "a bug"));
                }
                seen.lock().unwrap().extend(writes.into_iter().map(|queued| queued.payload));
                Ok(())
            })
        });
        let queue = queue(&test.db, &clock, apply);
        queue
            .put(vec![a_write("good", 1), a_write("bad", 2), a_write("good", 3), a_write("bad", 4)])
            .await
            .unwrap();
        assert_eq!(queue.apply_due().await.unwrap(), 2, "{}", test.engine);
        assert_eq!(std::mem::take(&mut *applied.lock().unwrap()), ["1", "3"], "{}", test.engine);
        fails.store(false, Ordering::SeqCst);
        queue.put(vec![a_write("bad", 5)]).await.unwrap();
        assert_eq!(queue.apply_due().await.unwrap(), 0, "{}: it waits for a second", test.engine);
        clock.advance(Duration::from_secs(1));
        assert_eq!(queue.apply_due().await.unwrap(), 3, "{}", test.engine);
        assert_eq!(*applied.lock().unwrap(), ["2", "4", "5"], "{}", test.engine);
    }
}
