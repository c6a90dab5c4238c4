//! What they are made of on PostgreSQL: one function, and triggers that call it after each statement, on the table and on
//! all that it has its rows from.
//!
//! The function has our rights, so nothing of the table's owner may run in it: where a column is gone, or of a type that
//! somebody made, whose output may be anybody's function, it tells that anything may have changed. Of statements that
//! change over 100 rows it tells once. Where our tables are gone it does nothing: nobody is kept from writing to theirs.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::{INTO, Standing, Watched, name, told};
use crate::base::Result;

/// Ends of the names of triggers; when they run; what the function may ask.
const EVENTS: [(&str, &str, &str); 4] = [
    ("inserted", "INSERT", "REFERENCING NEW TABLE AS cifra_changed"),
    ("updated", "UPDATE", "REFERENCING OLD TABLE AS cifra_before NEW TABLE AS cifra_changed"),
    ("deleted", "DELETE", "REFERENCING OLD TABLE AS cifra_changed"),
    ("truncated", "TRUNCATE", ""),
];
/// As many as [`EVENTS`].
const TRIGGERS_OF_A_PART: i64 = 4;
/// PostgreSQL's first number for what is not its own.
const FIRST_OWN_OID: u32 = 16_384;

/// A query that may ask `part`: the table $1, and all tables that it has its rows from.
macro_rules! with_parts {
    ($query:literal) => {
        concat!(
            "WITH RECURSIVE inherits (id) AS (
                SELECT CAST(to_regclass($1) AS OID)
                UNION
                SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN inherits ON i.inhparent = inherits.id
            ), part AS (
                SELECT c.oid AS id
                FROM inherits
                JOIN pg_catalog.pg_class c ON c.oid = inherits.id
                WHERE c.relkind IN ('r', 'p')
            )
            ",
            $query
        )
    };
}

/// What makes them.
pub(super) async fn statements(c: &mut PgConnection, watched: &Watched) -> Result<Vec<String>> {
    const PARTS: &str = with_parts!("SELECT CAST(CAST(id AS REGCLASS) AS TEXT) FROM part ORDER BY id");
    let ours = our_schema(c).await?;
    let parts: Vec<String> = sqlx::query_scalar(PARTS).bind(watched.table.sql()).fetch_all(&mut *c).await?;
    let (name, body) = (name(&watched.entity), body(watched));
    let mut statements = vec![
        format!(
            "CREATE FUNCTION {ours}.{name}() RETURNS trigger
             LANGUAGE plpgsql SECURITY DEFINER SET search_path = {ours}, pg_temp AS $body${body}$body$"
        ),
        format!("REVOKE ALL ON FUNCTION {ours}.{name}() FROM PUBLIC"),
    ];
    for part in parts {
        statements.extend(EVENTS.map(|(word, event, rows)| {
            format!(
                "CREATE TRIGGER {name}_{word} AFTER {event} ON {part} {rows} \
                 FOR EACH STATEMENT EXECUTE FUNCTION {ours}.{name}()"
            )
        }));
    }
    Ok(statements)
}

/// What is there.
pub(super) async fn standing(c: &mut PgConnection, watched: &Watched) -> Result<Standing> {
    const THERE: &str = with_parts!(
        "SELECT p.prosrc, NOT EXISTS (
            SELECT
            FROM part
            WHERE $3 <> (
                SELECT COUNT(*)
                FROM pg_catalog.pg_trigger t
                WHERE t.tgrelid = part.id
                  AND t.tgfoid = p.oid
                  AND t.tgenabled IN ('O', 'A')
            )
        )
        FROM pg_catalog.pg_proc p
        WHERE p.oid = CAST(to_regprocedure($2) AS OID)"
    );
    let function = format!("{}.{}()", our_schema(c).await?, name(&watched.entity));
    let query = sqlx::query_as(THERE).bind(watched.table.sql()).bind(function);
    let found: Option<(String, bool)> = query.bind(TRIGGERS_OF_A_PART).fetch_optional(&mut *c).await?;
    let all = found.as_ref().is_some_and(|(text, on_all)| *on_all && *text == body(watched));
    Ok(Standing::of(found.is_some(), all))
}

/// Where our tables are, as SQL has it.
async fn our_schema(c: &mut PgConnection) -> Result<String> {
    const OURS: &str = "
        SELECT CAST(quote_ident(n.nspname) AS TEXT)
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = CAST('cifra_invalidations' AS REGCLASS)
    ";
    Ok(sqlx::query_scalar(OURS).fetch_one(c).await?)
}

/// What the function does.
fn body(watched: &Watched) -> String {
    let entity = &watched.entity;
    let changed = told(watched, "changed", "cifra_many OR ");
    let columns: BTreeSet<String> = [Some(&watched.key), watched.tenant.as_ref()]
        .into_iter()
        .flatten()
        .map(|of| literal(&of.name))
        .collect();
    let (count, columns) = (columns.len(), Vec::from_iter(columns).join(", "));
    format!(
        "
        DECLARE
            cifra_many BOOLEAN;
        BEGIN
            IF to_regclass('cifra_invalidations') IS NULL THEN
                RETURN NULL;
            END IF;
            IF TG_OP = 'TRUNCATE' OR {count} > (
                SELECT COUNT(*) FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = TG_RELID AND NOT a.attisdropped AND a.atttypid < {FIRST_OWN_OID}
                  AND a.attname IN ({columns})
            ) THEN
                INSERT INTO cifra_invalidations (kind, entity, automatic) VALUES ('everywhere', '{entity}', TRUE);
                RETURN NULL;
            END IF;
            cifra_many := (SELECT COUNT(*) > 100 FROM (SELECT FROM cifra_changed LIMIT 101) AS beginning);
            {INTO}
            SELECT DISTINCT {changed} FROM cifra_changed AS changed;
            IF TG_OP = 'UPDATE' THEN
                {INTO}
                SELECT {changed} FROM cifra_before AS changed
                EXCEPT
                SELECT {changed} FROM cifra_changed AS changed;
            END IF;
            RETURN NULL;
        END
        "
    )
}

/// A text in SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
