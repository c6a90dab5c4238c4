//! The one writer of SQLite: shared commits, order, isolation of failures, bounds, closing.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cifra::base::{Code, Error, Result, UploadId};
use cifra::db::parts::Recorded;
use cifra::db::{Commit, Conn, Db, Urgency, parts};
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{a_receipt, at, execute, get, inserted, record};
use crate::harness::databases::{TestDb, both_engines};

/// A job that holds the writer inside of its transaction until it is let go.
struct Gate {
    entered: Arc<Semaphore>,
    open: Arc<Semaphore>,
    job: JoinHandle<Result<()>>,
}

impl Gate {
    /// Queues it.
    fn queue(test: &TestDb) -> Self {
        let (entered, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (db, inside, wait) = (test.db.clone(), Arc::clone(&entered), Arc::clone(&open));
        let job = test.tasks.spawn("gate", async move {
            db.write_to_the_end(Urgency::Normal, Commit::Normal, move |_| {
                let (inside, wait) = (Arc::clone(&inside), Arc::clone(&wait));
                Box::pin(async move {
                    inside.add_permits(1);
                    wait.acquire().await.map_err(|error| Error::internal("the gate", error))?.forget();
                    Ok(())
                })
            })
            .await
        });
        Self { entered, open, job }
    }

    /// Waits until the writer stands in it.
    async fn entered(&self) {
        self.entered.acquire().await.expect("the gate").forget();
    }

    /// Lets the writer go on.
    async fn open(self) {
        self.open.add_permits(1);
        self.job.await.expect("the gate").expect("a write");
    }

    async fn closed(test: &TestDb) -> Self {
        let gate = Self::queue(test);
        gate.entered().await;
        gate
    }
}

/// Starts recording a chunk; the job is queued when this returns.
async fn start(test: &TestDb, id: UploadId, index: u32) -> JoinHandle<Result<Recorded>> {
    let db = test.db.clone();
    let (sender, queued) = tokio::sync::oneshot::channel();
    let task = test.tasks.spawn("record", async move {
        let mut write = Box::pin(record(&db, id, a_receipt(index)));
        let polled = futures_util::poll!(&mut write);
        let _ = sender.send(());
        match polled {
            std::task::Poll::Ready(answer) => answer,
            std::task::Poll::Pending => write.await,
        }
    });
    queued.await.expect("the task polls it");
    task
}

#[tokio::test]
async fn jobs_that_wait_together_are_committed_together() {
    let test = TestDb::sqlite().await;
    let id = inserted(&test.db, 0).await.id;
    let first = Gate::closed(&test).await;
    let waiting = start(&test, id, 0).await;
    let second = Gate::queue(&test);
    tokio::task::yield_now().await; // the second gate is queued
    first.open().await;
    second.entered().await;
    // The receipt was written, in the transaction that the second gate holds open: neither visible nor acknowledged.
    assert!(!waiting.is_finished());
    assert_eq!(get(&test.db, id).await.unwrap().received_chunks, 0);
    second.open().await;
    assert!(matches!(waiting.await.unwrap(), Ok(Recorded::Counted(_))));
    assert_eq!(get(&test.db, id).await.unwrap().received_chunks, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_or_panics_hurts_nobody_else() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        let fails = test.db.write(Urgency::Receipt, move |c| {
            Box::pin(async move {
                parts::record(c, id, &a_receipt(8), at(1), at(2)).await?;
                Err::<(), _>(Error::new(Code::ChunkConflict, "no"))
            })
        });
        let breaks = test.db.write(Urgency::Receipt, move |c| {
            Box::pin(async move {
                parts::record(c, id, &a_receipt(9), at(1), at(2)).await?;
                if let Conn::Sqlite(c) = c {
                    sqlx::query("SELECT nothing FROM nowhere").execute(&mut **c).await?;
                }
                panic!("a bug in a job");
                #[expect(unreachable_code, reason = "gives the future its type")]
                Ok(())
            })
        });
        let good = futures_util::future::join_all((0..8).map(|index| record(&test.db, id, a_receipt(index))));
        let (fails, breaks, good): (Result<()>, Result<()>, _) = tokio::join!(fails, breaks, good);
        assert_eq!(fails.unwrap_err().code(), Code::ChunkConflict, "{}", test.engine);
        assert_eq!(breaks.unwrap_err().code(), Code::Internal, "{}", test.engine);
        assert!(good.iter().all(|one| matches!(one, Ok(Recorded::Counted(_)))), "{}: {good:?}", test.engine);
        let upload = get(&test.db, id).await.unwrap();
        assert_eq!((upload.received_bytes, upload.received_chunks), (800, 8), "{}", test.engine);
    }
}

#[tokio::test]
async fn receipts_go_first_and_background_work_last() {
    let test = TestDb::sqlite().await;
    let gate = Gate::closed(&test).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let job = |urgency| {
        let order = Arc::clone(&order);
        test.db.write(urgency, move |_| {
            let order = Arc::clone(&order);
            Box::pin(async move {
                order.lock().unwrap().push(urgency);
                Ok(())
            })
        })
    };
    let all =
        futures_util::future::join3(job(Urgency::Background), job(Urgency::Normal), job(Urgency::Receipt));
    let (answers, ()) = tokio::join!(all, gate.open());
    assert!(matches!(answers, (Ok(()), Ok(()), Ok(()))));
    assert_eq!(*order.lock().unwrap(), [Urgency::Receipt, Urgency::Normal, Urgency::Background]);
}

#[tokio::test]
async fn a_full_queue_is_refused_at_once() {
    let test = TestDb::sqlite().await;
    let gate = Gate::closed(&test).await;
    let mut refused = 0;
    for _ in 0..100 {
        let job = test.db.write(Urgency::Background, |_| Box::pin(async { Ok(()) }));
        if let Some(answer) = job.now_or_never() {
            let error = answer.unwrap_err();
            assert_eq!(error.code(), Code::Overloaded);
            assert!(error.retry_delay().is_some());
            refused += 1;
        }
    }
    assert_eq!(refused, 100 - 64);
    gate.open().await;
}

#[tokio::test]
async fn who_loses_patience_is_told_and_the_job_still_happens() {
    let test = TestDb::sqlite().await;
    let id = inserted(&test.db, 0).await.id;
    let gate = Gate::closed(&test).await;
    let begun = Instant::now();
    let error = record(&test.db, id, a_receipt(0)).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(begun.elapsed() <= Duration::from_secs(5), "a client gets its 503 within 5 s");
    gate.open().await;
    test.db.close().await; // all that waits is served first
    let again = Db::connect(&test.url, &crate::harness::databases::options(), &test.tasks).await.unwrap();
    assert_eq!(get(&again, id).await.unwrap().received_chunks, 1);
}

#[tokio::test]
async fn closing_serves_what_waits_and_empties_the_log() {
    let test = TestDb::sqlite().await;
    let id = inserted(&test.db, 0).await.id;
    let gate = Gate::closed(&test).await;
    let mut waiting = Vec::new();
    for index in 0..10 {
        waiting.push(start(&test, id, index).await);
    }
    // The signal to stop is not the writer's business.
    test.tasks.stopping().cancel();
    tokio::join!(test.db.close(), gate.open());
    for task in waiting {
        assert!(matches!(task.await.unwrap(), Ok(Recorded::Counted(_))));
    }
    assert_eq!(record(&test.db, id, a_receipt(0)).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(test.db.ping().await.unwrap_err().code(), Code::Unavailable);
    let log = test.path().with_extension("db-wal");
    assert!(std::fs::metadata(&log).map_or(0, |log| log.len()) == 0, "the log is in the database now");
    assert!(test.tasks.finish(Duration::from_secs(5)).await, "no task is left");
}

#[tokio::test]
async fn a_durable_job_is_committed_with_a_flush_and_the_next_one_is_not() {
    let test = TestDb::sqlite().await;
    let synchronous = |commit| {
        test.db.write_to_the_end(Urgency::Normal, commit, |c| {
            Box::pin(async move {
                let Conn::Sqlite(c) = c else { panic!("not SQLite") };
                let level: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut **c).await?;
                Ok(level)
            })
        })
    };
    // 1 is NORMAL, 2 is FULL (`sqlite.org/pragma.html#pragma_synchronous`).
    for (commit, expected) in
        [(Commit::Normal, 1), (Commit::Durable, 2), (Commit::Normal, 1), (Commit::Durable, 2)]
    {
        assert_eq!(synchronous(commit).await.unwrap(), expected, "{commit:?}");
    }
    // With `durability: chunk` every commit is flushed.
    let mut options = crate::harness::databases::options();
    options.durability = cifra::db::Synchronous::Full;
    let db = Db::connect(&test.url, &options, &test.tasks).await.unwrap();
    let level = db
        .write(Urgency::Receipt, |c| {
            Box::pin(async move {
                let Conn::Sqlite(c) = c else { panic!("not SQLite") };
                Ok(sqlx::query_scalar::<_, i64>("PRAGMA synchronous").fetch_one(&mut **c).await?)
            })
        })
        .await;
    assert_eq!(level.unwrap(), 2);
}

#[tokio::test]
async fn readers_cannot_write_and_do_not_wait_for_the_writer() {
    let test = TestDb::sqlite().await;
    let id = inserted(&test.db, 0).await.id;
    let gate = Gate::closed(&test).await;
    assert!(get(&test.db, id).await.is_some(), "while a transaction is open");
    let refused = test
        .db
        .read(move |c| Box::pin(async move { parts::record(c, id, &a_receipt(0), at(1), at(2)).await }));
    assert_eq!(refused.await.unwrap_err().code(), Code::Internal);
    gate.open().await;
    assert_eq!(
        execute(&test.db, "DELETE FROM cifra_upload_parts WHERE upload_id = $1", id.as_uuid()).await.unwrap(),
        0
    );
}
