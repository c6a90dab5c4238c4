//! Triggers on tables that are not ours, so that `cifra_invalidations` tells of their changes too, whoever makes them.
//!
//! [`put`] them, [`remove`] them; both can be repeated. [`are_outdated`] says whether they are of another configuration. They only add rows to our table, in the transaction of the
//! change, with our rights: who changes a row needs none on our tables. For the same reason they run nothing that
//! belongs to the table's owner: where a column is gone, or of a type that somebody made, whose output may be anybody's
//! function, they tell that anything may have changed. Of statements that change over 100 rows PostgreSQL tells once.
//! Called by `app` for `cifra cache watch`.

use std::collections::BTreeSet;
use std::fmt::Write;

use sqlx::{AssertSqlSafe, Executor};

use super::catalog::{Column, Engine, Table};
use super::conn::{Conn, on};
use super::invalidations::{self, Change};
use crate::base::{Code, EntityName, Error, Result, crc};

/// PostgreSQL cuts off names that are longer than 63 bytes.
const NAME_CHARS_MAX: usize = 40;

/// What is watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What the rows are called.
    pub entity: EntityName,
    /// Where they are.
    pub table: Table,
    /// The column that a record is known by.
    pub key: Column,
    /// The column that says whose it is.
    pub tenant: Option<Column>,
}

/// Puts triggers on the table, in place of those of the same entity, and tells everybody that anything may have changed:
/// nobody saw what did until now.
///
/// # Errors
/// `Internal`, for the operator, if the database refuses.
pub async fn put(c: &mut Conn, watched: &Watched) -> Result<()> {
    remove(c, &watched.entity).await?;
    let statements = match c {
        Conn::Sqlite(_) => on_sqlite(watched),
        Conn::Postgres(c) => {
            // All tables whose rows are seen in it.
            const PARTS: &str = "
                WITH RECURSIVE part (id) AS (
                    SELECT CAST(to_regclass($1) AS OID)
                    UNION
                    SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN part ON i.inhparent = part.id
                )
                SELECT CAST(CAST(part.id AS REGCLASS) AS TEXT)
                FROM part
                JOIN pg_catalog.pg_class c ON c.oid = part.id
                WHERE c.relkind IN ('r', 'p')
                ORDER BY part.id
            ";
            let ours: String = sqlx::query_scalar(OURS).fetch_one(&mut **c).await?;
            let parts: Vec<String> =
                sqlx::query_scalar(PARTS).bind(watched.table.sql()).fetch_all(&mut **c).await?;
            on_postgres(watched, &ours, &parts)
        }
    };
    for statement in statements {
        let done = on!(c, c => c.execute(AssertSqlSafe(statement)).await.map(drop));
        done.map_err(|error| refused(watched, error))?;
    }
    let everywhere = Change {
        kind: "everywhere".to_owned(),
        entity: Some(watched.entity.to_string()),
        ..Change::default()
    };
    invalidations::add(c, &[everywhere]).await
}

/// Whether there are triggers of the entity, but not those that [`put`] would make: they are on another table, tell another
/// column, or are an older cifra's.
///
/// # Errors
/// Those of the database.
pub async fn are_outdated(c: &mut Conn, watched: &Watched) -> Result<bool> {
    let name = name(&watched.entity);
    match c {
        Conn::Sqlite(c) => {
            const THEIRS: &str = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = $1";
            let words = EVENTS.map(|(word, ..)| word).into_iter().chain([REPLACED]);
            let (mut any, mut all) = (false, true);
            for (word, wanted) in words.zip(on_sqlite(watched)) {
                let named = sqlx::query_scalar(THEIRS).bind(format!("{name}_{word}"));
                let found: Option<String> = named.fetch_optional(&mut **c).await?;
                any |= found.is_some();
                all &= found == Some(wanted);
            }
            Ok(any && !all)
        }
        Conn::Postgres(c) => {
            const THEIRS: &str = "
                SELECT p.prosrc, EXISTS (
                    SELECT FROM pg_catalog.pg_trigger t
                    WHERE t.tgfoid = p.oid AND t.tgrelid = CAST(to_regclass($2) AS OID)
                )
                FROM pg_catalog.pg_proc p
                WHERE p.oid = CAST(to_regprocedure($1) AS OID)
            ";
            let ours: String = sqlx::query_scalar(OURS).fetch_one(&mut **c).await?;
            let function = format!("{ours}.{name}()");
            let query = sqlx::query_as(THEIRS).bind(function).bind(watched.table.sql());
            let found: Option<(String, bool)> = query.fetch_optional(&mut **c).await?;
            Ok(found.is_some_and(|(text, on_table)| !on_table || text != body(watched)))
        }
    }
}

/// Takes the triggers of `entity` away, from whatever table they are on. Without any: nothing.
///
/// # Errors
/// Those of the database.
pub async fn remove(c: &mut Conn, entity: &EntityName) -> Result<()> {
    let name = name(entity);
    let statements = match c {
        Conn::Sqlite(_) => {
            let words = EVENTS.map(|(event, ..)| event).into_iter().chain([REPLACED]);
            words.map(|event| format!("DROP TRIGGER IF EXISTS {name}_{event}")).collect()
        }
        Conn::Postgres(_) => vec![format!("DROP FUNCTION IF EXISTS {name}() CASCADE")],
    };
    for statement in statements {
        on!(c, c => c.execute(AssertSqlSafe(statement)).await.map(drop))?;
    }
    Ok(())
}

