//! The database without a service, for `cifra cache watch` and `unwatch`: triggers on tables that are not ours.

use super::DATABASE_WAIT_MAX;
use crate::base::{Code, EntityName, Error, Result};
use crate::config::{self, Config};
use crate::db::triggers;
use crate::db::{Commit, Db, DbOptions, Urgency};
use crate::entities;
use crate::telemetry::Tasks;

/// Puts triggers on the table of `entity`, so that everybody's changes are seen within a second. Again: the same. Answers
/// the table.
///
/// # Errors
/// `EntityNotFound` if it is not configured; `Internal` for the operator, if it does not fit or the database refuses.
pub async fn watch(config: &Config, entity: &EntityName) -> Result<String> {
    let entity = configured(config, entity)?;
    with_database(config, async |db| {
        let watched = entities::watchable(db, entity).await?;
        if watched.table.is_view {
            let detail = format!(
                "`{}` has no rows of its own, and its changes cannot be seen: `{}` is read again when its ttl is over",
                entity.table, entity.name
            );
            return Err(Error::new(Code::Internal, detail));
        }
        let table = watched.table.sql();
        db.write_to_the_end(Urgency::Normal, Commit::Durable, move |c| {
            let watched = watched.clone();
            Box::pin(async move { triggers::put(c, &watched).await })
        })
        .await?;
        Ok(table)
    })
    .await
}

/// Takes the triggers of `entity` away, whether it is configured or not. Without any: nothing.
///
/// # Errors
/// Those of the database.
pub async fn unwatch(config: &Config, entity: &EntityName) -> Result<()> {
    with_database(config, async |db| {
        let entity = entity.clone();
        db.write_to_the_end(Urgency::Normal, Commit::Durable, move |c| {
            let entity = entity.clone();
            Box::pin(async move { triggers::remove(c, &entity).await })
        })
        .await
    })
    .await
}

fn configured<'a>(config: &'a Config, name: &EntityName) -> Result<&'a config::Entity> {
    if name.is_built_in() {
        let detail = format!("`{name}` is built in: its changes are seen anyway");
        return Err(Error::new(Code::EntityNotFound, detail));
    }
    let found = config.entities.iter().find(|entity| entity.name == *name);
    found.ok_or_else(|| {
        let names: Vec<&str> = config.entities.iter().map(|entity| entity.name.as_str()).collect();
        let detail = match names.as_slice() {
            [] => format!("there is no entity `{name}`: `entities` in the configuration names none"),
            names => format!("there is no entity `{name}`: the configuration has {}", names.join(", ")),
        };
        Error::new(Code::EntityNotFound, detail)
    })
}

async fn with_database<T>(config: &Config, work: impl AsyncFnOnce(&Db) -> Result<T>) -> Result<T> {
    let tasks = Tasks::default();
    let db = Db::connect(&config.database.url, &DbOptions::of(config), &tasks).await?;
    let done = match db.migrate().await {
        Ok(_) => work(&db).await,
        Err(error) => Err(error),
    };
    db.close().await;
    tasks.finish(DATABASE_WAIT_MAX).await;
    done
}
