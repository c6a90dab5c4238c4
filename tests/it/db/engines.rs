//! What holds for a database as a whole: migrations, the log of statements, opening.

use std::collections::BTreeSet;
use std::time::Duration;

use cifra::db::{Conn, DatabaseUrl, Db};
use cifra::telemetry::Tasks;

use super::{inserted, read};
use crate::harness::databases::{both_engines, options};
use crate::harness::{logs, postgres};

#[tokio::test]
async fn migrations_have_the_same_numbers_and_names_on_both_engines() {
    let files = |engine| {
        let folder = format!("{}/migrations/{engine}", env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    assert_eq!(files("sqlite"), files("postgres"));
    let numbers: Vec<i64> =
        files("sqlite").iter().map(|name| name.split_once('_').unwrap().0.parse().unwrap()).collect();
    for test in both_engines().await {
        test.db.migrate().await.expect("twice is fine");
        let applied: Vec<i64> = read(&test.db, |c| {
            Box::pin(async move {
                const APPLIED: &str = "SELECT version FROM cifra_migrations ORDER BY version";
                Ok(match c {
                    Conn::Sqlite(c) => sqlx::query_scalar(APPLIED).fetch_all(&mut **c).await?,
                    Conn::Postgres(c) => sqlx::query_scalar(APPLIED).fetch_all(&mut **c).await?,
                })
            })
        })
        .await;
        assert_eq!(applied, numbers, "{}: every file is part of the program", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_can_migrate_one_database_at_once() {
    let url = DatabaseUrl::Postgres(postgres::server().new_database().await);
    let tasks = Tasks::default();
    let options = options();
    let nodes = futures_util::future::join_all((0..4).map(|_| Db::connect(&url, &options, &tasks)));
    let nodes: Vec<Db> = nodes.await.into_iter().map(Result::unwrap).collect();
    for done in futures_util::future::join_all(nodes.iter().map(Db::migrate)).await {
        done.unwrap();
    }
    inserted(&nodes[3], 0).await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_with_a_reason() {
    for test in both_engines().await {
        let newer = "INSERT INTO cifra_migrations (version, description, success, checksum, execution_time)
                     SELECT 9999, CAST($1 AS TEXT), TRUE, checksum, 0 FROM cifra_migrations WHERE version = 1";
        super::execute(&test.db, newer, uuid::Uuid::nil()).await.unwrap();
        let error = test.db.migrate().await.unwrap_err();
        assert!(
            error.detail().contains("9999") && error.detail().contains("newer"),
            "{}: {error}",
            test.engine
        );
    }
}

#[tokio::test]
async fn a_slow_statement_is_a_warning_with_its_text_and_time() {
    let lines = logs::capture();
    for mut test in both_engines().await {
        let secret = "secret-value-that-no-log-may-have";
        let statement = move |db: Db, marker: &'static str| async move {
            read(&db, move |c| {
                Box::pin(async move {
                    match c {
                        Conn::Sqlite(c) => {
                            sqlx::query(marker).bind(secret).execute(&mut **c).await.map(drop)?;
                        }
                        Conn::Postgres(c) => {
                            sqlx::query(marker).bind(secret).execute(&mut **c).await.map(drop)?;
                        }
                    }
                    Ok(())
                })
            })
            .await;
        };
        let quick = "SELECT 'a quick statement' AS quick WHERE CAST($1 AS TEXT) = ''";
        let slow = "SELECT 'a slow statement' AS slow WHERE CAST($1 AS TEXT) = ''";
        statement(test.db.clone(), quick).await;
        let mut all_are_slow = options();
        all_are_slow.slow_query = Duration::ZERO;
        test.db = Db::connect(&test.url, &all_are_slow, &test.tasks).await.unwrap();
        statement(test.db.clone(), slow).await;

        let quick = lines.take("a quick statement").await;
        assert!(quick.starts_with("DEBUG"), "{}: {quick}", test.engine);
        let slow = lines.take("a slow statement").await;
        assert!(slow.starts_with("WARN"), "{}: {slow}", test.engine);
        for expected in ["SELECT 'a slow statement' AS slow WHERE", "elapsed", "slow statement"] {
            assert!(slow.contains(expected), "{}: {slow}", test.engine);
        }
        assert!(!lines.contain(secret), "{}: bound values are not logged", test.engine);
    }
}

#[tokio::test]
async fn a_url_with_a_password_is_never_shown() {
    let url = DatabaseUrl::Postgres("postgres://me:secret@127.0.0.1:1/none".to_owned());
    assert!(!format!("{url:?}").contains("secret"));
    let error = Db::connect(&url, &options(), &Tasks::default()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    assert_eq!(error.code(), cifra::base::Code::Unavailable);
    let url = DatabaseUrl::Postgres("postgres://me:secret@[".to_owned());
    let error = Db::connect(&url, &options(), &Tasks::default()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
}

#[tokio::test]
async fn a_living_database_answers() {
    for test in both_engines().await {
        test.db.ping().await.unwrap();
        test.db.close().await;
        assert!(test.db.ping().await.is_err(), "{}", test.engine);
    }
}
