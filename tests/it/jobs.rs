//! Jobs that run: once, on one node, again when they fail, elsewhere when their node dies, given back when it stops.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cifra::base::{Clock, ManualClock, TenantId};
use cifra::db::{Conn, Db, jobs as rows};
use cifra::jobs::{Handler, Job, JobUrgency, Jobs, NewJob, Outcome, Patience};
use cifra::telemetry::Tasks;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::db::{at, read, write};
use crate::harness::databases::{TestDb, both_engines, options};
use crate::harness::process::{Server, until};

const KIND: &str = "test";
/// Renewed ten times a second.
const SHORT: Patience =
    Patience { lease: Duration::from_millis(300), stop_grace: Duration::from_millis(200) };

struct Node {
    jobs: Jobs,
    tasks: Tasks,
}

/// A node with connections of its own where that is possible.
async fn a_node(test: &TestDb, clock: &Arc<ManualClock>) -> Node {
    let tasks = Tasks::default();
    let db = if test.engine == "SQLite" {
        test.db.clone()
    } else {
        Db::connect(&test.url, &options(), &test.tasks).await.unwrap()
    };
    Node { jobs: Jobs::new(db, Arc::clone(clock) as Arc<dyn Clock>, tasks.clone()), tasks }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(at(0)))
}

fn new_job(subject: impl Into<String>) -> NewJob {
    let (tenant, subject) = (TenantId::default_tenant(), subject.into());
    NewJob { kind: KIND, tenant, subject, payload: None, urgency: JobUrgency::New, due_at: at(0) }
}

