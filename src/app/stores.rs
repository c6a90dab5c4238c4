//! Opening the stores: the default one and the others, each with the identity that the database knows it by, and
//! without what a process that was killed left in it. Called by `App::build`, before anything is served.

use std::sync::Arc;

use super::{broken, identity};
use crate::base::finding::Finding;
use crate::base::{Clock, Result};
use crate::blob::local::{LocalOptions, LocalStore};
use crate::blob::object::{ObjectOptions, ObjectStore, PartBudget};
use crate::blob::{BlobResult, BlobStore, PartStore, Stores};
use crate::config::{Backend, Config, FileUpload, ObjectName, Storage};
use crate::db::{Db, files, stores, uploads};
use crate::ops::doctor;
use crate::telemetry::Tasks;

/// Every store of the configuration, opened but not yet believed.
pub(super) struct OpenedStores {
    /// The default one first.
    all: Vec<Opened>,
}

/// One of them.
pub(super) struct Opened {
    /// As rows call it.
    pub(super) name: String,
    /// What an operator has to look at when it is not the right one: `the folder /data/blobs`.
    pub(super) place: String,
    /// The section of the configuration that says where it is.
    pub(super) section: String,
    pub(super) store: Arc<dyn PartStore>,
    /// The same, if it is a folder of this machine.
    local: Option<Arc<LocalStore>>,
}

impl Opened {
    /// Whether nothing was ever stored in it, not even in part.
    pub(super) async fn is_unused(&self) -> Result<bool> {
        let staged = match &self.local {
            Some(local) => !local.strays().await?.is_empty(),
            None => false,
        };
        Ok(!staged && self.store.is_empty().await?)
    }
}

impl OpenedStores {
    /// Opens them all.
    pub(super) async fn open(config: &FileUpload, tasks: &Tasks) -> Result<Self> {
        let budget = PartBudget::new(config.parts_in_flight.bytes());
        let mut opened = Vec::new();
        for (storage, section) in all(config) {
            opened.push(open(config, storage, section, &budget, tasks, Hold::Own).await?);
        }
        Ok(Self { all: opened })
    }

    /// The store `wanted`, or the default one, opened beside a service that may own it; `None` if it is not configured.
    pub(super) async fn open_beside(
        config: &FileUpload,
        wanted: Option<&str>,
        tasks: &Tasks,
    ) -> Result<Option<Opened>> {
        let is_wanted = |storage: &&Storage| wanted.is_none_or(|wanted| storage.name.as_str() == wanted);
        let Some((storage, section)) = all(config).find(|(storage, _)| is_wanted(storage)) else {
            return Ok(None);
        };
        let budget = PartBudget::new(config.parts_in_flight.bytes());
        open(config, storage, section, &budget, tasks, Hold::Beside).await.map(Some)
    }

    /// Makes sure that each is the store that the database means by its name, and that none is missing.
    pub(super) async fn check(&self, db: &Db, clock: &dyn Clock) -> Result<()> {
        let referenced = db.read(|c| Box::pin(async move { stores::referenced(c).await })).await?;
        let configured = |name: &String| self.all.iter().any(|opened| opened.name == *name);
        if let Some(missing) = referenced.iter().find(|name| !configured(name)) {
            return Err(broken(format!(
                "the database has files in a store named `{missing}`, which is not configured; \
                 say where it is in file_upload.other_stores.{missing}, or, if it was meant to be the default one, \
                 set file_upload.storage.name to `{missing}`"
            )));
        }
        for opened in &self.all {
            identity::check(db, opened, clock).await?;
        }
        Ok(())
    }

    /// Removes what processes that were killed left behind, where the store can tell.
    pub(super) async fn clear(&self, db: &Db) -> Result<()> {
        for Opened { name, local, .. } in &self.all {
            let Some(local) = local else { continue };
            remove_strays(db, local, name).await?;
            settle_unrevealed(db, local).await?;
        }
        Ok(())
    }

    /// For the services.
    pub(super) fn into_stores(self) -> Stores {
        let mut all = self.all.into_iter().map(|opened| (opened.name, opened.store));
        let (name, default) = all.next().expect("INVARIANT: there is always a default store");
        all.fold(Stores::new(&name, default), |stores, (name, store)| stores.with(&name, store))
    }
}

