//! Jobs: whose turn it is, whose job it is, and what becomes of it.

use cifra::base::TenantId;
use cifra::db::Db;
use cifra::db::jobs::{self, Job, JobUrgency, NewJob, Unfinished};
use uuid::Uuid;

use super::{at, read, write};
use crate::harness::databases::both_engines;

const KIND: &str = "test";

fn a_job(tenant: &str, subject: &str, urgency: JobUrgency, due: i64) -> NewJob {
    let (tenant, subject) = (tenant.parse().unwrap(), subject.to_owned());
    NewJob { kind: KIND, tenant, subject, payload: None, urgency, due_at: at(due) }
}

async fn add(db: &Db, job: NewJob) {
    write(db, move |c| {
        let job = job.clone();
        Box::pin(async move { jobs::add(c, &job, at(0)).await })
    })
    .await;
}

async fn claim_after(db: &Db, after: Option<&str>, now: i64) -> Option<Job> {
    let after: Option<TenantId> = after.map(|tenant| tenant.parse().unwrap());
    write(db, move |c| {
        let after = after.clone();
        Box::pin(async move {
            jobs::claim(c, KIND, Uuid::from_u128(7), after.as_ref(), at(now), at(now + 30)).await
        })
    })
    .await
}

async fn claim(db: &Db, now: i64) -> Option<Job> {
    claim_after(db, None, now).await
}

async fn done(db: &Db, job: &Job, now: i64) -> bool {
    let job = job.clone();
    write(db, move |c| {
        let job = job.clone();
        Box::pin(async move { jobs::done(c, &job, at(now)).await })
    })
    .await
}

async fn renew(db: &Db, job: &Job, until: i64) -> bool {
    let job = job.clone();
    write(db, move |c| {
        let job = job.clone();
        Box::pin(async move { jobs::renew(c, &job, at(until)).await })
    })
    .await
}

async fn put_back(db: &Db, job: &Job, due: i64, why: Option<&'static str>, unfinished: Unfinished) -> bool {
    let job = job.clone();
    write(db, move |c| {
        let job = job.clone();
        Box::pin(async move { jobs::put_back(c, &job, at(due), why, unfinished).await })
    })
    .await
}

async fn jobs_left(db: &Db) -> (u64, u64) {
    let waiting = read(db, |c| Box::pin(jobs::waiting(c, KIND, JobUrgency::Awaited))).await;
    (waiting.jobs, waiting.failed_before)
}

#[tokio::test]
async fn the_most_urgent_job_goes_first_and_tenants_take_turns() {
    for test in both_engines().await {
        let (awaited, new, rebuild) = (JobUrgency::Awaited, JobUrgency::New, JobUrgency::Rebuild);
        for (tenant, subject, urgency, due) in [
            ("alice", "a1", new, 1),
            ("alice", "a2", new, 2),
            ("alice", "a3", new, 3),
            ("bob", "b1", new, 4),
            ("carol", "c1", rebuild, 0),
            ("carol", "c2", awaited, 5),
            ("dave", "d1", new, 100),
        ] {
            add(&test.db, a_job(tenant, subject, urgency, due)).await;
        }
        let mut order = Vec::new();
        let mut last: Option<String> = None;
        while let Some(job) = claim_after(&test.db, last.as_deref(), 10).await {
            last = Some(job.tenant.to_string());
            order.push(job.subject);
        }
        assert_eq!(order, ["c2", "a1", "b1", "a2", "a3", "c1"], "{}", test.engine);
        assert_eq!(jobs_left(&test.db).await, (7, 0));
        // Those that nobody was heard of again, and the one whose time has come, which was never taken.
        let fresh = claim_after(&test.db, Some("carol"), 100).await.unwrap();
        assert_eq!(
            (fresh.subject.as_str(), fresh.attempts),
            ("c2", 2),
            "{}: the most urgent one",
            test.engine
        );
    }
}

#[tokio::test]
async fn a_job_that_is_there_already_takes_the_more_urgent_urgency_and_the_earlier_time() {
    for test in both_engines().await {
        let with = |payload: &str, job: NewJob| NewJob { payload: Some(payload.to_owned()), ..job };
        add(&test.db, with("first", a_job("alice", "a", JobUrgency::New, 50))).await;
        add(&test.db, a_job("alice", "a", JobUrgency::Rebuild, 40)).await;
        assert!(claim(&test.db, 39).await.is_none(), "{}", test.engine);
        add(&test.db, with("second", a_job("alice", "a", JobUrgency::Awaited, 60))).await;
        let job = claim(&test.db, 40).await.unwrap();
        assert_eq!((job.urgency, job.payload.as_deref()), (JobUrgency::Awaited, Some("second")));
        assert_eq!(jobs_left(&test.db).await.0, 1, "{}", test.engine);
    }
}

