//! Opening the stores: each with the identity that the database knows it by, and without what a process that was
//! killed left in it. Called by `App::build`, before anything is served.

use std::sync::Arc;

use uuid::Uuid;

use super::broken;
use crate::base::{Clock, Result};
use crate::blob::local::{LocalOptions, LocalStore};
use crate::blob::object::{ObjectOptions, ObjectStore, PartBudget};
use crate::blob::{BlobStore, PartStore};
use crate::config::{Backend, Config};
use crate::db::{Db, Urgency, files, stores, uploads};
use crate::telemetry::Tasks;

/// A store that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) parts: Arc<dyn PartStore>,
    /// The same, if it is a folder of this machine.
    pub(super) local: Option<Arc<LocalStore>>,
}

pub(super) async fn open_store(config: &Config, tasks: &Tasks) -> Result<Opened> {
    if config.file_upload.storage.backend == Backend::Local {
        let store = Arc::new(open_local(config).await?);
        return Ok(Opened { parts: Arc::clone(&store) as _, local: Some(store) });
    }
    let budget = PartBudget::new(config.file_upload.parts_in_flight.bytes());
    let store = open_object(config, budget, tasks)?;
    Ok(Opened { parts: Arc::new(store), local: None })
}

fn open_object(config: &Config, budget: PartBudget, tasks: &Tasks) -> Result<ObjectStore> {
    let options = |prefix: &str| ObjectOptions { prefix: prefix.to_owned(), budget, tasks: tasks.clone() };
    let opened = match config.file_upload.storage.backend {
        Backend::Local => unreachable!("INVARIANT: a folder is opened by `open_local`"),
        Backend::Memory => ObjectStore::memory(options("")),
    };
    opened.map_err(|error| broken(format!("the store cannot be opened: {error}")).caused_by(error))
}

async fn open_local(config: &Config) -> Result<LocalStore> {
    let root = config.file_upload.storage.local.root.clone();
    let shown = root.display().to_string();
    let options = LocalOptions {
        root,
        durability: config.file_upload.durability,
        min_free: config.file_upload.min_free,
    };
    LocalStore::open(options)
        .await
        .map_err(|error| broken(format!("the store's folder {shown} cannot be used")).caused_by(error))
}

/// The folder and the database must know each other: an unmounted volume looks like an empty folder, and
/// another service's folder like one of ours.
pub(super) async fn check_identity(db: &Db, opened: &Opened, name: &str, clock: &dyn Clock) -> Result<()> {
    let store = &opened.parts;
    let owned = name.to_owned();
    let remembered = db.read(move |c| Box::pin(async move { stores::get(c, &owned).await })).await?;
    let remembered = remembered.map(|row| row.store_id);
    let found = store.store_id().await?;
    match (remembered, found) {
        (Some(remembered), Some(found)) if remembered == found => return Ok(()),
        (Some(_), Some(found)) => {
            return Err(broken(format!(
                "the folder of store `{name}` belongs to another database (its store_id is {found}); \
                 set file_upload.storage.local.root to the right folder, or give this store another name"
            )));
        }
        (Some(_), None) if is_referenced(db, name).await? => {
            return Err(broken(format!(
                "the folder of store `{name}` is empty, but the database knows files in it; \
                 is a volume not mounted? set file_upload.storage.local.root to the right folder"
            )));
        }
        (None, Some(found)) if !is_unused(opened).await? => {
            return Err(broken(format!(
                "the folder of store `{name}` has files of another database (its store_id is {found}); \
                 set database.url to that one, or file_upload.storage.local.root to an empty folder"
            )));
        }
        // First use; or the first use broke off, and nothing had been stored yet.
        _ => {}
    }
    let (candidate, owned, now) =
        (found.or(remembered).unwrap_or_else(Uuid::new_v4), name.to_owned(), clock.now());
    let backend = store.name();
    let id = db
        .write_durable(Urgency::Normal, move |c| {
            let name = owned.clone();
            Box::pin(async move { stores::remember(c, &name, candidate, backend, now).await })
        })
        .await?;
    let agreed = store.set_store_id(id).await?;
    if agreed != id {
        return Err(broken(format!(
            "the store `{name}` was taken by another database at this moment (its store_id is {agreed})"
        )));
    }
    Ok(())
}

/// Whether nothing is in the store, nor staged in its folder.
async fn is_unused(opened: &Opened) -> Result<bool> {
    if !opened.parts.is_empty().await? {
        return Ok(false);
    }
    match &opened.local {
        Some(local) => Ok(local.strays().await?.is_empty()),
        None => Ok(true),
    }
}

async fn is_referenced(db: &Db, name: &str) -> Result<bool> {
    let referenced = db.read(|c| Box::pin(async move { stores::referenced(c).await })).await?;
    Ok(referenced.iter().any(|store| store == name))
}

/// A store that rows name must be configured: their files could not be read.
pub(super) async fn check_all_configured(db: &Db, name: &str) -> Result<()> {
    let known = db.read(|c| Box::pin(async move { stores::referenced(c).await })).await?;
    match known.iter().find(|known| known.as_str() != name) {
        None => Ok(()),
        Some(missing) => Err(broken(format!(
            "the database has files in a store named `{missing}`, which is not configured; \
             set file_upload.storage.name back to `{missing}`"
        ))),
    }
}

/// Staged bytes that no upload knows of are left from a process that was killed.
pub(super) async fn remove_strays(db: &Db, store: &LocalStore, name: &str) -> Result<()> {
    for parts in store.strays().await? {
        let (owned, wanted) = (name.to_owned(), parts.clone());
        let known =
            db.read(move |c| Box::pin(async move { uploads::is_staged(c, &owned, &wanted).await })).await?;
        if !known {
            tracing::info!(parts = parts.as_str(), "removing staged bytes of no upload: {}", parts.as_str());
            store.remove_stray(&parts).await?;
        }
    }
    Ok(())
}

/// Files that came in one request when the process ended: those that are committed get to their place, the others
/// never were.
pub(super) async fn settle_unrevealed(db: &Db, store: &LocalStore) -> Result<()> {
    for key in store.unrevealed().await? {
        let known = match key.file() {
            None => None,
            Some((tenant, id)) => {
                db.read(move |c| Box::pin(async move { files::get(c, &tenant, id).await })).await?
            }
        };
        if known.is_some() {
            store.reveal(&[key]).await?;
        } else {
            tracing::info!(%key, "removing the bytes of a request that broke off: {key}");
            store.delete(&key).await?;
        }
    }
    Ok(())
}
