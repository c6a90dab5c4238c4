//! 100,000 rows in every table that grows, and what an engine plans to do with a statement on them.

use cifra::db::{Commit, Conn, Urgency};
use serde_json::Value;
use sqlx::{Executor, Row};

use crate::harness::databases::TestDb;

/// 600 more files and uploads, made of the first ones.
pub(super) const MORE_LIKE_THE_FIRST: [&str; 3] = [
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
     INSERT INTO cifra_files (id, tenant_id, store, blob_key, filename, content_type, size, sha256, crc64, metadata,
        created_at, updated_at, version, derived)
     SELECT randomblob(16), tenant_id, store, blob_key || i, filename, content_type, size, sha256, crc64, metadata,
        created_at + i, updated_at, version, derived FROM cifra_files, n",
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
     INSERT INTO cifra_uploads (id, tenant_id, store, blob_key, parts_id, state, protocol, filename, total_size,
        chunk_size, chunk_count, metadata, created_at, updated_at, expires_at)
     SELECT randomblob(16), tenant_id, store, blob_key || i, parts_id || i, state, protocol, filename, total_size,
        chunk_size, chunk_count, metadata, created_at + i, updated_at, expires_at FROM cifra_uploads, n",
    "INSERT INTO cifra_upload_metadata (upload_id, position, tenant_id, pair_hash, key, value)
     SELECT u.id, m.position, m.tenant_id, m.pair_hash, m.key, m.value FROM cifra_uploads u, cifra_upload_metadata m
     WHERE true ON CONFLICT DO NOTHING",
];

/// `NUMBERS` is n(i) from 1 to 100,000, `ID` a new id; both differ between the engines.
const LOAD: [&str; 11] = [
    "INSERT INTO cifra_stores (name, store_id, backend, created_at) VALUES ('default', ID, 'local', 0)",
    "NUMBERS INSERT INTO cifra_files (id, tenant_id, store, blob_key, filename, content_type, size, crc64, metadata,
        created_at, updated_at, version, derived, filename_key, media_kind, media_type)
     SELECT ID, 'default', 'default', 'default/00/' || i, 'name' || i, 'text/plain', i, i, '{}', i, i, 1, 0,
        'name' || i, 'kind' || (i % 9), 'kind/' || (i % 99) FROM n",
    "INSERT INTO cifra_file_metadata (file_id, position, tenant_id, pair_hash, created_at, key, value)
     SELECT id, 0, tenant_id, size % 1000, created_at, 'k', 'v' FROM cifra_files",
    "NUMBERS INSERT INTO cifra_uploads (id, tenant_id, store, blob_key, parts_id, state, protocol, filename, total_size,
        chunk_size, chunk_count, metadata, created_at, updated_at, expires_at, ended_at, bytes_cleared, journal_cleared)
     SELECT ID, 'default', 'default', 'default/01/' || i, 'staging-' || i,
        CASE WHEN i % 100 = 0 THEN 'receiving' ELSE 'completed' END, 'native', 'name' || i, 100, 10, 10, '{}', i, i, i,
        CASE WHEN i % 100 = 0 THEN NULL ELSE i END, TRUE, TRUE FROM n",
    "INSERT INTO cifra_upload_metadata (upload_id, position, tenant_id, pair_hash, key, value)
     SELECT id, 0, tenant_id, created_at % 1000, 'k', 'v' FROM cifra_uploads",
    "INSERT INTO cifra_upload_parts (upload_id, chunk_index, size, crc64, synced, received_at)
     SELECT id, 0, 10, 1, FALSE, 0 FROM cifra_uploads",
    "NUMBERS INSERT INTO cifra_blob_deletions (store, blob_key, purge_after, created_at)
     SELECT 'default', 'default/02/' || i, i, i FROM n",
    "NUMBERS INSERT INTO cifra_audit (created_at, id, tenant_id, actor, action, target, details)
     SELECT i, ID, 'default', 'everybody', 'file-created', 'x', '{}' FROM n",
    "NUMBERS INSERT INTO cifra_jobs (id, kind, tenant_id, subject, urgency, due_at, created_at)
     SELECT ID, 'thumbnails', 'tenant' || (i % 99), 'subject' || i, i % 3, i, i FROM n",
    "INSERT INTO cifra_images (file_id, tenant_id, width, height, format, orientation, has_alpha, frames, truncated,
        thumbhash, average_color)
     SELECT id, tenant_id, 1, 1, 'jpeg', 1, FALSE, 1, FALSE, BYTES, '#000000' FROM cifra_files",
    "INSERT INTO cifra_thumbnails (file_id, size_name, tenant_id, spec_version, status, store, blob_key, width, height,
        bytes, content_type, made_at)
     SELECT id, 'small', tenant_id, '', 'ready', store, blob_key, 1, 1, 1, 'image/jpeg', 0 FROM cifra_files",
];

/// The tables of [`LOAD`] that are large. The others have a row a tenant, a key or a store.
const LARGE: [&str; 10] = [
    "cifra_files",
    "cifra_file_metadata",
    "cifra_uploads",
    "cifra_upload_metadata",
    "cifra_upload_parts",
    "cifra_blob_deletions",
    "cifra_audit",
    "cifra_jobs",
    "cifra_images",
    "cifra_thumbnails",
];

/// More rows than this are not sorted for a page of at most 500.
const SORTED_ROWS_MAX: f64 = 2_000.0;

/// Statements that read all there is because they add it up: once, in the background, after a start.
const SUMS: [&str; 1] = [") AS compared"];

