//! Triggers on tables that are not ours.

use std::collections::BTreeSet;
use std::process::Command;

use cifra::base::EntityName;
use cifra::db::invalidations::{Change, Cursor, Reader};
use cifra::db::triggers::{self, Watched};
use cifra::db::{Conn, DatabaseUrl, Db, catalog};

use super::invalidations::by_hand;
use super::{read, write};
use crate::harness::databases::{TestDb, both_engines};
use crate::harness::process::until;

/// What `table` has to say is told as changes of contacts, known by `key`.
async fn watch(db: &Db, table: &'static str, key: &str, tenant: Option<&str>) -> Watched {
    let table =
        read(db, move |c| Box::pin(async move { catalog::table(c, None, table).await })).await.unwrap();
    let column = |name: &str| table.column(name).unwrap().clone();
    let watched = Watched {
        entity: EntityName::of("Contact"),
        key: column(key),
        tenant: tenant.map(column),
        table: table.clone(),
    };
    let put = watched.clone();
    write(db, move |c| {
        let put = put.clone();
        Box::pin(async move { triggers::put(c, &put).await })
    })
    .await;
    watched
}

async fn are_outdated(db: &Db, watched: Watched) -> bool {
    read(db, move |c| Box::pin(async move { triggers::are_outdated(c, &watched).await })).await
}

async fn unwatch(db: &Db) {
    write(db, |c| Box::pin(async move { triggers::remove(c, &EntityName::of("Contact")).await })).await;
}

/// What a change by hand makes everybody hear: `kind tenant id`.
struct Ear {
    reader: Reader,
    cursor: Cursor,
}

impl Ear {
    async fn new(db: &Db) -> Self {
        let mut reader = Reader::new(db);
        let cursor = reader.since(None).await.unwrap().now;
        Self { reader, cursor }
    }

    async fn heard(&mut self) -> BTreeSet<String> {
        let news = self.reader.since(Some(&self.cursor)).await.unwrap();
        self.cursor = news.now;
        news.changes.unwrap().iter().map(in_short).collect()
    }

    async fn hears(&mut self, test: &TestDb, statement: &str, expected: &[&str]) {
        by_hand(test, statement);
        let expected: BTreeSet<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(self.heard().await, expected, "{}: {statement}", test.engine);
    }
}

fn in_short(change: &Change) -> String {
    let Change { kind, tenant_id, entity, record_id, pattern, automatic } = change;
    assert_eq!(entity.as_deref(), Some("Contact"), "{change:?}");
    assert!(*automatic && pattern.is_none(), "{change:?}");
    format!("{kind} {} {}", tenant_id.as_deref().unwrap_or("-"), record_id.as_deref().unwrap_or("-"))
}