/// In names of triggers; in SQL; of SQLite: the rows that are told of; of PostgreSQL: what has them.
const EVENTS: [(&str, &str, &[&str], &str); 3] = [
    ("inserted", "INSERT", &["NEW"], "NEW TABLE AS cifra_changed"),
    ("updated", "UPDATE", &["OLD", "NEW"], "OLD TABLE AS cifra_before NEW TABLE AS cifra_changed"),
    ("deleted", "DELETE", &["OLD"], "OLD TABLE AS cifra_changed"),
];

/// In the name of the trigger that SQLite needs for `INSERT OR REPLACE`, which deletes a row and tells no trigger of it.
const REPLACED: &str = "replaced";
/// Where our tables are on PostgreSQL, as SQL has it.
const OURS: &str = "
    SELECT CAST(quote_ident(n.nspname) AS TEXT)
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = CAST('cifra_invalidations' AS REGCLASS)
";
/// PostgreSQL's first number for what is not its own.
const FIRST_OWN_OID: u32 = 16_384;

/// What triggers and the function of an entity are called. Names of entities are words.
fn name(entity: &EntityName) -> String {
    let word = entity.as_str().to_ascii_lowercase();
    if word.len() <= NAME_CHARS_MAX {
        return format!("cifra_watch_{word}");
    }
    let hash = crc::of(word.as_bytes()).value();
    format!("cifra_watch_{}_{hash:016x}", &word[..NAME_CHARS_MAX - 17])
}

/// The columns of an invalidation of the row that SQL calls `row`. Of a row that has no key, such as one whose unique
/// column is empty, only lists can tell.
fn told(watched: &Watched, row: &str, many: &str) -> String {
    let Watched { entity, table, key, tenant } = watched;
    let id = table.id_text(key, row);
    let tenant = tenant.as_ref().map_or_else(|| "CAST(NULL AS TEXT)".to_owned(), |of| table.id_text(of, row));
    format!(
        "CASE WHEN {many}{id} IS NULL THEN 'entity' ELSE 'record' END, {tenant}, '{entity}', \
         CASE WHEN {many}{id} IS NULL THEN NULL ELSE {id} END, TRUE"
    )
}

const INTO: &str = "INSERT INTO cifra_invalidations (kind, tenant_id, entity, record_id, automatic)";

fn on_sqlite(watched: &Watched) -> Vec<String> {
    let (name, table) = (name(&watched.entity), watched.table.sql());
    let statement = |(word, event, rows, _): &(&str, &str, &[&str], &str)| {
        let selects: Vec<String> =
            rows.iter().map(|row| format!("SELECT {}", told(watched, row, ""))).collect();
        format!(
            "CREATE TRIGGER {name}_{word} AFTER {event} ON {table} BEGIN\n    {INTO}\n    {};\nEND",
            selects.join("\n    UNION\n    ")
        )
    };
    let mut statements: Vec<String> = EVENTS.iter().map(statement).collect();
    let was = told(watched, "was", "");
    let (there, new) = (watched.key.of("was"), watched.key.of("NEW"));
    statements.push(format!(
        "CREATE TRIGGER {name}_{REPLACED} BEFORE INSERT ON {table} BEGIN\n    {INTO}\n    \
         SELECT {was} FROM {table} AS was WHERE {there} = {new};\nEND"
    ));
    statements
}

/// `ours`: the schema of our tables. `parts`: the table, and those that it has its rows from.
fn on_postgres(watched: &Watched, ours: &str, parts: &[String]) -> Vec<String> {
    let (name, body) = (name(&watched.entity), body(watched));
    let mut statements = vec![
        format!(
            "CREATE FUNCTION {ours}.{name}() RETURNS trigger
             LANGUAGE plpgsql SECURITY DEFINER SET search_path = {ours}, pg_temp AS $body${body}$body$"
        ),
        format!("REVOKE ALL ON FUNCTION {ours}.{name}() FROM PUBLIC"),
    ];
    for part in parts {
        for (word, event, _, rows) in EVENTS {
            let mut text = format!("CREATE TRIGGER {name}_{word} AFTER {event} ON {part} ");
            // Writing to a string does not fail.
            let _ = write!(text, "REFERENCING {rows} FOR EACH STATEMENT EXECUTE FUNCTION {ours}.{name}()");
            statements.push(text);
        }
        statements.push(format!(
            "CREATE TRIGGER {name}_truncated AFTER TRUNCATE ON {part} \
             FOR EACH STATEMENT EXECUTE FUNCTION {ours}.{name}()"
        ));
    }
    statements
}

/// What PostgreSQL runs after each statement.
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

/// For the operator, who may be able to allow it.
fn refused(watched: &Watched, error: sqlx::Error) -> Error {
    let said = match &error {
        sqlx::Error::Database(said) => said.message().to_owned(),
        _ => return error.into(),
    };
    let table = watched.table.sql();
    let owner = match watched.table.engine {
        Engine::Sqlite => "",
        Engine::Postgres => "; on PostgreSQL that takes the TRIGGER privilege on the table",
    };
    let detail = format!("the database does not take triggers on {table}: {said}{owner}");
    Error::new(Code::Internal, detail).caused_by(error)
}
