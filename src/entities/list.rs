//! Lists of records: which columns may be asked for, and where the next page begins.

use std::sync::Arc;

use serde_json::json;

use super::schema::Schema;
use super::table::Served;
use super::values::{self, Asked};
use super::{EntityService, RecordPage};
use crate::base::page::{self, Limit};
use crate::base::{Code, EntityName, Error, Principal, Result, TenantId};
use crate::cache::{CacheKey, Read};
use crate::db::dynamic::{Cell, Found};

/// Columns and the values that rows have in them, as a client wrote them.
pub type Filter = Vec<(String, String)>;

/// In front of a column whose name means something else in a query.
const FIELD: &str = "field.";
/// These.
const TAKEN: [&str; 2] = ["limit", "cursor"];

/// What is asked for, read.
struct Asking {
    equal: Vec<(usize, Asked)>,
    after: Option<Cell>,
    /// Where that is, as the cursor says it.
    position: Option<String>,
    limit: u32,
}

impl EntityService {
    /// Records of the entity `name` that have these values in these columns, a page of them, in the order of their keys.
    /// A column that is called `limit` or `cursor` is `field.limit`, `field.cursor`. A page has fewer records than its
    /// limit where they are large.
    ///
    /// # Errors
    /// `EntityNotFound` `{ entities }`; `InvalidRequest` `{ errors }` for columns that there are not and for values that
    /// are none of theirs, all at once, and for a cursor of another list; `Forbidden`; `Unavailable` if the table is not
    /// what it was, and does not fit any more.
    pub async fn list(
        self: &Arc<Self>,
        who: &Principal,
        name: &EntityName,
        filter: &Filter,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Read<RecordPage>> {
        let served = self.find(who, name)?;
        let tenant = served.scope(who)?;
        let schema = self.schema(served).await?;
        let page = self.page(who, served, &schema, tenant.as_ref(), (filter, limit, cursor)).await;
        match served.newer_after(&schema, &page) {
            Some(newer) => self.page(who, served, &newer, tenant.as_ref(), (filter, limit, cursor)).await,
            None => page,
        }
    }

    /// The first record of the entity `name`, as a page, from the database itself: for who wants to know what that takes.
    ///
    /// # Errors
    /// `EntityNotFound` `{ entities }`; `Forbidden`; `Unavailable` if the table is not what it was.
    pub async fn first(self: &Arc<Self>, who: &Principal, name: &EntityName) -> Result<RecordPage> {
        let served = self.find(who, name)?;
        let tenant = served.scope(who)?;
        let schema = self.schema(served).await?;
        let asking = Asking { equal: Vec::new(), after: None, position: None, limit: 1 };
        let scope = scope(&schema, tenant.as_ref(), &asking.equal);
        self.load_page(served, &schema, tenant.as_ref(), asking, &scope).await
    }

    async fn page(
        self: &Arc<Self>,
        who: &Principal,
        served: &Arc<Served>,
        schema: &Arc<Schema>,
        tenant: Option<&TenantId>,
        (filter, limit, cursor): (&Filter, Limit, Option<&str>),
    ) -> Result<Read<RecordPage>> {
        let equal = equal(served, schema, filter)?;
        let scope = scope(schema, tenant, &equal);
        let position = cursor.map(|cursor| page::decode_cursor(cursor, &scope)).transpose()?;
        let after = position.as_deref().map(read_position).transpose()?;
        let asking = Asking { equal, after, position, limit: limit.get() };
        let key = asking.key(schema, tenant);
        let (service, served, tenant) = (Arc::clone(self), Arc::clone(served), tenant.cloned());
        let loaded_by = Arc::clone(schema);
        let load = move || async move {
            service.load_page(&served, &loaded_by, tenant.as_ref(), asking, &scope).await.map(Some)
        };
        self.cache.read(&schema.entity, &key, who, load).await
    }

    async fn load_page(
        self: &Arc<Self>,
        served: &Arc<Served>,
        schema: &Arc<Schema>,
        tenant: Option<&TenantId>,
        asking: Asking,
        scope: &str,
    ) -> Result<RecordPage> {
        let mut equal = schema.of_tenant(tenant);
        equal.extend(asking.equal.into_iter().map(|(at, asked)| (at, asked.cells)));
        // One more than is answered, to know whether there is one.
        let wanted = Self::wanted(schema, equal, asking.after, asking.limit + 1);
        let (mut rows, cut) = match self.select(served, schema, wanted).await? {
            Found::Rows { rows, cut } => (rows, cut),
            // A word that its type does not have, or a number beyond it: then no row has it.
            _ => (Vec::new(), false),
        };
        let more = cut || rows.len() > asking.limit as usize;
        rows.truncate(asking.limit as usize);
        let last = rows.last().filter(|_| more).and_then(|row| position(row.first()?));
        let items = rows.iter().map(|row| schema.record(row)).collect::<Result<_>>()?;
        Ok(RecordPage { items, next_cursor: last.map(|last| page::encode_cursor(&last, scope)) })
    }
}

impl Asking {
    /// Columns whose names paging has taken are written as clients write them.
    fn key(&self, schema: &Schema, tenant: Option<&TenantId>) -> CacheKey {
        let limit = self.limit.to_string();
        let column = |at: usize| {
            let name = schema.table.columns[at].name.as_str();
            let taken = TAKEN.contains(&name) || name.starts_with(FIELD);
            if taken { format!("{FIELD}{name}") } else { name.to_owned() }
        };
        let named: Vec<(String, &str)> =
            self.equal.iter().map(|(at, asked)| (column(*at), asked.text.as_str())).collect();
        let mut fields: Vec<(&str, &str)> =
            named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        fields.push(("limit", &limit));
        fields.extend(self.position.as_deref().map(|position| ("cursor", position)));
        CacheKey::list(tenant, &schema.entity, fields)
    }
}

/// The columns that are asked for, in the table's order.
fn equal(served: &Served, schema: &Schema, filter: &Filter) -> Result<Vec<(usize, Asked)>> {
    let (mut equal, mut faults) = (Vec::<(usize, Asked)>::new(), Vec::<(&str, String)>::new());
    for (parameter, value) in filter {
        match one(served, schema, parameter, value) {
            Ok((at, _)) if equal.iter().any(|(other, _)| *other == at) => {
                faults.push((parameter, "it is given more than once".to_owned()));
            }
            Ok(asked) => equal.push(asked),
            Err(fault) => faults.push((parameter, fault)),
        }
    }
    equal.sort_by_key(|(at, _)| *at);
    let detail = match faults.as_slice() {
        [] => return Ok(equal),
        [(parameter, fault)] => format!("parameter `{parameter}`: {fault}"),
        many => format!("{} parameters are wrong", many.len()),
    };
    let errors: Vec<_> = faults
        .iter()
        .map(|(parameter, fault)| json!({ "pointer": format!("?{parameter}"), "detail": fault }))
        .collect();
    Err(Error::new(Code::InvalidRequest, detail).with("errors", errors))
}

/// One column with the value that it is to have; or what is wrong with it.
fn one(served: &Served, schema: &Schema, parameter: &str, value: &str) -> Result<(usize, Asked), String> {
    let shown = || schema.shown.iter().copied();
    let is = |name: &str, at: usize| schema.table.columns[at].name == name;
    // Whole first: a column may be called `field.something`.
    let plain = || shown().find(|at| is(parameter, *at));
    let prefixed = || parameter.strip_prefix(FIELD).and_then(|name| shown().find(|at| is(name, *at)));
    let at = prefixed().or_else(plain).ok_or_else(|| {
        let names: Vec<&str> = shown().map(|at| schema.table.columns[at].name.as_str()).collect();
        format!("`{}` has no such column: there are {}", served.config.name, names.join(", "))
    })?;
    let column = &schema.table.columns[at];
    if !column.comparable {
        return Err("lists cannot be filtered by it".to_owned());
    }
    let asked = values::asked(column.kind, schema.table.engine, value);
    asked.map(|asked| (at, asked)).ok_or_else(|| format!("expected {}", column.kind.describe()))
}

/// What a cursor is bound to.
fn scope(schema: &Schema, tenant: Option<&TenantId>, equal: &[(usize, Asked)]) -> String {
    let column = |at: usize| schema.table.columns[at].name.as_str();
    let filter: Vec<(&str, &str)> =
        equal.iter().map(|(at, asked)| (column(*at), asked.text.as_str())).collect();
    let key = column(schema.key);
    format!("entity {} {tenant:?} {} {key} {filter:?}", schema.entity.name(), schema.table.sql())
}

/// Where the page after the row with this key begins: the key as the database keeps it.
fn position(key: &Cell) -> Option<String> {
    match key {
        Cell::Int(number) => Some(format!("i{number}")),
        Cell::Text(text) => Some(format!("t{text}")),
        Cell::Bytes(bytes) => Some(format!("b{}", hex::encode(bytes))),
        Cell::Real(number) => Some(format!("r{number}")),
        Cell::Null => None,
    }
}

/// Reads what [`position`] wrote. A cursor is not signed: whoever makes one up reads their own list from there.
fn read_position(position: &str) -> Result<Cell> {
    let read = || {
        let (kind, value) = position.split_at_checked(1)?;
        match kind {
            "i" => value.parse().ok().map(Cell::Int),
            "t" if !value.contains('\0') => Some(Cell::Text(value.to_owned())),
            "b" => hex::decode(value).ok().map(Cell::Bytes),
            "r" => value.parse().ok().map(Cell::Real),
            _ => None,
        }
    };
    read().ok_or_else(|| Error::new(Code::InvalidRequest, "`cursor` is not one of this list"))
}
