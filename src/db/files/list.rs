//! Many files at once: filtered, in an order, from a position on. One statement a list.
//!
//! The statement's text is made of our own words and numbers only; one text for each shape of filter, so that
//! each uses its index. It goes on after a position, never from a number of rows: rows that come and go
//! meanwhile neither shift nor repeat what follows.

use std::fmt::Write;

use super::{File, FileRow, file_columns};
use crate::base::filename_key::after_prefix;
use crate::base::{FileId, Result, TenantId, Timestamp, filename_key};
use crate::db::conn::{Conn, on};
use crate::db::uploads::pair_hash;

/// Which files a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFilter {
    /// Only those of this type.
    pub content_type: Option<TypeFilter>,
    /// Only those whose name begins so, whatever its case; must not contain a NUL.
    pub name_begins: Option<String>,
    /// Only those made later than this.
    pub created_after: Option<Timestamp>,
    /// Only those made earlier than this.
    pub created_before: Option<Timestamp>,
    /// Only those that have all of these pairs; no text may contain a NUL.
    pub metadata: Vec<(String, String)>,
}

/// One type, or all of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeFilter {
    /// `image` for all of `image/*`; lower case.
    Kind(String),
    /// `image/png`: lower case, no parameters.
    Type(String),
}

/// What a list is sorted by. Ties are in the order of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub key: SortKey,
    /// Which way; ids too.
    pub direction: Direction,
}

/// By what a list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// When it became visible.
    CreatedAt,
    /// Its name, as [`filename_key()`] folds it.
    Filename,
    /// Its bytes.
    Size,
}

/// Which way a list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest, oldest, A first.
    Ascending,
    /// Largest, newest, Z first.
    Descending,
}

/// Where a list goes on: after the file of this id, whose sort key is this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Of a list by time or size: microseconds since 1970, or bytes.
    Number(i64, FileId),
    /// Of a list by name: its [`filename_key()`]; must not contain a NUL.
    Name(String, FileId),
}

/// Files of `tenant` that `filter` lets through, in `order`, at most `limit`, after the position `after`.
pub async fn list(
    c: &mut Conn,
    tenant: &TenantId,
    filter: &FileFilter,
    order: Order,
    after: Option<After>,
    limit: u32,
) -> Result<Vec<File>> {
    let Statement { text, values } = statement(tenant, filter, order, after, limit);
    let rows: Vec<FileRow> = on!(c, c => {
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(text));
        for value in values {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
                Value::Id(id) => query.bind(id),
            };
        }
        query.fetch_all(&mut *c).await
    })?;
    rows.into_iter().map(File::try_from).collect()
}

enum Value {
    Number(i64),
    Text(String),
    Id(FileId),
}

/// A text and what is bound to it.
struct Statement {
    text: String,
    values: Vec<Value>,
}

impl Statement {
    /// Binds `value` and answers its `$n`.
    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn number(&mut self, number: i64) -> String {
        self.bind(Value::Number(number))
    }

    fn text(&mut self, text: &str) -> String {
        self.bind(Value::Text(text.to_owned()))
    }

    /// One more condition.
    fn and(&mut self, condition: &str) {
        self.text.push_str("\nAND ");
        self.text.push_str(condition);
    }

    /// That this column of `cifra_file_metadata` is the pair.
    fn pair(&mut self, table: &str, key: &str, value: &str) -> String {
        let (hash, key, value) = (self.number(pair_hash(key, value)), self.text(key), self.text(value));
        format!(
            "{table}.tenant_id = $1 AND {table}.pair_hash = {hash} AND {table}.key = {key} AND {table}.value = {value}"
        )
    }
}

fn statement(
    tenant: &TenantId,
    filter: &FileFilter,
    order: Order,
    after: Option<After>,
    limit: u32,
) -> Statement {
    let mut statement =
        Statement { text: concat!("SELECT ", file_columns!()).to_owned(), values: Vec::new() };
    statement.text(tenant.as_str());
    // Time and id from where the first pair is looked up, if there is one: its index has them in this order.
    let (created_at, id) = match filter.metadata.first() {
        None => {
            statement.text.push_str("\nFROM cifra_files f\nWHERE f.tenant_id = $1");
            ("f.created_at", "f.id")
        }
        Some((key, value)) => {
            // SQLite takes the tables of a CROSS JOIN in the order in which they stand.
            statement.text.push_str("\nFROM cifra_file_metadata p\nCROSS JOIN cifra_files f\nWHERE f.id = p.file_id AND f.tenant_id = $1");
            let pair = statement.pair("p", key, value);
            statement.and(&pair);
            ("p.created_at", "p.file_id")
        }
    };
    narrow(&mut statement, filter, created_at);
    let key = match order.key {
        SortKey::CreatedAt => created_at,
        SortKey::Filename => "f.filename_key",
        SortKey::Size => "f.size",
    };
    let (beyond, way) = match order.direction {
        Direction::Ascending => (">", "ASC"),
        Direction::Descending => ("<", "DESC"),
    };
    if let Some(after) = after {
        let (position, last) = match after {
            After::Number(number, last) => (Value::Number(number), last),
            After::Name(name, last) => (Value::Text(name), last),
        };
        let (position, last) = (statement.bind(position), statement.bind(Value::Id(last)));
        statement.and(&format!("({key}, {id}) {beyond} ({position}, {last})"));
    }
    let limit = statement.number(i64::from(limit));
    // Writing to a string does not fail.
    let _ = write!(statement.text, "\nORDER BY {key} {way}, {id} {way}\nLIMIT {limit}");
    statement
}

/// Adds the filter's conditions; the first pair stands already.
fn narrow(statement: &mut Statement, filter: &FileFilter, created_at: &str) {
    match &filter.content_type {
        None => {}
        Some(TypeFilter::Kind(kind)) => {
            let kind = statement.text(kind);
            statement.and(&format!("f.media_kind = {kind}"));
        }
        Some(TypeFilter::Type(media_type)) => {
            let media_type = statement.text(media_type);
            statement.and(&format!("f.media_type = {media_type}"));
        }
    }
    if let Some(name) = &filter.name_begins {
        let from = filename_key(name);
        let end = after_prefix(&from);
        let from = statement.text(&from);
        statement.and(&format!("f.filename_key >= {from}"));
        if let Some(end) = end {
            let end = statement.text(&end);
            statement.and(&format!("f.filename_key < {end}"));
        }
    }
    for (limit, relation) in [(filter.created_after, ">"), (filter.created_before, "<")] {
        if let Some(limit) = limit {
            let limit = statement.number(limit.as_micros());
            statement.and(&format!("{created_at} {relation} {limit}"));
        }
    }
    if filter.metadata.len() > 1 {
        // The first pair has found the file; that it has all of them is counted in its own few rows.
        let mut pairs: Vec<&(String, String)> = filter.metadata.iter().collect();
        pairs.sort();
        pairs.dedup();
        let any: Vec<_> = pairs.iter().map(|(key, value)| statement.pair("q", key, value)).collect();
        statement.and(&format!(
            "(SELECT COUNT(*) FROM cifra_file_metadata q WHERE q.file_id = p.file_id AND (({}))) = {}",
            any.join(") OR ("),
            pairs.len(),
        ));
    }
}
