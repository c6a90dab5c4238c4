//! What tables of the database look like: any table, ours or not, as the database describes it now.
//!
//! [`table`] asks; the answer knows how its columns are read and compared in SQL. What a value means is `base` and the
//! services' business; reading rows is [`super::dynamic`]'s. Called by whoever is told a table's name by the operator.

mod kind;
mod postgres;
mod sqlite;

use std::fmt::Write;

pub use self::kind::Kind;
use super::conn::Conn;
use crate::base::Result;

/// A table, or a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// On which engine it is.
    pub engine: Engine,
    /// The schema that has it; `None` on SQLite.
    pub schema: Option<String>,
    /// Its name, as the database spells it.
    pub name: String,
    /// Nobody can say what is unique in a view.
    pub is_view: bool,
    /// In the order in which they were made.
    pub columns: Vec<Column>,
    /// The columns of the primary key, in its order.
    pub primary_key: Vec<String>,
    /// Sets of columns that are unique together, the primary key's among them.
    pub unique: Vec<Vec<String>>,
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, as the database spells it.
    pub name: String,
    /// What is in it.
    pub kind: Kind,
    /// We may read it.
    pub readable: bool,
    /// Values can be compared with `=`.
    pub comparable: bool,
    /// Its type as PostgreSQL calls it, quoted; `None` where a text is compared as it is.
    cast: Option<String>,
}

/// The table or view `name`, with its columns; `None` if there is none of this name.
pub async fn table(c: &mut Conn, schema: Option<&str>, name: &str) -> Result<Option<Table>> {
    match c {
        Conn::Sqlite(_) if schema.is_some() => Ok(None),
        Conn::Sqlite(c) => sqlite::table(c, name).await,
        Conn::Postgres(c) => postgres::table(c, schema, name).await,
    }
}

impl Table {
    /// Its name in a statement.
    pub fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(&self.name)),
            None => quote(&self.name),
        }
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether it is one of ours, or of the database itself.
    pub fn is_internal(&self) -> bool {
        let begins =
            |with: &str| self.name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
        match &self.schema {
            None => begins("cifra_") || begins("sqlite_"),
            Some(schema) => begins("cifra_") || schema == "information_schema" || schema.starts_with("pg_"),
        }
    }

    /// The text that names a record, made of its key's value in the row that SQL calls `row` (a table's alias, or
    /// `NEW` in a trigger): what is in paths and in keys of the cache.
    pub fn id_text(&self, key: &Column, row: &str) -> String {
        let column = key.of(row);
        match (self.engine, key.kind) {
            (Engine::Sqlite, Kind::Uuid) => {
                let mut text = format!("CASE typeof({column}) WHEN 'blob' THEN lower(");
                for (at, len) in [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)] {
                    let dash = if at == 1 { "" } else { " || '-' || " };
                    // Writing to a string does not fail.
                    let _ = write!(text, "{dash}substr(hex({column}), {at}, {len})");
                }
                text + &format!(") ELSE lower({column}) END")
            }
            _ => format!("CAST({column} AS TEXT)"),
        }
    }
}

impl Column {
    /// The column in the row that SQL calls `row`. Never without: SQLite takes a quoted word that is no column for a
    /// text (`sqlite.org/quirks.html`, 8).
    pub fn of(&self, row: &str) -> String {
        format!("{row}.{}", quote(&self.name))
    }

    /// What reads it from the row `row`.
    pub(super) fn read(&self, engine: Engine, row: &str) -> String {
        let column = self.of(row);
        match (engine, self.kind) {
            (Engine::Sqlite, _) => column,
            (Engine::Postgres, Kind::Bytes) => format!("encode({column}, 'hex')"),
            (Engine::Postgres, Kind::Composite) => format!("CAST(to_json({column}) AS TEXT)"),
            (Engine::Postgres, _) => format!("CAST({column} AS TEXT)"),
        }
    }

    /// A bound text, `$n`, as a value of this column.
    pub(super) fn value(&self, bound: &str) -> String {
        match (&self.cast, self.kind) {
            (Some(_), Kind::Bytes) => format!("decode({bound}, 'hex')"),
            (Some(cast), _) => format!("CAST(CAST({bound} AS TEXT) AS {cast})"),
            (None, _) => bound.to_owned(),
        }
    }
}

/// `name` as an identifier; the same on both engines (SQL-92 5.2).
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
