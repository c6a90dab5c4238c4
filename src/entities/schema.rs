//! An entity's configuration held against the table that the database has: what fits, and every fault of what does not.
//! Pure, but for the name under which the cache keeps its values. Also here: a row as a record.

use serde_json::value::RawValue;

use super::Record;
use super::values::{self, Asked};
use crate::base::{Error, Result, TenantId, crc};
use crate::cache::{self, Cache, Policy};
use crate::config::{self, ColumnName};
use crate::db::catalog::{Column, Engine, Kind, Table};
use crate::db::dynamic::Cell;

/// Of the JSON that is made of rows: to be raised when other JSON is made of the same row.
const SHAPE: u32 = 1;
/// A fault names no more tables or columns than this.
const NAMED_MAX: usize = 30;

/// A table that fits. Columns are numbers in its list of them.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) table: Table,
    pub(super) key: usize,
    tenant: Option<usize>,
    /// What clients see, in the table's order.
    pub(super) shown: Vec<usize>,
    /// Its version changes with the table.
    pub(super) entity: cache::Entity,
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        (&self.table, self.key, self.tenant, &self.shown)
            == (&other.table, other.key, other.tenant, &other.shown)
    }
}

/// A table that fits, with its columns as [`Schema`] has them.
#[derive(Debug)]
pub(super) struct Fitting {
    pub(super) table: Table,
    pub(super) key: usize,
    pub(super) tenant: Option<usize>,
    shown: Vec<usize>,
}

/// Holds `entity` against `table`.
///
/// # Errors
/// What does not fit, a sentence each, with the key of the configuration in front.
pub(super) fn resolve(entity: &config::Entity, table: Option<Table>) -> Result<Fitting, Vec<String>> {
    let mut faults = Faults { entity, found: Vec::new() };
    let Some(table) = table else {
        faults.note("table", &format!("there is no table `{}` in the database", entity.table));
        return Err(faults.found);
    };
    if table.is_internal() {
        let detail = format!("`{}` is cifra's or the database's own, and not to be read so", table.name);
        faults.note("table", &detail);
        return Err(faults.found);
    }
    let tenant = entity.tenant_column.as_ref().and_then(|name| faults.column(&table, "tenant_column", name));
    if let Some(at) = tenant {
        faults.expect_key_like(&table, "tenant_column", at, "the name of a tenant");
    }
    let key = faults.key(&table, tenant);
    if let Some(name) = &entity.date_column
        && let Some(at) = faults.column(&table, "date_column", name)
    {
        faults.expect_date(&table, at);
    }
    let hidden: Vec<usize> =
        entity.hidden.iter().filter_map(|name| faults.column(&table, "hidden", name)).collect();
    if key.is_some_and(|key| hidden.contains(&key)) {
        faults.note("hidden", "the key cannot be hidden: paths have it");
    }
    let shown: Vec<usize> = (0..table.columns.len()).filter(|at| !hidden.contains(at)).collect();
    let needed = shown.iter().chain(tenant.as_ref());
    for column in needed.map(|at| &table.columns[*at]).filter(|column| !column.readable) {
        let detail = format!("the database does not let cifra read the column `{}`", column.name);
        faults.note("table", &detail);
    }
    match key {
        Some(key) if faults.found.is_empty() => Ok(Fitting { table, key, tenant, shown }),
        _ => Err(faults.found),
    }
}

/// The entity as the cache knows it: believed as its section says, else as `cache.ttl` does.
fn kept(entity: &config::Entity, fitting: &Fitting, cache: &Cache) -> cache::Entity {
    let Fitting { table, key, tenant, shown } = fitting;
    let columns = shown.iter().map(|at| &table.columns[*at]);
    let shape: Vec<_> = columns.map(|column| (&column.name, column.kind)).collect();
    // Whose a row is and what it is called by are part of it: what was kept under another rule must not be found.
    let place = (table.sql(), &table.columns[*key].name, tenant.map(|at| &table.columns[at].name));
    let hash = crc::of(format!("{SHAPE} {place:?} {shape:?}").as_bytes()).value();
    // Half of it is enough to tell the few shapes of one table apart.
    let version = u32::try_from(hash >> 32).unwrap_or_default();
    let kept = cache.entity(entity.name.clone(), version);
    let ttl = entity.ttl.unwrap_or(kept.policy().ttl);
    kept.believed(Policy { ttl, negative_ttl: entity.negative_ttl })
}

/// What does not fit.
struct Faults<'a> {
    entity: &'a config::Entity,
    found: Vec<String>,
}