#[tokio::test]
async fn changes_of_a_watched_table_are_told_until_it_is_not_watched_any_more() {
    for test in both_engines().await {
        // Names that need quotes, and one that the trigger's own text could take for its own.
        by_hand(
            &test,
            r#"CREATE TABLE "Con""tacts" ("I d" BIGINT PRIMARY KEY, company TEXT, many TEXT, cifra_changed TEXT)"#,
        );
        let news = {
            let mut ear = Ear::new(&test.db).await;
            watch(&test.db, r#"Con"tacts"#, "I d", Some("company")).await;
            let news = ear.reader.since(Some(&ear.cursor)).await.unwrap();
            news.changes.unwrap()
        };
        let told: Vec<&str> = news.iter().map(|change| change.kind.as_str()).collect();
        assert_eq!(told, ["everywhere"], "{}: nobody saw what changed before", test.engine);
        assert!(!news[0].automatic, "{}: this counts whatever is switched off", test.engine);

        let mut ear = Ear::new(&test.db).await;
        let table = r#""Con""tacts""#;
        let insert =
            format!(r#"INSERT INTO {table} ("I d", company) VALUES (1, 'acme'), (-9007199254740993, 'b')"#);
        ear.hears(&test, &insert, &["record acme 1", "record b -9007199254740993"]).await;
        ear.hears(&test, &format!(r#"UPDATE {table} SET many = 'x' WHERE "I d" = 1"#), &["record acme 1"])
            .await;
        let moved = format!(r#"UPDATE {table} SET company = 'c', "I d" = 2 WHERE "I d" = 1"#);
        ear.hears(&test, &moved, &["record acme 1", "record c 2"]).await;
        ear.hears(
            &test,
            &format!(r#"UPDATE {table} SET company = NULL WHERE "I d" = 2"#),
            &["record c 2", "record - 2"],
        )
        .await;
        ear.hears(&test, &format!(r#"DELETE FROM {table} WHERE "I d" = 2"#), &["record - 2"]).await;
        // Again: the same, once.
        watch(&test.db, r#"Con"tacts"#, "I d", Some("company")).await;
        let mut ear = Ear::new(&test.db).await;
        ear.hears(&test, &format!("DELETE FROM {table}"), &["record b -9007199254740993"]).await;
        unwatch(&test.db).await;
        unwatch(&test.db).await;
        ear.hears(&test, &insert, &[]).await;
    }
}

#[tokio::test]
async fn triggers_that_are_of_another_configuration_are_known() {
    for test in both_engines().await {
        by_hand(&test, "CREATE TABLE contacts (id BIGINT PRIMARY KEY, other BIGINT UNIQUE, company TEXT)");
        by_hand(&test, "CREATE TABLE people (id BIGINT PRIMARY KEY, other BIGINT UNIQUE, company TEXT)");
        let now = watch(&test.db, "contacts", "id", None).await;
        let are_outdated = async |watched| are_outdated(&test.db, watched).await;
        let column = |name: &str| now.table.column(name).unwrap().clone();
        assert!(!are_outdated(now.clone()).await, "{}", test.engine);
        assert!(are_outdated(Watched { key: column("other"), ..now.clone() }).await, "{}", test.engine);
        assert!(
            are_outdated(Watched { tenant: Some(column("company")), ..now.clone() }).await,
            "{}",
            test.engine
        );
        let mut elsewhere = now.clone();
        elsewhere.table.name = "people".to_owned();
        assert!(are_outdated(elsewhere).await, "{}", test.engine);
        unwatch(&test.db).await;
        assert!(!are_outdated(now).await, "{}: without any, nobody expects any", test.engine);
    }
}

#[tokio::test]
async fn a_row_without_a_key_is_no_record_and_its_change_succeeds() {
    for test in both_engines().await {
        by_hand(&test, "CREATE TABLE contacts (number BIGINT PRIMARY KEY, mail TEXT UNIQUE)");
        watch(&test.db, "contacts", "mail", None).await;
        let mut ear = Ear::new(&test.db).await;
        let insert = "INSERT INTO contacts (number, mail) VALUES (1, 'a@b.c'), (2, NULL)";
        ear.hears(&test, insert, &["record - a@b.c", "entity - -"]).await;
    }
}

#[tokio::test]
async fn ids_are_told_as_paths_have_them() {
    for test in both_engines().await {
        let (kind, id) = match test.engine {
            "SQLite" => ("UUID", "x'0199AAAABBBB7CCC8DDDEEEEFFFF0001'"),
            _ => ("UUID", "'0199AAAA-BBBB-7CCC-8DDD-EEEEFFFF0001'"),
        };
        by_hand(&test, &format!("CREATE TABLE contacts (id {kind} PRIMARY KEY, mail TEXT)"));
        watch(&test.db, "contacts", "id", None).await;
        let mut ear = Ear::new(&test.db).await;
        let told = "record - 0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001";
        ear.hears(&test, &format!("INSERT INTO contacts (id) VALUES ({id})"), &[told]).await;
    }
}

#[tokio::test]
async fn many_rows_partitions_and_other_roles_on_postgresql() {
    let test = TestDb::postgres().await;
    by_hand(
        &test,
        "CREATE SCHEMA crm;
         CREATE TABLE contacts (id BIGINT, company TEXT, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE crm.low PARTITION OF contacts FOR VALUES FROM (0) TO (1000);
         CREATE TABLE crm.high PARTITION OF contacts FOR VALUES FROM (1000) TO (2000);
         CREATE ROLE salesman; GRANT USAGE ON SCHEMA crm TO salesman; GRANT ALL ON contacts, crm.low TO salesman",
    );
    let watched = watch(&test.db, "contacts", "id", Some("company")).await;
    let mut ear = Ear::new(&test.db).await;
    let many =
        "INSERT INTO contacts SELECT n, CASE n % 2 WHEN 0 THEN 'acme' END FROM generate_series(1, 101) AS n";
    ear.hears(&test, many, &["entity acme -", "entity - -"]).await;
    ear.hears(&test, "INSERT INTO crm.high VALUES (1001, 'acme')", &["record acme 1001"]).await;
    ear.hears(&test, "UPDATE contacts SET id = 1002 WHERE id = 2", &["record acme 2", "record acme 1002"])
        .await;
    ear.hears(
        &test,
        "MERGE INTO contacts USING (VALUES (7)) AS v (id) ON contacts.id = v.id WHEN MATCHED THEN DELETE",
        &["record - 7"],
    )
    .await;
    ear.hears(
        &test,
        "SET ROLE salesman; SET search_path = crm; DELETE FROM low WHERE id = 8",
        &["record acme 8"],
    )
    .await;
    // One that comes later is noticed, and watched when somebody says so again.
    by_hand(&test, "CREATE TABLE crm.top PARTITION OF contacts FOR VALUES FROM (2000) TO (3000)");
    assert!(are_outdated(&test.db, watched.clone()).await);
    watch(&test.db, "contacts", "id", Some("company")).await;
    assert!(!are_outdated(&test.db, watched).await);
    let mut ear = Ear::new(&test.db).await;
    ear.hears(&test, "INSERT INTO crm.top VALUES (2001, 'acme')", &["record acme 2001"]).await;
    by_hand(&test, "TRUNCATE contacts");
    assert_eq!(ear.heard().await, BTreeSet::from(["everywhere - -".to_owned()]));
    unwatch(&test.db).await;
    ear.hears(&test, "INSERT INTO crm.low VALUES (1, 'acme')", &[]).await;
}

#[tokio::test]
async fn whoever_writes_to_a_watched_table_on_postgresql_runs_nothing_of_ours_and_we_nothing_of_theirs() {
    let test = TestDb::postgres().await;
    by_hand(&test, "CREATE TABLE contacts (id BIGSERIAL PRIMARY KEY, company TEXT); CREATE SEQUENCE other");
    watch(&test.db, "contacts", "id", Some("company")).await;
    let mut ear = Ear::new(&test.db).await;
    // What was given to them last is still what their own table gave them.
    let lastval = "DO $$ BEGIN
        INSERT INTO contacts (company) VALUES ('acme');
        ASSERT lastval() = currval('contacts_id_seq');
    END $$";
    ear.hears(&test, lastval, &["record acme 1"]).await;

    by_hand(&test, "ALTER TABLE contacts RENAME COLUMN company TO firm");
    ear.hears(&test, "UPDATE contacts SET firm = 'other'", &["everywhere - -"]).await;
    by_hand(&test, "ALTER TABLE contacts RENAME COLUMN firm TO company");
    ear.hears(&test, "UPDATE contacts SET company = 'acme'", &["record acme 1", "record other 1"]).await;

    // A type whose text is made by its owner's function, which must not run with our rights.
    by_hand(
        &test,
        "CREATE TABLE ran (who TEXT);
         CREATE TYPE tricky AS (id BIGINT);
         CREATE FUNCTION tell(tricky) RETURNS TEXT LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO ran VALUES (CURRENT_USER); RETURN 'x';
         END $$;
         CREATE CAST (tricky AS TEXT) WITH FUNCTION tell(tricky);
         ALTER TABLE contacts ALTER COLUMN company TYPE tricky USING ROW(1)::tricky",
    );
    ear.hears(&test, "UPDATE contacts SET company = ROW(2)::tricky", &["everywhere - -"]).await;
    by_hand(&test, "DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM ran); END $$");
}

#[tokio::test]
async fn without_our_tables_whoever_writes_to_a_watched_one_does_not_notice() {
    let test = TestDb::postgres().await;
    by_hand(&test, "CREATE TABLE contacts (id BIGINT PRIMARY KEY)");
    watch(&test.db, "contacts", "id", None).await;
    by_hand(&test, "DROP TABLE cifra_invalidations; INSERT INTO contacts VALUES (1); TRUNCATE contacts");
}

#[tokio::test]
async fn a_watched_table_that_was_made_anew_is_noticed() {
    for test in both_engines().await {
        by_hand(&test, "CREATE TABLE contacts (id BIGINT PRIMARY KEY)");
        let watched = watch(&test.db, "contacts", "id", None).await;
        by_hand(&test, "DROP TABLE contacts");
        by_hand(&test, "CREATE TABLE contacts (id BIGINT PRIMARY KEY)");
        assert!(are_outdated(&test.db, watched.clone()).await, "{}", test.engine);
        watch(&test.db, "contacts", "id", None).await;
        assert!(!are_outdated(&test.db, watched).await, "{}", test.engine);
        let mut ear = Ear::new(&test.db).await;
        ear.hears(&test, "INSERT INTO contacts VALUES (1)", &["record - 1"]).await;
    }
}

#[tokio::test]
async fn to_watch_once_more_waits_for_nobody_who_reads_the_table() {
    const READ: &str = "
        SELECT COUNT(*) FROM pg_locks
        WHERE relation = CAST('contacts' AS REGCLASS) AND mode = 'AccessShareLock'
    ";
    let test = TestDb::postgres().await;
    by_hand(&test, "CREATE TABLE contacts (id BIGINT PRIMARY KEY)");
    watch(&test.db, "contacts", "id", None).await;
    let DatabaseUrl::Postgres(url) = &test.url else { unreachable!("it is one") };
    // Both in one transaction.
    let reads = "SELECT FROM contacts; SELECT pg_sleep(60)";
    let mut reader =
        Command::new("psql").args(["--no-psqlrc", "--quiet", "--command", reads, url]).spawn().unwrap();
    until("the table is read", async || {
        let locks: i64 = read(&test.db, |c| {
            Box::pin(async move {
                let Conn::Postgres(c) = c else { unreachable!("it is one") };
                Ok(sqlx::query_scalar(READ).fetch_one(&mut **c).await?)
            })
        })
        .await;
        (locks > 0).then_some(())
    })
    .await;
    watch(&test.db, "contacts", "id", None).await;
    assert!(reader.try_wait().unwrap().is_none(), "whoever reads was waited for");
    by_hand(
        &test,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND pid <> pg_backend_pid()",
    );
    reader.wait().unwrap();
}

#[tokio::test]
async fn a_row_that_sqlite_replaces_is_told_too() {
    let test = TestDb::sqlite().await;
    by_hand(&test, "CREATE TABLE contacts (id INTEGER PRIMARY KEY, company TEXT)");
    by_hand(&test, "INSERT INTO contacts VALUES (1, 'acme'), (2, 'acme')");
    watch(&test.db, "contacts", "id", Some("company")).await;
    let mut ear = Ear::new(&test.db).await;
    let moved = "INSERT OR REPLACE INTO contacts VALUES (1, 'other'), (3, 'other')";
    ear.hears(&test, moved, &["record acme 1", "record other 1", "record other 3"]).await;
    ear.hears(&test, "INSERT INTO contacts (company) VALUES ('acme')", &["record acme 4"]).await;
    // Whichever way a row is replaced, and whatever it has in common with the new one.
    let moved = "UPDATE OR REPLACE contacts SET id = 3 WHERE id = 1";
    ear.hears(&test, moved, &["record other 1", "record other 3"]).await;
    ear.hears(
        &test,
        "UPDATE OR REPLACE contacts SET id = 2 WHERE id = 3",
        &["record acme 2", "record other 2", "record other 3"],
    )
    .await;
    by_hand(&test, "CREATE UNIQUE INDEX place ON contacts (company, id % 7)");
    by_hand(&test, "ALTER TABLE contacts ADD COLUMN mail TEXT");
    by_hand(&test, "CREATE UNIQUE INDEX mail ON contacts (mail, company)");
    by_hand(&test, "UPDATE contacts SET mail = 'a@b' WHERE id = 4");
    watch(&test.db, "contacts", "id", Some("company")).await;
    let mut ear = Ear::new(&test.db).await;
    let replaced = "INSERT OR REPLACE INTO contacts VALUES (10, 'acme', 'a@b')";
    ear.hears(&test, replaced, &["record acme 4", "record acme 10"]).await;
    ear.hears(
        &test,
        "UPDATE OR REPLACE contacts SET mail = 'a@b', company = 'acme' WHERE id = 2",
        &["record acme 10", "record other 2", "record acme 2"],
    )
    .await;
    unwatch(&test.db).await;
    ear.hears(&test, "INSERT OR REPLACE INTO contacts VALUES (2, 'acme', NULL)", &[]).await;
}

#[tokio::test]
async fn a_table_that_the_database_does_not_let_us_watch_is_named() {
    let test = TestDb::sqlite().await;
    by_hand(&test, "CREATE TABLE contacts (id BIGINT PRIMARY KEY)");
    let mut watched = watch(&test.db, "contacts", "id", None).await;
    watched.table.name = "none".to_owned();
    let refused = test.db.write(cifra::db::Urgency::Normal, move |c| {
        let watched = watched.clone();
        Box::pin(async move { triggers::put(c, &watched).await })
    });
    let error = refused.await.unwrap_err();
    assert!(error.detail().contains("triggers on \"none\""), "{error}");
}
