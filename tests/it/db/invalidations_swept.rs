//! Rows of `cifra_invalidations` go when everybody has seen them.

use std::time::Duration;

use cifra::db::{Conn, Db, invalidations};

use super::invalidations::{a_tenant, by_hand, connection, reader, run, set, told};
use super::{at, write};
use crate::harness::databases::TestDb;
use crate::harness::postgres::PostgresServer;

async fn sweep(db: &Db, second: i64) -> u64 {
    write(db, move |c| {
        Box::pin(async move { invalidations::sweep(c, at(second), Duration::from_hours(1), 2).await })
    })
    .await
}

/// As if the hour were over on the server's clock.
async fn let_an_hour_pass(db: &Db) {
    write(db, |c| {
        Box::pin(async move {
            const PASS: &str = "UPDATE cifra_invalidation_horizon SET next_at = next_at - 3600000000 - 1";
            if let Conn::Postgres(c) = c {
                sqlx::query(PASS).execute(&mut **c).await?;
            }
            Ok(())
        })
    })
    .await;
}

#[tokio::test]
async fn rows_go_when_everybody_had_an_hour_to_see_them() {
    // Other tests' transactions would keep them.
    let server = PostgresServer::start();
    for test in [TestDb::sqlite().await, TestDb::postgres_on(&server).await] {
        let (mut reader, old) = reader(&test.db).await;
        for name in ["one", "two", "three", "four"] {
            by_hand(&test, &a_tenant(name));
        }
        let now = reader.since(Some(&old)).await.unwrap().now;
        assert_eq!(sweep(&test.db, 0).await, 0, "{}: nobody knows how old they are", test.engine);
        assert_eq!(sweep(&test.db, 3599).await, 0, "{}", test.engine);
        assert_eq!(reader.since(Some(&old)).await.unwrap().changes.unwrap().len(), 4, "{}", test.engine);
        by_hand(&test, &a_tenant("five"));
        let_an_hour_pass(&test.db).await;
        let mut swept = Vec::new();
        for _ in 0..3 {
            swept.push(sweep(&test.db, 3601).await);
        }
        // SQLite keeps the last one that was there.
        let expected = if test.engine == "SQLite" { [2, 1, 0] } else { [2, 2, 0] };
        assert_eq!(swept, expected, "{}: in slices", test.engine);
        assert_eq!(
            reader.since(Some(&old)).await.unwrap().changes,
            None,
            "{}: it has missed some",
            test.engine
        );
        let news = reader.since(Some(&now)).await.unwrap();
        assert_eq!(news.changes.unwrap().len(), 1, "{}: it has not", test.engine);
    }
}

#[tokio::test]
async fn a_row_that_becomes_visible_after_hours_is_seen_before_it_goes() {
    let server = PostgresServer::start();
    let test = TestDb::postgres_on(&server).await;
    let (mut reader, mut cursor) = reader(&test.db).await;
    let mut slow = connection(&test).await;
    run(&mut slow, format!("BEGIN; {}", a_tenant("slow"))).await;
    for name in ["one", "two", "three"] {
        by_hand(&test, &a_tenant(name));
        let_an_hour_pass(&test.db).await;
        sweep(&test.db, 0).await;
    }
    told(&mut reader, &mut cursor).await;
    run(&mut slow, "COMMIT".to_owned()).await;
    let_an_hour_pass(&test.db).await;
    assert_eq!(sweep(&test.db, 0).await, 0, "it has just come");
    assert_eq!(told(&mut reader, &mut cursor).await, set(["record Tenant nobody slow".to_owned()]));
}
