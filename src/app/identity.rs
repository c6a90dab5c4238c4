//! Whether a store is the one that the database means: an unmounted volume looks like an empty folder, and another
//! service's bucket like one of ours.
//!
//! The database remembers an id for each store's name, and the same id is written into the store. The database is
//! first, and in both the first writer wins: of several nodes that start on a new store at once all find one id, and
//! of two databases on one bucket the second finds an id that it does not know. So an id in a store that this
//! database never named is always somebody else's. Called by `stores`.

use uuid::Uuid;

use super::broken;
use super::stores::Opened;
use crate::base::{Clock, Code, Error, Result};
use crate::blob::{BlobError, BlobErrorKind};
use crate::db::stores::Store;
use crate::db::{Db, Urgency, stores};

/// Makes sure of the identity; at its first use the store gets one.
///
/// # Errors
/// `Internal` with a sentence for the operator if it is not the store that the database means.
pub(super) async fn check(db: &Db, opened: &Opened, clock: &dyn Clock) -> Result<()> {
    if is_known(db, opened).await? {
        return Ok(());
    }
    let (candidate, name, now) = (Uuid::new_v4(), opened.name.clone(), clock.now());
    let backend = opened.store.name();
    let id = db
        .write_durable(Urgency::Normal, move |c| {
            let name = name.clone();
            Box::pin(async move { stores::remember(c, &name, candidate, backend, now).await })
        })
        .await?;
    let written = opened.store.set_store_id(id).await?;
    if written == id { Ok(()) } else { Err(of_another_database(opened, written)) }
}

/// Whether the store has the id that the database remembers; `false` if neither has one, or only the database, and
/// nothing was ever stored.
///
/// # Errors
/// `Internal` with a sentence for the operator in every other case.
pub(super) async fn is_known(db: &Db, opened: &Opened) -> Result<bool> {
    let remembered = db.read(|c| Box::pin(async move { stores::all(c).await })).await?;
    let mine = remembered.iter().find(|store| store.name == opened.name);
    let found = opened.store.store_id().await;
    match (mine, found.map_err(|error| unseen(opened, error))?) {
        (Some(mine), Some(found)) if mine.store_id == found => Ok(true),
        (_, Some(found)) => match remembered.iter().find(|store| store.store_id == found) {
            Some(other) => Err(of_another_name(opened, other)),
            None => Err(of_another_database(opened, found)),
        },
        (Some(mine), None) if is_referenced(db, &opened.name).await? => Err(lost(opened, mine.store_id)),
        // First use; or the first use broke off, and nothing had been stored yet.
        (_, None) if opened.is_unused().await? => Ok(false),
        (_, None) => Err(foreign(opened)),
    }
}

async fn is_referenced(db: &Db, name: &str) -> Result<bool> {
    let referenced = db.read(|c| Box::pin(async move { stores::referenced(c).await })).await?;
    Ok(referenced.iter().any(|store| store == name))
}

fn unseen(Opened { name, place, section, .. }: &Opened, error: BlobError) -> Error {
    let detail = format!("{place} of store `{name}` cannot be looked at; see whether {section} is right");
    let code = if error.kind() == BlobErrorKind::Unavailable { Code::Unavailable } else { Code::Internal };
    Error::new(code, detail).caused_by(error)
}

fn of_another_name(Opened { name, place, section, .. }: &Opened, other: &Store) -> Error {
    let other = &other.name;
    broken(format!(
        "{place}, configured as store `{name}`, is the one that the database knows as `{other}`; \
         call it `{other}`, or name another place in {section}"
    ))
}

fn of_another_database(Opened { name, place, section, .. }: &Opened, found: Uuid) -> Error {
    broken(format!(
        "{place} of store `{name}` belongs to another database (its store_id is {found}); \
         name a place of this database's own in {section}, or the right database in database.url"
    ))
}

fn lost(Opened { name, place, section, .. }: &Opened, id: Uuid) -> Error {
    broken(format!(
        "{place} of store `{name}` has no store_id, but the database knows files in it; \
         is a volume not mounted? is it another place than before? name the right one in {section}; \
         if it is the right one, write {id} into its store_id again"
    ))
}

fn foreign(Opened { name, place, section, .. }: &Opened) -> Error {
    broken(format!(
        "{place}, which is to be store `{name}`, has things in it that are not cifra's; \
         name an empty place in {section}"
    ))
}
