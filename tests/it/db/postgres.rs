//! What only a server can do: go away and come back.

use std::time::{Duration, Instant};

use cifra::base::Code;
use cifra::db::parts::Recorded;
use cifra::db::{Conn, DatabaseUrl, Db, Urgency};
use cifra::telemetry::Tasks;

use super::{a_receipt, get, inserted, read, record};
use crate::harness::databases::{TestDb, options};
use crate::harness::postgres::PostgresServer;

/// How many other connections sleep.
const SLEEPING: &str = "SELECT COUNT(*) FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()
      AND wait_event = 'PgSleep'";

/// Ends all other connections.
const CUT: &str = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// A statement of one number.
async fn number(db: &Db, text: &'static str) -> i64 {
    read(db, move |c| {
        Box::pin(async move {
            let Conn::Postgres(c) = c else { panic!("not PostgreSQL") };
            Ok(sqlx::query_scalar(text).fetch_one(&mut **c).await?)
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_unavailable_and_the_next_call_works() {
    let test = TestDb::postgres().await;
    let id = inserted(&test.db, 0).await.id;
    let other = Db::connect(&test.url, &options(), &test.tasks).await.unwrap();
    let db = test.db.clone();
    let cut = test.tasks.spawn("cut", async move {
        db.write(Urgency::Normal, move |c| {
            Box::pin(async move {
                let Conn::Postgres(c) = c else { panic!("not PostgreSQL") };
                Ok(sqlx::query("SELECT pg_sleep(60)").execute(&mut **c).await.map(drop)?)
            })
        })
        .await
    });
    while number(&other, SLEEPING).await == 0 {
        tokio::task::yield_now().await;
    }
    assert!(number(&other, CUT).await > 0);
    let error = cut.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(error.retry_delay().is_some());

    // Connections that rested in the pool are cut too: each may fail once, then all is well.
    let mut failures = 0;
    loop {
        match record(&test.db, id, a_receipt(0)).await {
            Ok(Recorded::Counted(_)) => break,
            Err(error) if error.code() == Code::Unavailable && failures < 8 => failures += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(get(&test.db, id).await.unwrap().received_chunks, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_went_away_is_found_again() {
    let server = PostgresServer::start();
    let url = DatabaseUrl::Postgres(server.new_database().await);
    let tasks = Tasks::default();
    let db = Db::connect(&url, &options(), &tasks).await.unwrap();
    db.migrate().await.unwrap();
    let id = inserted(&db, 0).await.id;

    server.stop();
    for _ in 0..3 {
        let begun = Instant::now();
        let error = record(&db, id, a_receipt(0)).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    assert_eq!(db.ping().await.unwrap_err().code(), Code::Unavailable);

    server.resume();
    let mut failures = 0;
    while let Err(error) = record(&db, id, a_receipt(1)).await {
        assert!(error.code() == Code::Unavailable && failures < 8, "{error}");
        failures += 1;
    }
    db.ping().await.unwrap();
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up() {
    let test = TestDb::postgres().await;
    let mut hasty = options();
    hasty.statement_timeout = Duration::from_millis(50);
    let db = Db::connect(&test.url, &hasty, &test.tasks).await.unwrap();
    let error = db.read(|c| {
        Box::pin(async move {
            let Conn::Postgres(c) = c else { panic!("not PostgreSQL") };
            Ok(sqlx::query("SELECT pg_sleep(60)").execute(&mut **c).await.map(drop)?)
        })
    });
    assert_eq!(error.await.unwrap_err().code(), Code::Unavailable);
    db.migrate().await.expect("migrations may take their time");
    db.ping().await.unwrap();
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_unless_it_can_be_repeated_or_nothing_was_promised() {
    let test = TestDb::postgres().await;
    let mut careless = options();
    careless.durability = cifra::db::Synchronous::Off;
    let careless = Db::connect(&test.url, &careless, &test.tasks).await.unwrap();
    for (db, urgency, commit, expected) in [
        (&test.db, Urgency::Receipt, cifra::db::Commit::Normal, "on"),
        (&test.db, Urgency::Background, cifra::db::Commit::Normal, "off"),
        (&test.db, Urgency::Normal, cifra::db::Commit::Normal, "on"),
        (&careless, Urgency::Receipt, cifra::db::Commit::Normal, "off"),
        (&careless, Urgency::Receipt, cifra::db::Commit::Durable, "on"),
        (&careless, Urgency::Normal, cifra::db::Commit::Normal, "on"),
    ] {
        let setting = db.write_to_the_end(urgency, commit, |c| {
            Box::pin(async move {
                let Conn::Postgres(c) = c else { panic!("not PostgreSQL") };
                let setting: String =
                    sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&mut **c).await?;
                Ok(setting)
            })
        });
        assert_eq!(setting.await.unwrap(), expected, "{urgency:?} {commit:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_job_fails_leaves_nothing_and_its_connection_is_lent_again() {
    let test = TestDb::postgres().await;
    let mut one = options();
    one.max_connections = 1;
    let db = Db::connect(&test.url, &one, &test.tasks).await.unwrap();
    let backend = "SELECT CAST(pg_backend_pid() AS BIGINT)";
    let before = number(&db, backend).await;
    let failed = db.write(Urgency::Normal, |c| {
        Box::pin(async move {
            let Conn::Postgres(c) = c else { panic!("not PostgreSQL") };
            sqlx::query("DELETE FROM cifra_migrations").execute(&mut **c).await?;
            sqlx::query("SELECT 1 / 0").execute(&mut **c).await?;
            Ok(())
        })
    });
    assert_eq!(failed.await.unwrap_err().code(), Code::Internal);
    assert!(number(&db, "SELECT COUNT(*) FROM cifra_migrations").await > 0);
    assert_eq!(number(&db, backend).await, before);
}