#[tokio::test]
async fn what_is_added_while_it_is_worked_on_is_done_once_more() {
    for test in both_engines().await {
        add(&test.db, a_job("alice", "a", JobUrgency::New, 0)).await;
        let job = claim(&test.db, 1).await.unwrap();
        add(&test.db, a_job("alice", "a", JobUrgency::Awaited, 0)).await;
        assert!(claim(&test.db, 2).await.is_none(), "{}: it is taken away from who works on it", test.engine);
        assert!(done(&test.db, &job, 3).await);
        let again = claim(&test.db, 3).await.unwrap();
        assert_eq!((again.id, again.attempts, again.unfinished), (job.id, 2, 1), "{}", test.engine);
        assert!(done(&test.db, &again, 4).await);
        assert_eq!(jobs_left(&test.db).await, (0, 0), "{}", test.engine);
    }
}

#[tokio::test]
async fn a_job_is_one_holders_until_its_time_is_over() {
    for test in both_engines().await {
        add(&test.db, a_job("alice", "a", JobUrgency::New, 0)).await;
        let first = claim(&test.db, 0).await.unwrap();
        assert!(claim(&test.db, 29).await.is_none());
        assert!(renew(&test.db, &first, 50).await, "{}", test.engine);
        assert!(claim(&test.db, 49).await.is_none());
        let second = claim(&test.db, 50).await.unwrap();
        assert_eq!((second.attempts, second.unfinished), (2, 2), "{}", test.engine);
        // Whoever comes too late changes nothing.
        assert!(!renew(&test.db, &first, 99).await, "{}", test.engine);
        assert!(!done(&test.db, &first, 51).await);
        assert!(!put_back(&test.db, &first, 51, Some("late"), Unfinished::Reset).await);
        assert!(claim(&test.db, 52).await.is_none());
        assert!(put_back(&test.db, &second, 60, Some("no luck"), Unfinished::Reset).await);
        assert_eq!(jobs_left(&test.db).await, (1, 1), "{}", test.engine);
        assert!(claim(&test.db, 59).await.is_none());
        let third = claim(&test.db, 60).await.unwrap();
        assert_eq!((third.attempts, third.unfinished), (3, 1), "{}", test.engine);
        assert_eq!(third.last_error.as_deref(), Some("no luck"));
    }
}

#[tokio::test]
async fn a_job_that_three_processes_died_of_is_told_to_be_the_last_try() {
    for test in both_engines().await {
        add(&test.db, a_job("alice", "a", JobUrgency::New, 0)).await;
        for death in 0..3 {
            let job = claim(&test.db, death * 30).await.unwrap();
            assert!(!job.is_last(), "{}: {job:?}", test.engine);
        }
        let job = claim(&test.db, 90).await.unwrap();
        assert!(job.is_last(), "{}: {job:?}", test.engine);
        assert!(put_back(&test.db, &job, 91, Some("panicked"), Unfinished::Counts).await);
        let job = claim(&test.db, 91).await.unwrap();
        assert_eq!((job.is_last(), job.unfinished), (true, 5), "{}", test.engine);
    }
}

#[tokio::test]
async fn of_many_who_ask_at_once_each_gets_another_job() {
    for test in both_engines().await {
        for subject in ["a", "b", "c"] {
            add(&test.db, a_job("alice", subject, JobUrgency::New, 0)).await;
        }
        let claims = futures_util::future::join_all((0..6).map(|_| claim(&test.db, 1))).await;
        let mut taken: Vec<_> = claims.into_iter().flatten().map(|job| job.subject).collect();
        // Who looked while the others were taking their jobs may have found nothing; nobody finds what another has.
        while let Some(job) = claim(&test.db, 1).await {
            taken.push(job.subject);
        }
        taken.sort();
        assert_eq!(taken, ["a", "b", "c"], "{}", test.engine);
    }
}

#[tokio::test]
async fn a_job_can_be_called_off_and_what_a_dead_process_held_be_freed() {
    for test in both_engines().await {
        add(&test.db, a_job("alice", "a", JobUrgency::New, 0)).await;
        let job = claim(&test.db, 0).await.unwrap();
        assert_eq!(write(&test.db, |c| Box::pin(jobs::free_all(c, at(1)))).await, 1, "{}", test.engine);
        assert_eq!(claim(&test.db, 1).await.unwrap().id, job.id, "{}", test.engine);
        let remove = |tenant: &str| {
            let (db, tenant) = (test.db.clone(), tenant.parse::<TenantId>().unwrap());
            async move {
                write(&db, move |c| {
                    let tenant = tenant.clone();
                    Box::pin(async move { jobs::remove(c, KIND, &tenant, "a").await })
                })
                .await
            }
        };
        assert!(!remove("bob").await, "{}: somebody else's", test.engine);
        assert!(remove("alice").await, "{}", test.engine);
        assert!(!renew(&test.db, &job, 99).await);
        assert_eq!(jobs_left(&test.db).await, (0, 0));
    }
}
