//! `entities`: tables of the database that are read through the cache, each under a name of its own. Called by
//! `Config::read`. Whether the database has these tables and columns is asked at start, not here.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::reader::Reader;
use super::value::{Refusal, Value};
use crate::base::EntityName;

/// PostgreSQL cuts longer names off (`NAMEDATALEN`).
const NAME_BYTES_MAX: usize = 63;

/// Section `entities.NAME`: a table, or a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// What it is called in paths and keys.
    pub name: EntityName,
    /// Where it is read from.
    pub table: TableName,
    /// The column that a record is known by; `None`: the primary key.
    pub key: Option<ColumnName>,
    /// The column that says whose a row is; `None`: nobody's.
    pub tenant_column: Option<ColumnName>,
    /// Of nobody's rows: every tenant may read them, not operators alone.
    pub shared: bool,
    /// The column that says when a row was made or changed.
    pub date_column: Option<ColumnName>,
    /// Columns that nobody sees and nobody asks for.
    pub hidden: Vec<ColumnName>,
    /// How long a record is believed; `None`: as `cache.ttl` says.
    pub ttl: Option<Duration>,
    /// That there is no such record is believed so long; `None`: not at all.
    pub negative_ttl: Option<Duration>,
    /// Its first pages are read at start.
    pub warm: bool,
}

/// The name of a table, with its schema or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// Of PostgreSQL; `None`: the first on the search path that has the table.
    pub schema: Option<String>,
    /// The table's own.
    pub name: String,
}

/// The name of a column, as the database spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnName(String);

/// Reads the map `entities`.
pub(super) fn read(from: &mut Reader<'_>) -> Vec<Entity> {
    let doc = "NAME: { table: …, … }: tables to be read at /api/entities/NAME; see docs/caching.md";
    let fallback = EntityName::of("Unnamed");
    let read = from.named_sections("entities", doc, &fallback, Entity::read);
    let entities: Vec<Entity> = read.into_iter().flatten().collect();
    let mut names: Vec<&EntityName> = Vec::new();
    for Entity { name, .. } in &entities {
        let path = format!("entities.{name}");
        let same = |other: &&EntityName| other.as_str().eq_ignore_ascii_case(name.as_str());
        // In an environment variable they could not be told apart.
        let other = names.iter().find(|other| same(other));
        if let Some(other) = other {
            from.check_section(&path, false, &format!("{other} and {name}"), "names that differ in letters");
        }
        names.push(name);
    }
    entities
}

impl Entity {
    /// Reads one; `None` if what it cannot do without is missing.
    fn read(from: &mut Reader<'_>, name: EntityName) -> Option<Self> {
        let section = from.path("table").trim_end_matches(".table").to_owned();
        let table: Option<TableName> =
            from.optional("table", "a table or a view; on PostgreSQL also SCHEMA.TABLE");
        let read = Self {
            key: from.optional("key", "the column that a record is known by; null = the primary key"),
            tenant_column: from.optional("tenant_column", "whose a row is: each tenant sees its own"),
            shared: from.take("shared", "false", "true = without a tenant_column, for every tenant"),
            date_column: from.optional("date_column", "when a row was made"),
            hidden: from.take("hidden", "[]", "columns that are neither served nor filtered by"),
            ttl: from.optional("ttl", "how long a record is believed; null = as cache.ttl says"),
            negative_ttl: from.optional("negative_ttl", "and that there is none; null = not at all"),
            warm: from.take("warm", "false", "true = the first pages are read at start"),
            table: table.clone().unwrap_or_else(|| TableName { schema: None, name: String::new() }),
            name,
        };
        let built_in = |known: &&&str| known.eq_ignore_ascii_case(read.name.as_str());
        if let Some(known) = EntityName::BUILT_IN.iter().find(built_in) {
            from.check_section(&section, false, &format!("{known}, which is built in"), "another name");
        }
        let written = table.is_some() || from.is_written(&format!("{section}.table"));
        from.check_section(&section, written, "an entity without a table", "table: the name of one");
        let [shared, tenant_column, hidden] =
            ["shared", "tenant_column", "hidden"].map(|key| format!("{section}.{key}"));
        from.check(
            &[&shared, &tenant_column],
            !read.shared || read.tenant_column.is_none(),
            "one of the two: rows are everybody's, or of the tenant that a column names",
        );
        let is_key = |hidden: &ColumnName| Some(hidden) == read.key.as_ref();
        from.check(&[&hidden], !read.hidden.iter().any(is_key), "columns without the key, which paths have");
        table.map(|_| read)
    }
}

impl ColumnName {
    /// As the database spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A name as databases have them. Quotes, commas and dots in one are more likely a mistake.
fn is_name(text: &str) -> bool {
    let strange = |c: char| c.is_control() || matches!(c, '"' | '\'' | '`' | ',' | '.' | '[' | ']');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.trim() == text && !text.contains(strange)
}

impl Value for ColumnName {
    fn expected() -> String {
        "the name of a column".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        if is_name(text) { Ok(Self(text.to_owned())) } else { Err(Refusal::Malformed) }
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

impl Value for TableName {
    fn expected() -> String {
        "the name of a table, or SCHEMA.TABLE".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        if !is_name(name) || schema.is_some_and(|schema| !is_name(schema)) {
            return Err(Refusal::Malformed);
        }
        Ok(Self { schema: schema.map(str::to_owned), name: name.to_owned() })
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for EntityName {
    fn expected() -> String {
        "the name of an entity: a letter, then letters, digits and _, at most 64".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::Malformed)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}
