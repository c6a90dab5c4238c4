//! What changed, told by triggers whoever changed it, once to each who asks, in whatever order it was committed.

use std::collections::BTreeSet;
use std::process::Command;

use cifra::db::invalidations::{self, Change, Cursor, News, Reader};
use cifra::db::{DatabaseUrl, Db};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{a_receipt, inserted, record, write};
use crate::harness::databases::{TestDb, both_engines};

const FILE: &str = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001";
const OTHER: &str = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0002";

/// An id as the engine's own program writes it.
fn literal(test: &TestDb, id: &str) -> String {
    match test.url {
        DatabaseUrl::Sqlite(_) => format!("x'{}'", id.replace('-', "")),
        DatabaseUrl::Postgres(_) => format!("'{id}'"),
    }
}

/// Runs `text` in `psql` or `sqlite3`.
pub(crate) fn by_hand(test: &TestDb, statement: &str) {
    let mut program = match &test.url {
        DatabaseUrl::Sqlite(file) => {
            let mut program = Command::new("sqlite3");
            // The service may be writing.
            program.args(["-bail", "-cmd", ".timeout 10000"]).arg(file).arg(statement);
            program
        }
        DatabaseUrl::Postgres(url) => {
            let mut program = Command::new("psql");
            program
                .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", statement])
                .arg(url);
            program
        }
    };
    let output = program.output().unwrap();
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A reader that has seen everything up to now.
pub(super) async fn reader(db: &Db) -> (Reader, Cursor) {
    let mut reader = Reader::new(db);
    let now = reader.since(None).await.unwrap().now;
    (reader, now)
}

/// What is new, in short words: `File of default: 0199…`.
pub(super) async fn told(reader: &mut Reader, cursor: &mut Cursor) -> BTreeSet<String> {
    let News { now, changes } = reader.since(Some(cursor)).await.unwrap();
    *cursor = now;
    let changes = changes.expect("nothing is missing");
    let told: BTreeSet<_> = changes.iter().map(in_short).collect();
    assert_eq!(told.len(), changes.len(), "nothing is told twice: {changes:?}");
    told
}

fn in_short(change: &Change) -> String {
    let Change { kind, tenant_id, entity, record_id, pattern, automatic } = change;
    assert!(!automatic && pattern.is_none(), "{change:?}");
    let whose = tenant_id.as_deref().unwrap_or("nobody");
    format!("{kind} {} {whose} {}", entity.as_deref().unwrap_or("-"), record_id.as_deref().unwrap_or("-"))
}

pub(super) fn set<const N: usize>(lines: [String; N]) -> BTreeSet<String> {
    lines.into()
}

/// The statement that adds a file by hand.
fn a_file_row(test: &TestDb, id: &str) -> String {
    format!(
        "INSERT INTO cifra_files (id, tenant_id, store, blob_key, filename, content_type, size, crc64, metadata,
             created_at, updated_at, version, derived)
         VALUES ({}, 'default', 'default', 'k', 'a.txt', 'text/plain', 1, 0, '{{}}', 1, 1, 1, 0)",
        literal(test, id)
    )
}

const STORE: &str = "INSERT INTO cifra_stores (name, store_id, backend, created_at)
    VALUES ('default', '00000000000000000000000000000001', 'local', 1)";

