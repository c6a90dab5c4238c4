//! Triggers on tables that are not ours, so that `cifra_invalidations` tells of their changes too, whoever makes them.
//!
//! [`put`] them, [`remove`] them; both can be repeated. [`are_outdated`] says whether somebody has to. They only add rows
//! to our table, in the transaction of the change, with our rights: who changes a row needs none on our tables. For the
//! same reason they run nothing that belongs to the table's owner. What they are made of is in `sqlite` and `postgres`;
//! table `cifra_watched` remembers for which entities there should be some. Called by `app` for `cifra cache watch`.

mod postgres;
mod sqlite;

use sqlx::{AssertSqlSafe, Executor};

use super::catalog::{Column, Engine, Table};
use super::conn::{Conn, on};
use super::invalidations::{self, Change};
use crate::base::{Code, EntityName, Error, Result, crc};

/// PostgreSQL cuts off names that are longer than 63 bytes.
const NAME_CHARS_MAX: usize = 40;

const INTO: &str = "INSERT INTO cifra_invalidations (kind, tenant_id, entity, record_id, automatic)";

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

/// What is there for an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Nothing,
    /// Triggers, but on another table or not all of it, telling other columns, switched off, or an older cifra's.
    Other,
    /// What [`put`] would make.
    AsWanted,
}

/// Puts triggers on the table, in place of those of the same entity that are not as they should be, and tells everybody
/// that anything may have changed: perhaps nobody saw what did until now.
///
/// # Errors
/// `Internal`, for the operator, if the database refuses.
pub async fn put(c: &mut Conn, watched: &Watched) -> Result<()> {
    const REMEMBER: &str = "INSERT INTO cifra_watched (entity) VALUES ($1) ON CONFLICT (entity) DO NOTHING";
    // Making them anew would lock the table.
    if standing(c, watched).await? != Standing::AsWanted {
        remove(c, &watched.entity).await?;
        let statements = match c {
            Conn::Sqlite(_) => sqlite::triggers(watched).into_iter().map(|(_, text)| text).collect(),
            Conn::Postgres(c) => postgres::statements(c, watched).await?,
        };
        for statement in statements {
            let done = on!(c, c => c.execute(AssertSqlSafe(statement)).await.map(drop));
            done.map_err(|error| refused(watched, error))?;
        }
    }
    on!(c, c => sqlx::query(REMEMBER).bind(watched.entity.as_str()).execute(&mut *c).await.map(drop))?;
    let everywhere = Change {
        kind: "everywhere".to_owned(),
        entity: Some(watched.entity.to_string()),
        ..Change::default()
    };
    invalidations::add(c, &[everywhere]).await
}

/// Takes the triggers of `entity` away, from whatever table they are on. Without any: nothing.
///
/// # Errors
/// Those of the database.
pub async fn remove(c: &mut Conn, entity: &EntityName) -> Result<()> {
    const FORGET: &str = "DELETE FROM cifra_watched WHERE entity = $1";
    let name = name(entity);
    let statements = match c {
        Conn::Sqlite(_) => sqlite::drops(&name),
        Conn::Postgres(_) => vec![format!("DROP FUNCTION IF EXISTS {name}() CASCADE")],
    };
    for statement in statements {
        on!(c, c => c.execute(AssertSqlSafe(statement)).await.map(drop))?;
    }
    on!(c, c => sqlx::query(FORGET).bind(entity.as_str()).execute(&mut *c).await.map(drop))?;
    Ok(())
}

/// Whether the entity is watched, or should be, but not by what [`put`] would make.
///
/// # Errors
/// Those of the database.
pub async fn are_outdated(c: &mut Conn, watched: &Watched) -> Result<bool> {
    Ok(match standing(c, watched).await? {
        Standing::AsWanted => false,
        Standing::Other => true,
        Standing::Nothing => remembered(c).await?.iter().any(|name| name == watched.entity.as_str()),
    })
}

/// The entities that somebody had watched, and nobody has told not to.
///
/// # Errors
/// Those of the database.
pub async fn remembered(c: &mut Conn) -> Result<Vec<String>> {
    const ALL: &str = "SELECT entity FROM cifra_watched ORDER BY entity";
    Ok(on!(c, c => sqlx::query_scalar(ALL).fetch_all(&mut *c).await)?)
}

async fn standing(c: &mut Conn, watched: &Watched) -> Result<Standing> {
    match c {
        Conn::Sqlite(c) => sqlite::standing(c, watched).await,
        Conn::Postgres(c) => postgres::standing(c, watched).await,
    }
}

impl Standing {
    /// Whether any are there, and whether all that are wanted.
    fn of(any: bool, all: bool) -> Self {
        match (any, all) {
            (false, _) => Self::Nothing,
            (true, false) => Self::Other,
            (true, true) => Self::AsWanted,
        }
    }
}

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
/// column is empty, only lists can tell; nor of one of `many`.
fn told(watched: &Watched, row: &str, many: &str) -> String {
    let Watched { entity, table, key, tenant } = watched;
    let id = table.id_text(key, row);
    let tenant = tenant.as_ref().map_or_else(|| "CAST(NULL AS TEXT)".to_owned(), |of| table.id_text(of, row));
    format!(
        "CASE WHEN {many}{id} IS NULL THEN 'entity' ELSE 'record' END, {tenant}, '{entity}', \
         CASE WHEN {many}{id} IS NULL THEN NULL ELSE {id} END, TRUE"
    )
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
