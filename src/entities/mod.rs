//! Entities: tables of the operator's own, each read under a name, through the cache.
//!
//! [`EntityService`] answers one record or a list of them; which table, which columns and whose rows, the configuration
//! says, and the database is asked at start whether that fits (`schema`). Rows become JSON in `values`. Nothing here
//! writes: whoever owns the tables does, and the cache hears of it by triggers (`cifra cache watch`). The entities that
//! are built in are other services' records; `http` asks those. Called by `http` and `app`.

mod list;
mod schema;
mod table;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use self::schema::Schema;
use self::table::Served;
use self::values::Asked;
use crate::base::principal::Scope;
use crate::base::{Clock, Code, EntityName, Error, Principal, Result, TenantId};
use crate::cache::{Cache, CacheKey, Read};
use crate::config;
use crate::db::Db;
use crate::db::dynamic::{self, Cell, Found, Wanted};
use crate::telemetry::Tasks;

pub use self::list::Filter;
pub use self::table::watchable;

/// Rows of one answer have no more bytes together, unless it is one row.
const BYTES_MAX: usize = 8 << 20;

/// See the module.
pub struct EntityService {
    db: Db,
    cache: Cache,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    served: BTreeMap<EntityName, Arc<Served>>,
}

impl fmt::Debug for EntityService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityService").field("served", &self.served.keys()).finish_non_exhaustive()
    }
}

/// A record, as JSON: an object with the columns in the table's order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(Box<RawValue>);

/// A page of records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordPage {
    /// In the order of their keys, as the database sorts them.
    pub items: Vec<Record>,
    /// Where the next page begins; `None`: this is the last.
    pub next_cursor: Option<String>,
}

impl EntityService {
    /// Looks at the tables of all `entities`.
    ///
    /// # Errors
    /// `Internal`, with everything that does not fit, a line each, for the operator.
    pub async fn open(
        db: &Db,
        cache: &Cache,
        clock: &Arc<dyn Clock>,
        tasks: &Tasks,
        entities: &[config::Entity],
    ) -> Result<Arc<Self>> {
        let (mut served, mut faults) = (BTreeMap::new(), Vec::new());
        for entity in entities {
            match table::look(db, entity).await? {
                Ok(fitting) => {
                    table::look_at_triggers(db, entity, &fitting).await?;
                    let (schema, looked_at) = (Schema::new(entity, fitting, cache), clock.uptime());
                    served.insert(entity.name.clone(), Arc::new(Served::new(entity, schema, looked_at)));
                }
                Err(found) => faults.extend(found),
            }
        }
        if !faults.is_empty() {
            return Err(table::misfit(&faults));
        }
        table::look_for_leftovers(db, entities).await?;
        let (db, cache, clock, tasks) = (db.clone(), cache.clone(), Arc::clone(clock), tasks.clone());
        Ok(Arc::new(Self { db, cache, clock, tasks, served }))
    }

    /// Those whose first pages are to be read at start, each with whether every tenant has rows of its own in it.
    pub fn warm(&self) -> impl Iterator<Item = (&EntityName, bool)> {
        let marked = self.served.iter().filter(|(_, served)| served.config.warm);
        marked.map(|(name, served)| (name, served.config.tenant_column.is_some()))
    }

    /// The record `id` of the entity `name`; of the tenant in which `who` acts, where rows are of tenants.
    ///
    /// # Errors
    /// `EntityNotFound` `{ entities }`, `RecordNotFound`; `InvalidRequest` for an id that no record can have;
    /// `Forbidden`; `Unavailable` if the table is not what it was, and does not fit any more.
    pub async fn get(self: &Arc<Self>, who: &Principal, name: &EntityName, id: &str) -> Result<Read<Record>> {
        let served = self.find(who, name)?;
        let tenant = served.scope(who)?;
        let schema = self.schema(served).await?;
        let mut found = self.record(who, served, &schema, tenant.as_ref(), id).await;
        if let Some(newer) = served.newer_after(&schema, &found) {
            found = self.record(who, served, &newer, tenant.as_ref(), id).await;
        }
        let found = found?;
        if found.value.is_none() {
            return Err(Error::new(Code::RecordNotFound, format!("there is no `{name}` with the id `{id}`")));
        }
        Ok(found)
    }

    /// Whether `who` may know of what is called `name`: everybody may of what is not configured here.
    pub fn may_see(&self, who: &Principal, name: &EntityName) -> bool {
        self.served.get(name).is_none_or(|served| served.scope(who).is_ok())
    }

    /// Whether the rows of `name` are no tenant's.
    pub fn is_shared(&self, name: &EntityName) -> bool {
        self.served.get(name).is_some_and(|served| served.config.tenant_column.is_none())
    }