/// Tries the object stores of the configuration, for `cifra doctor`. Folders are looked at by `ops::doctor` itself.
pub async fn examine_stores(config: &Config) -> Vec<Finding> {
    let (config, tasks) = (&config.file_upload, Tasks::default());
    let budget = PartBudget::new(config.parts_in_flight.bytes());
    let mut findings = Vec::new();
    for (storage, section) in all(config) {
        let options = ObjectOptions { budget: budget.clone(), tasks: tasks.clone() };
        match ObjectStore::open(storage, options) {
            Ok(None) => {}
            Ok(Some(store)) => {
                let (name, age) = (storage.name.as_str(), config.session_max_age);
                findings.extend(doctor::examine_store(name, &store, age).await);
            }
            Err(error) => {
                let detail = format!("store `{}` cannot be opened: {error}", storage.name.as_str());
                findings.push(Finding::fail("store.rights", detail, format!("correct {section}")));
            }
        }
    }
    findings
}

/// Whether what one process can own is taken.
#[derive(Clone, Copy)]
enum Hold {
    Own,
    /// Another process may own it.
    Beside,
}

/// Every store with the section that names it, the default one first.
fn all(config: &FileUpload) -> impl Iterator<Item = (&Storage, String)> {
    let others = config.other_stores.iter();
    let others =
        others.map(|storage| (storage, format!("file_upload.other_stores.{}", storage.name.as_str())));
    std::iter::once((&config.storage, "file_upload.storage".to_owned())).chain(others)
}

async fn open(
    config: &FileUpload,
    storage: &Storage,
    section: String,
    budget: &PartBudget,
    tasks: &Tasks,
    hold: Hold,
) -> Result<Opened> {
    let options = ObjectOptions { budget: budget.clone(), tasks: tasks.clone() };
    let place = place(storage);
    let opened = match ObjectStore::open(storage, options) {
        Ok(Some(store)) => Ok(Kind::Object(store)),
        Ok(None) => open_local(config, storage, hold).await,
        Err(error) => Err(error),
    };
    let name = storage.name.as_str().to_owned();
    let opened = opened
        .map_err(|error| broken(format!("{place} of store `{name}` cannot be used")).caused_by(error))?;
    let (store, local): (Arc<dyn PartStore>, _) = match opened {
        Kind::Local(local) => (Arc::clone(&local) as _, Some(local)),
        Kind::Object(store) => (Arc::new(store), None),
    };
    Ok(Opened { name, place, section, store, local })
}

/// What was opened.
enum Kind {
    Local(Arc<LocalStore>),
    Object(ObjectStore),
}

async fn open_local(config: &FileUpload, storage: &Storage, hold: Hold) -> BlobResult<Kind> {
    let FileUpload { durability, min_free, .. } = *config;
    let options = LocalOptions { root: storage.local.root.clone(), durability, min_free };
    let opened = match hold {
        Hold::Own => LocalStore::open(options).await?,
        Hold::Beside => LocalStore::beside(options).await?,
    };
    Ok(Kind::Local(Arc::new(opened)))
}

/// Where a store is, as its operator knows it.
fn place(storage: &Storage) -> String {
    let of = |what: &str, name: &Option<ObjectName>, prefix: &ObjectName| {
        let name = name.as_ref().map_or("", ObjectName::as_str);
        match prefix.as_str() {
            "" => format!("the {what} {name}"),
            prefix => format!("the folder {prefix} of the {what} {name}"),
        }
    };
    let Storage { local, s3, azure, gcs, .. } = storage;
    match storage.backend {
        Backend::Local => format!("the folder {}", local.root.display()),
        Backend::S3 => of("bucket", &s3.bucket, &s3.prefix),
        Backend::Azure => of("container", &azure.container, &azure.prefix),
        Backend::Gcs => of("bucket", &gcs.bucket, &gcs.prefix),
        Backend::Memory => "the memory".to_owned(),
    }
}

/// Staged bytes that no upload knows of are left from a process that was killed.
async fn remove_strays(db: &Db, store: &LocalStore, name: &str) -> Result<()> {
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
async fn settle_unrevealed(db: &Db, store: &LocalStore) -> Result<()> {
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