#[tokio::test]
async fn what_other_programs_change_is_told() {
    for test in both_engines().await {
        let (mut reader, mut cursor) = reader(&test.db).await;
        let (file, other) = (literal(&test, FILE), literal(&test, OTHER));
        let thumbnail = format!(
            "INSERT INTO cifra_thumbnails (file_id, size_name, tenant_id, spec_version, status, reason, made_at)
             VALUES ({file}, 'small', 'default', '1', 'failed', 'broken', 1)"
        );
        let image = format!(
            "INSERT INTO cifra_images (file_id, tenant_id, width, height, format, orientation, has_alpha, frames,
                 truncated, thumbhash, average_color)
             VALUES ({file}, 'default', 1, 1, 'png', 1, FALSE, 1, FALSE, {file_hash}, '#000000')",
            file_hash = if test.engine == "SQLite" { "x'00'" } else { "'\\x00'" },
        );
        let of_file = || format!("record File default {FILE}");
        let of_thumbnail = || {
            let thumbnail = format!("record Thumbnail default {FILE}");
            set([of_file(), format!("{thumbnail}:small"), thumbnail])
        };
        let cases: [(&str, BTreeSet<String>); 12] = [
            (STORE, set([])),
            (&a_file_row(&test, FILE), set([of_file()])),
            (&format!("UPDATE cifra_files SET filename = 'b.txt' WHERE id = {file}"), set([of_file()])),
            ("UPDATE cifra_files SET filename = 'c.txt' WHERE filename = 'none'", set([])),
            (&thumbnail, of_thumbnail()),
            ("UPDATE cifra_thumbnails SET reason = 'worse'", of_thumbnail()),
            ("DELETE FROM cifra_thumbnails", of_thumbnail()),
            (&image, set([of_file()])),
            ("DELETE FROM cifra_images", set([of_file()])),
            (
                &format!("UPDATE cifra_files SET id = {other}, tenant_id = 'acme' WHERE id = {file}"),
                set([of_file(), format!("record File acme {OTHER}")]),
            ),
            ("DELETE FROM cifra_files", set([format!("record File acme {OTHER}")])),
            (
                "INSERT INTO cifra_tenants (id, created_at) VALUES ('acme', 1)",
                set(["record Tenant nobody acme".to_owned()]),
            ),
        ];
        for (text, expected) in cases {
            by_hand(&test, text);
            assert_eq!(told(&mut reader, &mut cursor).await, expected, "{}: {text}", test.engine);
        }
        by_hand(&test, "UPDATE cifra_tenants SET created_at = 2");
        by_hand(
            &test,
            "INSERT INTO cifra_tenants (id, created_at) VALUES ('acme', 3) ON CONFLICT (id) DO NOTHING",
        );
        assert_eq!(
            told(&mut reader, &mut cursor).await,
            set(["record Tenant nobody acme".to_owned()]),
            "{}: a statement without an effect is no change",
            test.engine
        );
        assert_eq!(told(&mut reader, &mut cursor).await, set([]), "{}: nothing twice", test.engine);
    }
}

#[tokio::test]
async fn uploads_and_receipts_tell_nobody() {
    for test in both_engines().await {
        let (mut reader, mut cursor) = reader(&test.db).await;
        let upload = inserted(&test.db, 0).await;
        record(&test.db, upload.id, a_receipt(0)).await.unwrap();
        assert_eq!(told(&mut reader, &mut cursor).await, set([]), "{}", test.engine);
    }
}

#[tokio::test]
async fn many_rows_of_one_statement_are_told_as_one_on_postgresql() {
    let test = TestDb::postgres().await;
    let (mut reader, mut cursor) = reader(&test.db).await;
    let many = "INSERT INTO cifra_tenants SELECT 'tenant-' || n, 1 FROM generate_series(1, 101) AS n";
    by_hand(&test, many);
    assert_eq!(told(&mut reader, &mut cursor).await, set(["entity Tenant nobody -".to_owned()]));
    by_hand(&test, "UPDATE cifra_tenants SET created_at = 2");
    assert_eq!(told(&mut reader, &mut cursor).await, set(["entity Tenant nobody -".to_owned()]));
    by_hand(&test, "DELETE FROM cifra_tenants WHERE id = 'tenant-7'");
    assert_eq!(told(&mut reader, &mut cursor).await, set(["record Tenant nobody tenant-7".to_owned()]));
    by_hand(&test, "DELETE FROM cifra_tenants");
    assert_eq!(told(&mut reader, &mut cursor).await.len(), 100, "at 100 each is told");
    by_hand(&test, "TRUNCATE cifra_files CASCADE");
    let everywhere = ["File", "Thumbnail"].map(|entity| format!("everywhere {entity} nobody -"));
    // CASCADE truncates what belongs to it, each with a trigger of its own: told once for each.
    let News { changes, .. } = reader.since(Some(&cursor)).await.unwrap();
    let told: BTreeSet<String> = changes.unwrap().iter().map(in_short).collect();
    assert_eq!(told, set(everywhere));
}