    /// What the record of `name` is known by that somebody calls `id`.
    ///
    /// # Errors
    /// `InvalidRequest` for an id that no record can have.
    pub async fn id_of(self: &Arc<Self>, name: &EntityName, id: &str) -> Result<String> {
        let Some(served) = self.served.get(name) else {
            let built_in = id.parse::<Uuid>().map_or_else(|_| id.to_owned(), |id| id.to_string());
            return Ok(built_in);
        };
        let schema = self.schema(served).await?;
        Ok(Self::asked(served, &schema, id)?.text)
    }

    fn asked(served: &Served, schema: &Schema, id: &str) -> Result<Asked> {
        let kind = schema.key().kind;
        values::asked(kind, schema.table.engine, id).ok_or_else(|| {
            let (name, expected) = (&served.config.name, kind.describe());
            Error::new(Code::InvalidRequest, format!("`{id}` is no id of `{name}`: expected {expected}"))
        })
    }

    /// The record `id`, by the table as `schema` has it.
    async fn record(
        self: &Arc<Self>,
        who: &Principal,
        served: &Arc<Served>,
        schema: &Arc<Schema>,
        tenant: Option<&TenantId>,
        id: &str,
    ) -> Result<Read<Record>> {
        let asked = Self::asked(served, schema, id)?;
        let key = CacheKey::record(tenant, &schema.entity, &asked.text);
        let (service, served, tenant) = (Arc::clone(self), Arc::clone(served), tenant.cloned());
        let loaded_by = Arc::clone(schema);
        let load = move || async move { service.load(&served, &loaded_by, tenant.as_ref(), asked).await };
        self.cache.read(&schema.entity, &key, who, load).await
    }

    /// One record from the database.
    async fn load(
        self: &Arc<Self>,
        served: &Arc<Served>,
        schema: &Arc<Schema>,
        tenant: Option<&TenantId>,
        id: Asked,
    ) -> Result<Option<Record>> {
        let mut equal = schema.of_tenant(tenant);
        equal.push((schema.key, id.cells));
        // Two would be one too many.
        let wanted = Self::wanted(schema, equal, None, 2);
        let Found::Rows { rows, .. } = self.select(served, schema, wanted).await? else { return Ok(None) };
        let is_asked = |row: &&Vec<Cell>| schema.id_of(row).as_deref() == Some(id.text.as_str());
        let mut rows = rows.iter().filter(is_asked);
        let record = rows.next().map(|row| schema.record(row)).transpose()?;
        if rows.next().is_some() {
            let (name, key) = (&served.config.name, &schema.key().name);
            let several = format!("several rows of `{name}` have the same `{key}`: `{}`", id.text);
            return Err(Error::internal("an entity's key is not unique", several));
        }
        Ok(record)
    }

    fn wanted(schema: &Schema, equal: Vec<(usize, Vec<Cell>)>, after: Option<Cell>, limit: u32) -> Wanted {
        // The key first, for ids and cursors; then what is shown.
        let columns = std::iter::once(schema.key).chain(schema.shown.iter().copied()).collect();
        Wanted { columns, equal, key: schema.key, after, limit, bytes_max: BYTES_MAX }
    }

    /// Rows from the database, which has the table as `schema` says.
    ///
    /// # Errors
    /// `Unavailable` if it has not: then the table has been looked at again.
    async fn select(
        self: &Arc<Self>,
        served: &Arc<Served>,
        schema: &Arc<Schema>,
        wanted: Wanted,
    ) -> Result<Found> {
        let by = Arc::clone(schema);
        let found =
            self.db.read(move |c| Box::pin(async move { dynamic::select(c, &by.table, &wanted).await }));
        match found.await? {
            Found::Changed(told) => {
                let name = &served.config.name;
                tracing::warn!(entity = %name, "the table of `{name}` has changed: {told}");
                self.mistrust(served, schema).await;
                Err(served.unreadable())
            }
            found => Ok(found),
        }
    }

    fn find(&self, who: &Principal, name: &EntityName) -> Result<&Arc<Served>> {
        self.served.get(name).ok_or_else(|| {
            let may_see = |served: &&Arc<Served>| served.scope(who).is_ok();
            let mut names: Vec<&str> = EntityName::BUILT_IN.to_vec();
            names.extend(self.served.values().filter(may_see).map(|served| served.config.name.as_str()));
            names.sort_unstable();
            let detail = format!("there is no entity `{name}`: there are {}", names.join(", "));
            Error::new(Code::EntityNotFound, detail).with("entities", names)
        })
    }
}

impl Served {
    /// Whose rows `who` sees; `None`: they are nobody's.
    ///
    /// # Errors
    /// `Forbidden`.
    fn scope(&self, who: &Principal) -> Result<Option<TenantId>> {
        if self.config.tenant_column.is_some() {
            who.require(Scope::Read)?;
            return Ok(Some(who.tenant().clone()));
        }
        let may = if self.config.shared { who.require(Scope::Read) } else { who.require_operator() };
        may.map(|()| None)
    }
}
