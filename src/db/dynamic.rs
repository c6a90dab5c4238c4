//! Rows of tables that are known only at run time: which columns, equal to what, in the order of a key.
//!
//! A statement is made of names that the database itself has told ([`super::catalog`]), quoted, and of bound values;
//! nothing that a client wrote is in its text. What values mean is not known here. Called by `entities`.

use std::fmt::Write;

use futures_util::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _, TypeInfo, ValueRef};

use super::catalog::{Kind, Table};
use super::conn::Conn;
use crate::base::Result;

/// A value, as the database keeps it. PostgreSQL writes all of its own as text, but for bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// A whole number of SQLite's.
    Int(i64),
    /// A fraction of SQLite's.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Which rows are wanted. Columns are numbers in [`Table::columns`].
#[derive(Debug, Clone)]
pub struct Wanted {
    /// These columns.
    pub columns: Vec<usize>,
    /// Where each of these columns has one of its values.
    pub equal: Vec<(usize, Vec<Cell>)>,
    /// In the order of this column; rows that have nothing in it do not count.
    pub key: usize,
    /// After this value of it.
    pub after: Option<Cell>,
    /// At most so many.
    pub limit: u32,
    /// No more than the first that have so many bytes together, but one at least.
    pub bytes_max: usize,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// These rows, each with the columns that were wanted.
    Rows {
        /// In the order of the key.
        rows: Vec<Vec<Cell>>,
        /// There were more bytes than were wanted: the limit was not reached.
        cut: bool,
    },
    /// The table is not as it was described; in the database's own words, for the log.
    Changed(String),
    /// A value is none of its column's, such as a word that an enumeration does not have.
    NoSuchValue,
}

/// The rows of `table` that are wanted.
pub async fn select(c: &mut Conn, table: &Table, wanted: &Wanted) -> Result<Found> {
    let Statement { text, values } = statement(table, wanted);
    let mut page = Page { rows: Vec::new(), bytes: 0, cut: false, bytes_max: wanted.bytes_max };
    let done: Result<(), sqlx::Error> = async {
        match c {
            Conn::Sqlite(c) => {
                let query = values.into_iter().fold(sqlx::query(sqlx::AssertSqlSafe(text)), bind_sqlite);
                let mut rows = query.fetch(&mut **c);
                while let Some(row) = rows.try_next().await? {
                    page.add(|| (0..wanted.columns.len()).map(|at| sqlite_cell(&row, at)).collect())?;
                }
            }
            Conn::Postgres(c) => {
                let texts = values.into_iter().map(as_text);
                let query = texts.fold(sqlx::query(sqlx::AssertSqlSafe(text)), sqlx::query::Query::bind);
                // A view's functions run with our rights, and so does what a table's owner made for its types.
                let mut reading = c.begin_with("BEGIN READ ONLY").await?;
                let read = async {
                    let mut rows = query.fetch(&mut *reading);
                    while let Some(row) = rows.try_next().await? {
                        let kind = |at: usize| table.columns[wanted.columns[at]].kind;
                        page.add(|| {
                            (0..wanted.columns.len()).map(|at| postgres_cell(&row, at, kind(at))).collect()
                        })?;
                    }
                    Ok(())
                };
                let read = read.await;
                let ended = reading.rollback().await;
                read.and(ended)?;
            }
        }
        Ok(())
    }
    .await;
    match done {
        Ok(()) => Ok(Found::Rows { rows: page.rows, cut: page.cut }),
        Err(error) => refusal(error),
    }
}

/// Rows up to a bound. Those beyond it are read, so that the connection is free again, and forgotten.
struct Page {
    rows: Vec<Vec<Cell>>,
    bytes: usize,
    bytes_max: usize,
    cut: bool,
}

impl Page {
    fn add(&mut self, read: impl FnOnce() -> Result<Vec<Cell>, sqlx::Error>) -> Result<(), sqlx::Error> {
        if self.cut {
            return Ok(());
        }
        let row = read()?;
        self.bytes = self.bytes.saturating_add(row.iter().map(Cell::bytes).sum());
        if self.bytes > self.bytes_max && !self.rows.is_empty() {
            self.cut = true;
        } else {
            self.rows.push(row);
        }
        Ok(())
    }
}