/// Who may change a table, but none of ours.
#[tokio::test]
async fn a_role_that_may_not_write_to_our_tables_is_heard_all_the_same() {
    let test = TestDb::postgres().await;
    let (mut reader, mut cursor) = reader(&test.db).await;
    by_hand(
        &test,
        "CREATE ROLE guest_of_tenants; GRANT ALL ON cifra_tenants TO guest_of_tenants; SET ROLE guest_of_tenants;
         CREATE TEMP TABLE cifra_invalidations (kind TEXT, tenant_id TEXT, entity TEXT, record_id TEXT);
         INSERT INTO cifra_tenants (id, created_at) VALUES ('acme', 1)",
    );
    assert_eq!(told(&mut reader, &mut cursor).await, set(["record Tenant nobody acme".to_owned()]));
}

pub(super) async fn connection(test: &TestDb) -> PgConnection {
    let DatabaseUrl::Postgres(url) = &test.url else { panic!("PostgreSQL only") };
    PgConnection::connect(url).await.unwrap()
}

pub(super) async fn run(connection: &mut PgConnection, text: String) {
    connection.execute(AssertSqlSafe(text)).await.unwrap();
}

pub(super) fn a_tenant(name: &str) -> String {
    format!("INSERT INTO cifra_tenants (id, created_at) VALUES ('{name}', 1)")
}

#[tokio::test]
async fn what_is_committed_late_is_told_then_and_delays_nobody() {
    let test = TestDb::postgres().await;
    let (mut reader, mut cursor) = reader(&test.db).await;
    let [mut slow, mut undone] = [connection(&test).await, connection(&test).await];
    for (connection, name) in [(&mut slow, "slow"), (&mut undone, "undone")] {
        run(connection, format!("BEGIN; {}", a_tenant(name))).await;
    }
    for round in 0..3 {
        let name = format!("quick-{round}");
        by_hand(&test, &a_tenant(&name));
        assert_eq!(told(&mut reader, &mut cursor).await, set([format!("record Tenant nobody {name}")]));
    }
    run(&mut slow, "COMMIT".to_owned()).await;
    run(&mut undone, "ROLLBACK".to_owned()).await;
    assert_eq!(told(&mut reader, &mut cursor).await, set(["record Tenant nobody slow".to_owned()]));
    assert_eq!(told(&mut reader, &mut cursor).await, set([]));
}

/// Many writers, each with a transaction that takes its time; one reader.
#[tokio::test(flavor = "multi_thread")]
async fn each_commit_is_told_exactly_once_whatever_happens_at_the_same_time() {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 25;
    let test = TestDb::postgres().await;
    let (mut reader, mut cursor) = reader(&test.db).await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let mut connection = connection(&test).await;
        writers.push(test.tasks.spawn("writer", async move {
            let mut committed = Vec::new();
            for round in 0..ROUNDS {
                let name = format!("t-{writer}-{round}");
                // A part of it in a subtransaction, whose own number nobody is told.
                let begin = format!("BEGIN; SAVEPOINT part; {}; RELEASE part", a_tenant(&name));
                run(&mut connection, begin).await;
                let pause = (writer * 31 + round * 17) % 7;
                run(&mut connection, format!("SELECT pg_sleep(0.00{pause})")).await;
                if (writer + round) % 5 == 0 {
                    run(&mut connection, "ROLLBACK".to_owned()).await;
                } else {
                    run(&mut connection, "COMMIT".to_owned()).await;
                    committed.push(format!("record Tenant nobody {name}"));
                }
            }
            committed
        }));
    }
    let mut seen = Vec::new();
    while writers.iter().any(|writer| !writer.is_finished()) {
        seen.extend(told(&mut reader, &mut cursor).await);
    }
    seen.extend(told(&mut reader, &mut cursor).await);
    let mut committed = Vec::new();
    for writer in writers {
        committed.extend(writer.await.unwrap());
    }
    seen.sort_unstable();
    committed.sort_unstable();
    assert_eq!(seen, committed);
    assert_eq!(committed.len(), WRITERS * ROUNDS * 4 / 5);
}

