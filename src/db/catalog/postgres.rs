//! Tables as PostgreSQL's own catalog has them. Not `information_schema`: that hides materialized views.

use sqlx::PgConnection;

use super::{Column, Engine, Kind, Table, quote};
use crate::base::Result;

#[derive(sqlx::FromRow)]
struct ColumnRow {
    schema: String,
    table_name: String,
    relation_kind: String,
    name: String,
    readable: bool,
    modifier: i32,
    type_schema: String,
    type_name: String,
    type_category: String,
    comparable: bool,
}

/// The table or view `name`, where the search path finds it unless `schema` says where it is.
pub(super) async fn table(c: &mut PgConnection, schema: Option<&str>, name: &str) -> Result<Option<Table>> {
    // A domain is what it is made of. Lists are compared by `anyarray`, which is no type of a column.
    const COLUMNS: &str = "
        SELECT CAST(n.nspname AS TEXT) AS schema,
            CAST(c.relname AS TEXT) AS table_name,
            CAST(c.relkind AS TEXT) AS relation_kind,
            CAST(a.attname AS TEXT) AS name,
            has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable,
            a.atttypmod AS modifier,
            CAST(m.nspname AS TEXT) AS type_schema,
            CAST(b.typname AS TEXT) AS type_name,
            CAST(b.typcategory AS TEXT) AS type_category,
            b.typcategory IN ('S', 'E') OR EXISTS (
                SELECT 1
                FROM pg_catalog.pg_opclass o
                WHERE o.opcintype = b.oid
                  AND o.opcdefault
            ) AS comparable
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        JOIN pg_catalog.pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
        JOIN pg_catalog.pg_namespace m ON m.oid = b.typnamespace
        WHERE c.oid = to_regclass($1)
          AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        ORDER BY a.attnum
    ";
    // Without columns that are only carried along, and without those of rows that a condition picks.
    const UNIQUE: &str = "
        SELECT i.indisprimary,
            ARRAY(
                SELECT CAST(a.attname AS TEXT)
                FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
                JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                WHERE k.place <= i.indnkeyatts
                ORDER BY k.place
            )
        FROM pg_catalog.pg_index i
        WHERE i.indrelid = to_regclass($1)
          AND i.indisunique
          AND i.indisvalid
          AND i.indpred IS NULL
          AND i.indexprs IS NULL
        ORDER BY i.indexrelid
    ";
    let named = match schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(name)),
        None => quote(name),
    };
    let rows: Vec<ColumnRow> = sqlx::query_as(COLUMNS).bind(&named).fetch_all(&mut *c).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let (schema, name) = (Some(first.schema.clone()), first.table_name.clone());
    let is_view = matches!(first.relation_kind.as_str(), "v" | "m" | "f");
    let unique: Vec<(bool, Vec<String>)> = sqlx::query_as(UNIQUE).bind(&named).fetch_all(&mut *c).await?;
    let primary_key = unique.iter().find(|(primary, _)| *primary).map(|(_, columns)| columns.clone());
    Ok(Some(Table {
        engine: Engine::Postgres,
        schema,
        name,
        is_view,
        columns: rows.into_iter().map(Column::from).collect(),
        primary_key: primary_key.unwrap_or_default(),
        unique: unique.into_iter().map(|(_, columns)| columns).collect(),
    }))
}

impl From<ColumnRow> for Column {
    fn from(row: ColumnRow) -> Self {
        let kind = Kind::of_postgres(&row.type_name, &row.type_category, row.modifier);
        // Without a cast its index serves: these types compare as text does. An enumeration does not.
        let as_text = matches!(row.type_name.as_str(), "text" | "varchar" | "bpchar" | "name");
        let cast = format!("{}.{}", quote(&row.type_schema), quote(&row.type_name));
        Self {
            name: row.name,
            kind,
            readable: row.readable,
            comparable: row.comparable && kind != Kind::Composite,
            cast: (!as_text).then_some(cast),
        }
    }
}