impl Faults<'_> {
    fn note(&mut self, key: &str, detail: &str) {
        self.found.push(format!("entities.{}.{key}: {detail}", self.entity.name));
    }

    /// The column that the key `key` of the configuration names.
    fn column(&mut self, table: &Table, key: &str, name: &ColumnName) -> Option<usize> {
        let found = table.columns.iter().position(|column| column.name == name.as_str());
        if found.is_none() {
            let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
            let more = if names.len() > NAMED_MAX { ", …" } else { "" };
            let names = names[..names.len().min(NAMED_MAX)].join(", ");
            let detail = format!("there is no column `{name}` in `{}`: there are {names}{more}", table.name);
            self.note(key, &detail);
        }
        found
    }

    /// The column that a record is known by, within its tenant.
    fn key(&mut self, table: &Table, tenant: Option<usize>) -> Option<usize> {
        let tenant = tenant.map(|at| table.columns[at].name.as_str());
        let (key, at) = match &self.entity.key {
            Some(name) => {
                let at = self.column(table, "key", name)?;
                let alone = |set: &Vec<String>| {
                    let mut others = set.iter().filter(|column| Some(column.as_str()) != tenant);
                    others.next().map(String::as_str) == Some(name.as_str()) && others.next().is_none()
                };
                if !table.is_view && !table.unique.iter().any(alone) {
                    let detail = format!("no unique index says that each `{name}` is there once");
                    self.note("key", &detail);
                }
                ("key", at)
            }
            None => ("table", self.primary_key(table, tenant)?),
        };
        self.expect_key_like(table, key, at, "what records are known by");
        Some(at)
    }

    /// The one column of the primary key; the tenant's may be another.
    fn primary_key(&mut self, table: &Table, tenant: Option<&str>) -> Option<usize> {
        let all = &table.primary_key;
        let own: Vec<&str> = all.iter().map(String::as_str).filter(|name| Some(*name) != tenant).collect();
        // Of a table with one row a tenant, the tenant is the key.
        let own = if own.is_empty() { all.iter().map(String::as_str).collect() } else { own };
        let remedy = "name a unique column with `key`";
        match own.as_slice() {
            [one] => table.columns.iter().position(|column| column.name == *one),
            [] => {
                self.note("table", &format!("`{}` has no primary key: {remedy}", table.name));
                None
            }
            _ => {
                let detail = format!("the primary key of `{}` has several columns: {remedy}", table.name);
                self.note("table", &detail);
                None
            }
        }
    }

    fn expect_key_like(&mut self, table: &Table, key: &str, at: usize, what: &str) {
        let Column { name, kind, .. } = &table.columns[at];
        // SQLite knows no type of what a view works out.
        let untyped = *kind == Kind::Other && table.engine == Engine::Sqlite;
        if !kind.is_of_keys() && !untyped {
            let detail = format!("`{name}` cannot be {what}: it is no text, whole number or UUID");
            self.note(key, &detail);
        }
    }

    fn expect_date(&mut self, table: &Table, at: usize) {
        let Column { name, kind, .. } = &table.columns[at];
        let has_times = match kind {
            Kind::Date | Kind::Timestamp | Kind::TimestampTz => true,
            // SQLite has no type for them.
            Kind::Text | Kind::Int | Kind::BigInt | Kind::Other => table.engine == Engine::Sqlite,
            _ => false,
        };
        if !has_times {
            self.note("date_column", &format!("`{name}` has no times in it"));
        }
    }
}

impl Schema {
    /// Of an entity with the table that fits it.
    pub(super) fn new(entity: &config::Entity, fitting: Fitting, cache: &Cache) -> Self {
        let entity = kept(entity, &fitting, cache);
        let Fitting { table, key, tenant, shown } = fitting;
        Self { table, key, tenant, shown, entity }
    }

    /// The column that a record is known by.
    pub(super) fn key(&self) -> &Column {
        &self.table.columns[self.key]
    }

    /// That rows are the tenant's.
    pub(super) fn of_tenant(&self, tenant: Option<&TenantId>) -> Vec<(usize, Vec<Cell>)> {
        let (Some(at), Some(tenant)) = (self.tenant, tenant) else { return Vec::new() };
        let asked = values::asked(self.table.columns[at].kind, self.table.engine, tenant.as_str());
        // Where tenants are numbers, one whose name is none has no rows.
        vec![(at, asked.map(|Asked { cells, .. }| cells).unwrap_or_default())]
    }

    /// What the row, which begins with its key, is known by.
    pub(super) fn id_of(&self, row: &[Cell]) -> Option<String> {
        values::id(self.key().kind, row.first()?)
    }

    /// The row, which begins with its key, as JSON.
    pub(super) fn record(&self, row: &[Cell]) -> Result<Record> {
        let members = self.shown.iter().zip(&row[1..]).map(|(at, cell)| {
            let Column { name, kind, .. } = &self.table.columns[*at];
            format!("{}:{}", values::string(name), values::json(*kind, cell))
        });
        let members: Vec<String> = members.collect();
        let json = RawValue::from_string(format!("{{{}}}", members.join(",")));
        json.map(Record).map_err(|error| Error::internal("a row is no JSON", error))
    }
}
