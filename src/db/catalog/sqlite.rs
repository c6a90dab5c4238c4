//! Tables as SQLite's pragmas describe them.

use sqlx::SqliteConnection;

use super::{Column, Engine, Kind, Table};
use crate::base::Result;

/// The table or view `name`, whatever its case.
pub(super) async fn table(c: &mut SqliteConnection, name: &str) -> Result<Option<Table>> {
    const TABLE: &str = "
        SELECT name, type = 'view'
        FROM sqlite_schema
        WHERE type IN ('table', 'view')
          AND name = $1 COLLATE NOCASE
    ";
    // Generated columns are among them, hidden ones of virtual tables are not.
    const COLUMNS: &str = "
        SELECT name, type, pk
        FROM pragma_table_xinfo($1)
        WHERE hidden <> 1
        ORDER BY cid
    ";
    // An index on an expression has a column without a name.
    const UNIQUE: &str = r#"
        SELECT l.seq, i.name
        FROM pragma_index_list($1) AS l
        JOIN pragma_index_info(l.name) AS i
        WHERE l."unique" = 1
          AND l.partial = 0
        ORDER BY l.seq, i.seqno
    "#;
    let found: Option<(String, bool)> = sqlx::query_as(TABLE).bind(name).fetch_optional(&mut *c).await?;
    let Some((name, is_view)) = found else { return Ok(None) };
    let rows: Vec<(String, String, i64)> = sqlx::query_as(COLUMNS).bind(&name).fetch_all(&mut *c).await?;
    let indexed: Vec<(i64, Option<String>)> = sqlx::query_as(UNIQUE).bind(&name).fetch_all(&mut *c).await?;

    let mut key: Vec<(i64, String)> = rows
        .iter()
        .filter(|(_, _, place)| *place > 0)
        .map(|(name, _, place)| (*place, name.clone()))
        .collect();
    key.sort();
    let primary_key: Vec<String> = key.into_iter().map(|(_, name)| name).collect();
    let mut unique: Vec<Vec<String>> = Vec::new();
    for index in indexed.chunk_by(|(a, _), (b, _)| a == b) {
        unique.extend(index.iter().map(|(_, name)| name.clone()).collect::<Option<Vec<String>>>());
    }
    // The row's own number has no index.
    if !primary_key.is_empty() && !unique.contains(&primary_key) {
        unique.push(primary_key.clone());
    }
    let column = |(name, declared, _): (String, String, i64)| {
        let kind = Kind::declared(&declared);
        Column { name, kind, readable: true, comparable: kind != Kind::Json, cast: None }
    };
    let columns = rows.into_iter().map(column).collect();
    Ok(Some(Table { engine: Engine::Sqlite, schema: None, name, is_view, columns, primary_key, unique }))
}
