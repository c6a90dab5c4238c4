//! What is known of an entity's table, and looking at it again: tables change while the service runs.
//!
//! A column that was added or changed is seen within [`LOOK_EVERY`] of its use; one that is gone at once, by the
//! statement that fails. Requests wait for neither, unless they cannot be answered otherwise.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::EntityService;
use super::schema::{self, Fitting, Schema};
use crate::base::{Code, Error, Result};
use crate::config;
use crate::db::Db;
use crate::db::catalog;
use crate::db::triggers::{self, Watched};

/// How old what is known of a table may be.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// And how old that it does not fit.
const LOOK_EVERY_UNREADABLE: Duration = Duration::from_secs(1);

/// An entity with its table.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) config: config::Entity,
    seen: ArcSwap<Seen>,
    /// Held by whoever looks: others want to know what they find.
    looking: Mutex<()>,
}

/// What the last look has found.
#[derive(Debug)]
struct Seen {
    /// `None`: it does not fit the configuration.
    schema: Option<Arc<Schema>>,
    /// By the uptime.
    at: Duration,
}

/// The entity's table as it is now, or what does not fit, a sentence each.
pub(super) async fn look(db: &Db, entity: &config::Entity) -> Result<Result<Fitting, Vec<String>>> {
    let named = entity.table.clone();
    let table = db.read(move |c| {
        Box::pin(async move { catalog::table(c, named.schema.as_deref(), &named.name).await })
    });
    Ok(schema::resolve(entity, table.await?))
}

/// The table of `entity` as it is now, for who watches it.
///
/// # Errors
/// `Internal`, with everything that does not fit, a line each, for the operator.
pub async fn watchable(db: &Db, entity: &config::Entity) -> Result<Watched> {
    let fitting = look(db, entity).await?.map_err(|found| misfit(&found))?;
    Ok(watched(entity, &fitting))
}

/// What triggers are to tell of the rows of `entity`.
fn watched(entity: &config::Entity, fitting: &Fitting) -> Watched {
    let column = |at: usize| fitting.table.columns[at].clone();
    Watched {
        entity: entity.name.clone(),
        table: fitting.table.clone(),
        key: column(fitting.key),
        tenant: fitting.tenant.map(column),
    }
}

/// Says so if the entity's triggers are not those that its configuration asks for.
pub(super) async fn look_at_triggers(db: &Db, entity: &config::Entity, fitting: &Fitting) -> Result<()> {
    let watched = watched(entity, fitting);
    let look = db.read(move |c| Box::pin(async move { triggers::are_outdated(c, &watched).await }));
    if look.await? {
        let name = &entity.name;
        tracing::warn!(
            entity = %name,
            "the triggers of `{name}` are not as its configuration and its table are now: changes of its rows may not be seen \
             before its ttl is over; say `cifra cache watch {name}` again"
        );
    }
    Ok(())
}

/// Says so if there are triggers of entities that are not configured any more.
pub(super) async fn look_for_leftovers(db: &Db, entities: &[config::Entity]) -> Result<()> {
    for name in db.read(|c| Box::pin(triggers::remembered(c))).await? {
        if !entities.iter().any(|entity| entity.name.as_str() == name) {
            tracing::warn!(
                entity = %name,
                "the table of `{name}`, which the configuration does not have any more, is watched still: \
                 say `cifra cache unwatch {name}`"
            );
        }
    }
    Ok(())
}

/// What does not fit, for the operator.
pub(super) fn misfit(faults: &[String]) -> Error {
    let faults: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
    let detail = format!("the configured entities do not fit the database:{}", faults.concat());
    Error::new(Code::Internal, detail)
}

impl Served {
    pub(super) fn new(config: &config::Entity, schema: Schema, at: Duration) -> Self {
        let seen = ArcSwap::from_pointee(Seen { schema: Some(Arc::new(schema)), at });
        Self { config: config.clone(), seen, looking: Mutex::default() }
    }

    /// After a reading by `schema`: the table as it is by now, if that is why it was in vain.
    pub(super) fn newer_after<T>(&self, schema: &Arc<Schema>, outcome: &Result<T>) -> Option<Arc<Schema>> {
        let in_vain = outcome.as_ref().is_err_and(|error| error.code() == Code::Unavailable);
        let seen = self.seen.load().schema.clone();
        seen.filter(|seen| in_vain && !Arc::ptr_eq(seen, schema))
    }

    /// For a client; the log has said more.
    pub(super) fn unreadable(&self) -> Error {
        let name = &self.config.name;
        let detail = format!(
            "`{name}` cannot be read: its table in the database is not what the service's configuration says; \
             whoever operates the service finds more in its log"
        );
        Error::new(Code::Unavailable, detail)
    }
}

impl EntityService {
    /// The table as it was last seen.
    ///
    /// # Errors
    /// `Unavailable` if it does not fit, also now.
    pub(super) async fn schema(self: &Arc<Self>, served: &Arc<Served>) -> Result<Arc<Schema>> {
        let seen = served.seen.load_full();
        let age = self.clock.uptime().saturating_sub(seen.at);
        if let Some(schema) = &seen.schema {
            if age > LOOK_EVERY && served.looking.try_lock().is_ok() {
                let (service, served, seen) = (Arc::clone(self), Arc::clone(served), Arc::clone(&seen));
                self.tasks.spawn("look at a table", async move { service.look_again(&served, &seen).await });
            }
            return Ok(Arc::clone(schema));
        }
        if age > LOOK_EVERY_UNREADABLE {
            self.look_again(served, &seen).await;
        }
        served.seen.load().schema.clone().ok_or_else(|| served.unreadable())
    }

    async fn looked_at(&self, served: &Served) -> Result<Result<Schema, Vec<String>>> {
        let found = look(&self.db, &served.config).await?;
        Ok(found.map(|fitting| Schema::new(&served.config, fitting, &self.cache)))
    }

    /// The table turned out not to be as `schema` says: finds out what it is now.
    pub(super) async fn mistrust(&self, served: &Served, schema: &Arc<Schema>) {
        let seen = served.seen.load_full();
        if seen.schema.as_ref().is_some_and(|known| Arc::ptr_eq(known, schema)) {
            self.look_again(served, &seen).await;
        }
    }

    /// Looks at the table, unless somebody has done so since `before`. A database that does not answer changes nothing.
    async fn look_again(&self, served: &Served, before: &Arc<Seen>) {
        let _looking = served.looking.lock().await;
        if !Arc::ptr_eq(&served.seen.load(), before) {
            return;
        }
        let (at, name) = (self.clock.uptime(), &served.config.name);
        let schema = match self.looked_at(served).await {
            Err(error) => {
                tracing::warn!(entity = %name, %error, "the table of `{name}` was not looked at: {error}");
                before.schema.clone()
            }
            Ok(Err(faults)) => {
                if before.schema.is_some() {
                    let faults = faults.join("; ");
                    tracing::error!(entity = %name, "the entity `{name}` cannot be read any more: {faults}");
                }
                None
            }
            Ok(Ok(schema)) => match &before.schema {
                // The same one stays: who reads by it need not begin again.
                Some(known) if **known == schema => Some(Arc::clone(known)),
                _ => {
                    tracing::info!(entity = %name, "the table of `{name}` is another than it was");
                    Some(Arc::new(schema))
                }
            },
        };
        served.seen.store(Arc::new(Seen { schema, at }));
    }
}