/// Fills a database.
pub(super) async fn load(on: &TestDb) {
    let sqlite = on.engine == "SQLite";
    let numbers = if sqlite {
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
    } else {
        "WITH n (i) AS (SELECT generate_series(1, 100000))"
    };
    let id = if sqlite { "randomblob(16)" } else { "gen_random_uuid()" };
    let bytes = if sqlite { "x'00'" } else { r"'\x00'" };
    let texts = LOAD.map(|text| {
        text.replace("NUMBERS", numbers).replace("ID,", &format!("{id},")).replace("BYTES", bytes)
    });
    for text in texts.into_iter().chain(["ANALYZE".to_owned()].into_iter().filter(|_| !sqlite)) {
        let load = on.db.write_to_the_end(Urgency::Normal, Commit::Normal, move |c| {
            let text = text.clone();
            Box::pin(async move {
                Ok(match c {
                    Conn::Sqlite(c) => c.execute(sqlx::AssertSqlSafe(text)).await?.rows_affected(),
                    Conn::Postgres(c) => (**c).execute(sqlx::AssertSqlSafe(text)).await?.rows_affected(),
                })
            })
        });
        load.await.unwrap();
    }
}

/// Why `text` does not run on indexes only.
pub(super) async fn check(on: &TestDb, asked: &str) -> Result<(), String> {
    // The one text that is SQLite's own: it counts a receipt in two statements. PostgreSQL's, of one, is not logged here.
    let foreign = asked.contains("changes()") && on.engine != "SQLite";
    if foreign || SUMS.iter().any(|part| asked.contains(part)) {
        return Ok(());
    }
    // A list of ids is a parameter of another type there.
    let list = ("IN (SELECT unhex(value) FROM json_each($2))", "= ANY($2)");
    let text = if on.engine == "SQLite" { asked.to_owned() } else { asked.replace(list.0, list.1) };
    // As a write, because a connection for reading does not even explain one.
    let plan = on.db.write(Urgency::Normal, move |c| {
        let text = text.clone();
        Box::pin(async move {
            Ok(match c {
                Conn::Sqlite(c) => {
                    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
                    let rows = sqlx::query(explain).fetch_all(&mut **c).await?;
                    Plan::Sqlite(rows.iter().map(|row| row.get(3)).collect())
                }
                Conn::Postgres(c) => Plan::Postgres(explain(&mut *c, &text).await?),
            })
        })
    });
    match plan.await.map_err(|error| error.to_string())? {
        Plan::Sqlite(steps) => sqlite_fault(asked, &steps).map_or(Ok(()), Err),
        Plan::Postgres(plan) => postgres_fault(&plan["Plan"]).map_or(Ok(()), Err),
    }
}

enum Plan {
    Sqlite(Vec<String>),
    Postgres(Value),
}

/// Indexes that hold only what waits for the sweeper: to read them from their beginning is what they are for.
const QUEUES: [&str; 3] = ["cifra_uploads_journal", "cifra_uploads_uncleared", "cifra_uploads_forgettable"];

/// Statements that may sort on SQLite: the chunks of one upload into runs; and, every 30 s, the uploads that are open.
/// An index in that order would be written with every receipt.
const SORTED: [&str; 3] = ["ROW_NUMBER()", "ORDER BY expires_at, id", "ORDER BY finish_until, id"];

/// A table is searched, not scanned, and what an index has in order is not sorted again.
fn sqlite_fault(text: &str, steps: &[String]) -> Option<String> {
    let bad = |step: &&String| {
        let table = step.strip_prefix("SCAN ").map(|rest| rest.split(' ').next().unwrap_or_default());
        // A short name is an alias.
        let scans = table.is_some_and(|table| LARGE.contains(&table) || table.len() == 1);
        let sorts = step.contains("TEMP B-TREE FOR ORDER BY");
        (scans && !QUEUES.iter().any(|index| step.ends_with(index)))
            || (sorts && !SORTED.iter().any(|part| text.contains(part)))
    };
    steps.iter().find(bad).map(|step| format!("{step} (of {steps:?})"))
}

/// The plan for values of each parameter's type.
async fn explain(c: &mut sqlx::PgConnection, text: &str) -> cifra::base::Result<Value> {
    c.execute("SET plan_cache_mode = force_custom_plan").await?;
    // The program says of which type its parameters are; here PostgreSQL has to see it.
    let text = text.replace("$2 IS NULL", "CAST($2 AS TEXT) IS NULL");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PREPARE asked AS {text}"))).execute(&mut *c).await?;
    let types: Vec<String> = sqlx::query_scalar(
        "SELECT unnest(parameter_types)::text FROM pg_prepared_statements WHERE name = 'asked'",
    )
    .fetch_all(&mut *c)
    .await?;
    let value = |kind: &String| match kind.as_str() {
        "uuid" => "'00000000-0000-7000-8000-000000000000'",
        "bigint" | "integer" => "50",
        "uuid[]" => "'{00000000-0000-7000-8000-000000000000}'",
        "boolean" => "true",
        "bytea" => r"'\x00'",
        _ => "'default'",
    };
    let values: Vec<_> = types.iter().map(value).collect();
    let values = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) EXECUTE asked {values}"));
    let plan: Value = sqlx::query_scalar(explain).fetch_one(&mut *c).await?;
    c.execute("DEALLOCATE asked").await?;
    Ok(plan[0].clone())
}

fn postgres_fault(node: &Value) -> Option<String> {
    let (kind, rows) =
        (node["Node Type"].as_str().unwrap_or_default(), node["Plan Rows"].as_f64().unwrap_or(0.0));
    let table = node["Relation Name"].as_str().unwrap_or_default();
    if kind == "Seq Scan" && LARGE.contains(&table) {
        return Some(format!("Seq Scan of {table}: {node}"));
    }
    if kind == "Sort" && rows > SORTED_ROWS_MAX {
        return Some(format!("Sort of {rows} rows: {node}"));
    }
    node["Plans"].as_array().into_iter().flatten().find_map(postgres_fault)
}