#[tokio::test]
async fn what_we_add_ourselves_comes_back_as_it_was() {
    for test in both_engines().await {
        let (mut reader, cursor) = reader(&test.db).await;
        let pattern = Change {
            kind: "pattern".to_owned(),
            tenant_id: Some("acme".to_owned()),
            pattern: Some("cifra:acme:*".to_owned()),
            ..Change::default()
        };
        let everything = Change { kind: "all".to_owned(), ..Change::default() };
        let added = vec![pattern, everything];
        let rows = added.clone();
        write(&test.db, move |c| {
            let rows = rows.clone();
            Box::pin(async move { invalidations::add(c, &rows).await })
        })
        .await;
        let news = reader.since(Some(&cursor)).await.unwrap();
        assert_eq!(news.changes, Some(added), "{}", test.engine);
        reader.close().await;
    }
}

#[tokio::test]
async fn who_is_far_behind_is_told_that_anything_may_have_changed() {
    for test in both_engines().await {
        let (mut reader, cursor) = reader(&test.db).await;
        let rows = |count: u32| match test.url {
            DatabaseUrl::Sqlite(_) => format!(
                "WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count})
                 INSERT INTO cifra_invalidations (kind) SELECT 'all' FROM series"
            ),
            DatabaseUrl::Postgres(_) => format!(
                "INSERT INTO cifra_invalidations (kind) SELECT 'all' FROM generate_series(1, {count})"
            ),
        };
        by_hand(&test, &rows(10_000));
        let news = reader.since(Some(&cursor)).await.unwrap();
        assert_eq!(news.changes.map(|changes| changes.len()), Some(10_000), "{}", test.engine);
        by_hand(&test, &rows(1));
        let news = reader.since(Some(&cursor)).await.unwrap();
        assert_eq!(news.changes, None, "{}", test.engine);
        let news = reader.since(Some(&news.now)).await.unwrap();
        assert_eq!(news.changes, Some(Vec::new()), "{}: and goes on from there", test.engine);
    }
}

#[tokio::test]
async fn a_cursor_of_another_history_is_refused() {
    for test in both_engines().await {
        let (mut reader, _) = reader(&test.db).await;
        by_hand(&test, &a_tenant("one"));
        by_hand(&test, &a_tenant("two"));
        let now = reader.since(None).await.unwrap().now;
        let foreign: Vec<Cursor> = match &now {
            // A later row than there is; a row that is another one in ours.
            Cursor::Sqlite { seq, token } => vec![
                Cursor::Sqlite { seq: seq + 1, token: *token },
                Cursor::Sqlite { seq: seq - 1, token: *token },
            ],
            // Another run of the server; one whose transactions went further.
            Cursor::Postgres(_) => {
                let text = now.to_string();
                let (_, place) = text.split_once('.').unwrap();
                let parts: Vec<&str> = text.split(':').collect();
                vec![
                    format!("postgres:1.{place}").parse().unwrap(),
                    format!("postgres:{}:{}:9{}:", parts[1], parts[2], parts[3]).parse().unwrap(),
                ]
            }
        };
        for cursor in foreign {
            let news = reader.since(Some(&cursor)).await.unwrap();
            assert_eq!(news.changes, None, "{}: {cursor} at {now}", test.engine);
        }
        assert_eq!(reader.since(Some(&now)).await.unwrap().changes, Some(Vec::new()), "{}", test.engine);
    }
}