fn handler<F: Future<Output = Outcome> + Send + 'static>(
    work: impl Fn(Job) -> F + Send + Sync + 'static,
) -> Handler {
    Arc::new(move |job| -> BoxFuture<'static, Outcome> { Box::pin(work(job)) })
}

async fn jobs_left(db: &Db) -> u64 {
    read(db, |c| Box::pin(rows::waiting(c, KIND, JobUrgency::Awaited))).await.jobs
}

async fn all_done(db: &Db) {
    until("all jobs are done", async || (jobs_left(db).await == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_job_is_done_once_by_one_of_two_nodes_and_no_more_at_once_than_asked() {
    for test in both_engines().await {
        let (clock, done) = (clock(), Arc::new(Mutex::new(Vec::new())));
        let most = Arc::new(AtomicUsize::new(0));
        let nodes = [a_node(&test, &clock).await, a_node(&test, &clock).await];
        for node in &nodes {
            let (done, most, now) = (Arc::clone(&done), Arc::clone(&most), Arc::new(AtomicUsize::new(0)));
            node.jobs.work(
                KIND,
                3,
                handler(move |job| {
                    let (done, most, now) = (Arc::clone(&done), Arc::clone(&most), Arc::clone(&now));
                    async move {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        done.lock().unwrap().push(job.subject);
                        now.fetch_sub(1, Ordering::SeqCst);
                        Outcome::Done
                    }
                }),
            );
        }
        for number in 0..30 {
            nodes[0].jobs.add(new_job(format!("{number:02}"))).await.unwrap();
        }
        // The other one was not woken: it looks by itself.
        nodes[1].jobs.add(new_job("30")).await.unwrap();
        all_done(&test.db).await;
        let mut done = std::mem::take(&mut *done.lock().unwrap());
        done.sort();
        let expected: Vec<_> = (0..31).map(|number| format!("{number:02}")).collect();
        assert_eq!(done, expected, "{}", test.engine);
        assert!(most.load(Ordering::SeqCst) <= 3, "{}", test.engine);
        for node in nodes {
            assert!(node.tasks.finish(Duration::from_secs(5)).await, "{}", test.engine);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_is_tried_again_when_its_time_has_come() {
    for test in both_engines().await {
        let clock = clock();
        let node = a_node(&test, &clock).await;
        let (tell, mut tries) = mpsc::unbounded_channel();
        node.jobs.work(
            KIND,
            1,
            handler(move |job| {
                let tell = tell.clone();
                async move {
                    tell.send((job.attempts, job.is_last(), job.last_error.clone())).unwrap();
                    match job.attempts {
                        1 => Outcome::Retry { after: job.backoff(), why: "no luck".to_owned() },
                        2 => panic!("a bug"),
                        _ => Outcome::Done,
                    }
                }
            }),
        );
        node.jobs.add(new_job("a")).await.unwrap();
        assert_eq!(tries.recv().await.unwrap(), (1, false, None), "{}", test.engine);
        noted(&test.db, "no luck").await;
        for (after, attempts, error) in [(1, 2, "no luck"), (2, 3, "it panicked: a bug")] {
            clock.advance(Duration::from_millis(after * 1000 - 1));
            node.jobs.wake(KIND);
            let early = tokio::time::timeout(Duration::from_millis(50), tries.recv()).await;
            assert!(early.is_err(), "{}: {early:?}", test.engine);
            clock.advance(Duration::from_millis(1));
            node.jobs.wake(KIND);
            let got = tries.recv().await.unwrap();
            assert_eq!(got, (attempts, false, Some(error.to_owned())), "{}", test.engine);
            if attempts == 2 {
                noted(&test.db, "it panicked: a bug").await;
            }
        }
        all_done(&test.db).await;
    }
}

/// Waits until a failure is noted: from then on the job waits for its time.
async fn noted(db: &Db, why: &'static str) {
    const NOTED: &str = "SELECT COUNT(*) FROM cifra_jobs WHERE node IS NULL AND last_error = $1";
    until("the failure is noted", async || {
        let noted: i64 = read(db, |c| {
            Box::pin(async move {
                Ok(match c {
                    Conn::Sqlite(c) => sqlx::query_scalar(NOTED).bind(why).fetch_one(&mut **c).await?,
                    Conn::Postgres(c) => sqlx::query_scalar(NOTED).bind(why).fetch_one(&mut **c).await?,
                })
            })
        })
        .await;
        (noted == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_node_that_died_is_another_nodes_when_its_lease_is_over_and_not_before() {
    for test in both_engines().await {
        let clock = clock();
        let node = a_node(&test, &clock).await;
        node.jobs.add(new_job("a")).await.unwrap();
        // A node that takes it and is never heard of again.
        let dead =
            write(&test.db, |c| Box::pin(rows::claim(c, KIND, Uuid::from_u128(9), None, at(0), at(30))));
        assert!(dead.await.is_some());
        let (tell, mut tries) = mpsc::unbounded_channel();
        node.jobs.work(
            KIND,
            1,
            handler(move |job| {
                let tell = tell.clone();
                async move {
                    tell.send(job.unfinished).unwrap();
                    Outcome::Done
                }
            }),
        );
        clock.advance(Duration::from_secs(29));
        node.jobs.wake(KIND);
        let early = tokio::time::timeout(Duration::from_millis(50), tries.recv()).await;
        assert!(early.is_err(), "{}: two nodes have one job", test.engine);
        clock.advance(Duration::from_secs(1));
        node.jobs.wake(KIND);
        assert_eq!(tries.recv().await, Some(2), "{}", test.engine);
        all_done(&test.db).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_a_process_may_have_died_of_are_done_one_at_a_time_and_nothing_beside_them() {
    for test in both_engines().await {
        let clock = clock();
        let node = a_node(&test, &clock).await;
        for name in ["a", "b", "c"] {
            node.jobs.add(new_job(name)).await.unwrap();
        }
        for _ in 0..2 {
            let dead =
                write(&test.db, |c| Box::pin(rows::claim(c, KIND, Uuid::from_u128(9), None, at(0), at(30))));
            assert!(dead.await.is_some());
        }
        clock.advance(Duration::from_secs(30));
        let under_way = Arc::new(AtomicUsize::new(0));
        let (tell, mut done) = mpsc::unbounded_channel();
        node.jobs.work(
            KIND,
            4,
            handler(move |job| {
                let (tell, under_way) = (tell.clone(), Arc::clone(&under_way));
                async move {
                    let beside = under_way.fetch_add(1, Ordering::SeqCst);
                    // Long enough for another one to begin.
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    let after = under_way.fetch_sub(1, Ordering::SeqCst) - 1;
                    tell.send((job.subject, job.unfinished, beside.max(after))).unwrap();
                    Outcome::Done
                }
            }),
        );
        let mut all = [done.recv().await.unwrap(), done.recv().await.unwrap(), done.recv().await.unwrap()];
        all.sort();
        let expected = [("a", 2, 0), ("b", 2, 0), ("c", 1, 0)];
        assert_eq!(
            all,
            expected.map(|(name, taken, beside)| (name.to_owned(), taken, beside)),
            "{}",
            test.engine
        );
        all_done(&test.db).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_job_stays_its_nodes_and_one_that_is_called_off_stops() {
    for test in both_engines().await {
        let clock = clock();
        let Node { jobs, tasks: _ } = a_node(&test, &clock).await;
        let jobs = jobs.with_patience(SHORT);
        let (dropped, mut drops) = mpsc::unbounded_channel::<()>();
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        jobs.work(
            KIND,
            2,
            handler(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                let dropped = dropped.clone();
                async move {
                    let _held = Held(dropped);
                    std::future::pending().await
                }
            }),
        );
        jobs.add(new_job("a")).await.unwrap();
        for _ in 0..5 {
            // The node is quicker than its lease: it has renewed each time.
            let due = due_at(&test.db).await;
            clock.advance(Duration::from_millis(250));
            until("it is renewed", async || (due_at(&test.db).await > due).then_some(())).await;
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1, "{}: taken twice", test.engine);
        assert!(drops.try_recv().is_err(), "{}", test.engine);
        write(&test.db, |c| {
            Box::pin(async move { rows::remove(c, KIND, &TenantId::default_tenant(), "a").await })
        })
        .await;
        drops.recv().await.unwrap();
    }
}

/// When the one job is due: while somebody works on it, until when it is theirs.
async fn due_at(db: &Db) -> i64 {
    read(db, |c| {
        Box::pin(async move {
            const DUE: &str = "SELECT due_at FROM cifra_jobs";
            Ok(match c {
                Conn::Sqlite(c) => sqlx::query_scalar(DUE).fetch_one(&mut **c).await?,
                Conn::Postgres(c) => sqlx::query_scalar(DUE).fetch_one(&mut **c).await?,
            })
        })
    })
    .await
}

/// Tells when it is dropped.
struct Held(mpsc::UnboundedSender<()>);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_lets_jobs_end_and_gives_back_what_takes_too_long() {
    for test in both_engines().await {
        let clock = clock();
        let Node { jobs, tasks } = a_node(&test, &clock).await;
        let jobs = jobs.with_patience(SHORT);
        let (begun, mut beginnings) = mpsc::unbounded_channel();
        let stopping = tasks.stopping().clone();
        jobs.work(
            KIND,
            2,
            handler(move |job| {
                begun.send(()).unwrap();
                let stopping = stopping.clone();
                async move {
                    stopping.cancelled().await;
                    if job.subject == "long" {
                        std::future::pending::<()>().await;
                    }
                    Outcome::Done
                }
            }),
        );
        for subject in ["long", "short"] {
            jobs.add(new_job(subject)).await.unwrap();
            beginnings.recv().await.unwrap();
        }
        jobs.add(new_job("waits")).await.unwrap();
        assert!(tasks.finish(Duration::from_secs(5)).await, "{}", test.engine);
        assert_eq!(jobs_left(&test.db).await, 2, "{}", test.engine);
        // At once, and nobody died of it.
        let mut left = Vec::new();
        for _ in 0..2 {
            let job =
                write(&test.db, |c| Box::pin(rows::claim(c, KIND, Uuid::from_u128(9), None, at(0), at(30))));
            let job = job.await.unwrap();
            left.push((job.subject, job.unfinished));
        }
        left.sort();
        assert_eq!(left, [("long".to_owned(), 1), ("waits".to_owned(), 1)], "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_has_its_job_as_soon_as_it_is_a_file_and_other_files_have_none() {
    let (picture, other) = (b"GIF89a\x01\0\x01\0\0\0\0;".as_slice(), b"no picture".as_slice());
    for (eager, content, expected) in [("true", picture, 1), ("true", other, 0), ("false", picture, 0)] {
        let mut server = Server::new();
        server.set("thumbnails.eager", eager);
        server.begin(Some("files.after_commit=kill")).await;
        server.api.create_file("it", content).await.unwrap_err();
        server.died().await;
        let jobs = "SELECT COUNT(*) FROM cifra_jobs, cifra_files
                    WHERE kind = 'thumbnails' AND replace(subject, '-', '') = lower(hex(cifra_files.id))";
        assert_eq!(server.count(jobs).await, expected, "{eager} {content:?}: in one request");
        server.sql("DELETE FROM cifra_jobs").await;

        server.begin(Some("finish.after_commit=kill")).await;
        let id = server.api.create(content.len()).await;
        server.api.put(&id, 0, content).await.unwrap();
        server.api.finalize(&id).await.unwrap_err();
        server.died().await;
        assert_eq!(server.count(jobs).await, expected, "{eager} {content:?}: by an upload");
    }
}