impl Cell {
    fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) | Self::Real(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A text and what is bound to it.
struct Statement {
    text: String,
    values: Vec<Cell>,
}

fn statement(table: &Table, wanted: &Wanted) -> Statement {
    let columns: Vec<String> =
        wanted.columns.iter().map(|at| table.columns[*at].read(table.engine, "t")).collect();
    let key = &table.columns[wanted.key];
    let (mut values, order) = (Vec::new(), key.of("t"));
    let mut bind = |column: usize, value: &Cell| {
        values.push(value.clone());
        table.columns[column].value(&format!("${}", values.len()))
    };
    let mut text =
        format!("SELECT {}\nFROM {} AS t\nWHERE {order} IS NOT NULL", columns.join(", "), table.sql());
    // Writing to a string does not fail.
    for (column, any) in &wanted.equal {
        let name = table.columns[*column].of("t");
        let any: Vec<String> = any.iter().map(|value| bind(*column, value)).collect();
        let _ = match any.as_slice() {
            [] => write!(text, "\nAND 1 = 0"),
            [one] => write!(text, "\nAND {name} = {one}"),
            many => write!(text, "\nAND {name} IN ({})", many.join(", ")),
        };
    }
    if let Some(after) = &wanted.after {
        let _ = write!(text, "\nAND {order} > {}", bind(wanted.key, after));
    }
    let _ = write!(text, "\nORDER BY {order}\nLIMIT {}", wanted.limit);
    Statement { text, values }
}

type SqliteQuery<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind_sqlite(query: SqliteQuery<'_>, value: Cell) -> SqliteQuery<'_> {
    match value {
        Cell::Null => query.bind(None::<i64>),
        Cell::Int(number) => query.bind(number),
        Cell::Real(number) => query.bind(number),
        Cell::Text(text) => query.bind(text),
        Cell::Bytes(bytes) => query.bind(bytes),
    }
}

/// As `Column::value` expects it.
fn as_text(value: Cell) -> Option<String> {
    match value {
        Cell::Null => None,
        Cell::Int(number) => Some(number.to_string()),
        Cell::Real(number) => Some(number.to_string()),
        Cell::Text(text) => Some(text),
        Cell::Bytes(bytes) => Some(hex::encode(bytes)),
    }
}

/// A value is what it was stored as, whatever its column was declared as.
fn sqlite_cell(row: &SqliteRow, at: usize) -> Result<Cell, sqlx::Error> {
    let value = row.try_get_raw(at)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let stored = value.type_info().name().to_owned();
    drop(value);
    Ok(match stored.as_str() {
        "INTEGER" => Cell::Int(row.try_get_unchecked(at)?),
        "REAL" => Cell::Real(row.try_get_unchecked(at)?),
        "TEXT" => {
            let bytes: Vec<u8> = row.try_get_unchecked(at)?;
            // SQLite does not look whether a text is UTF-8.
            String::from_utf8(bytes).map_or_else(|error| Cell::Bytes(error.into_bytes()), Cell::Text)
        }
        _ => Cell::Bytes(row.try_get_unchecked(at)?),
    })
}

fn postgres_cell(row: &PgRow, at: usize, kind: Kind) -> Result<Cell, sqlx::Error> {
    let Some(text) = row.try_get::<Option<String>, _>(at)? else { return Ok(Cell::Null) };
    if kind == Kind::Bytes {
        let bytes = hex::decode(&text).map_err(|error| sqlx::Error::Decode(error.into()))?;
        return Ok(Cell::Bytes(bytes));
    }
    Ok(Cell::Text(text))
}

/// What the database says of a statement whose names or values it does not have; other errors are errors.
fn refusal(error: sqlx::Error) -> Result<Found> {
    if let sqlx::Error::Database(told) = &error {
        let code = told.code().unwrap_or_default().into_owned();
        let message = told.message();
        // PostgreSQL's manual, appendix A: 22 is about data, 42 about names, types and rights.
        if code.len() == 5 && code.starts_with("22") {
            return Ok(Found::NoSuchValue);
        }
        let changed = (code.len() == 5 && code.starts_with("42"))
            || (code == "1" && (message.contains("no such column") || message.contains("no such table")));
        if changed {
            return Ok(Found::Changed(message.to_owned()));
        }
    }
    Err(error.into())
}
