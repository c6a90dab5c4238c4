//! Files' records as they are read: through the cache, each with what is known of its picture and its thumbnails.
//!
//! Whoever changes one of these rows calls [`FileService::changed`] after the commit and before the answer. What is about
//! to be changed, and what must not be a moment old, is read from the database itself ([`FileService::find`]).

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{FileService, not_found};
use crate::base::principal::Scope;
use crate::base::{EntityName, FileId, Principal, Result, TenantId};
use crate::cache::{Cache, CacheKey, Entity, Invalidation, Seen};
use crate::db::files::{self, File};
use crate::db::images::{self, Image};
use crate::db::thumbnails::{self, Thumbnail};
use crate::db::{Conn, Db};

/// Of the shapes here and of all that they are made of: raised when one of them changes.
const SHAPE: u32 = 1;

/// A file, with the rows that its record is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The file.
    pub file: File,
    /// What it is if it is a picture, and somebody has looked.
    pub image: Option<Image>,
    /// What became of its thumbnails, of whichever sizes, in no order.
    pub thumbnails: Vec<Thumbnail>,
}

/// What kinds of values are kept of files.
#[derive(Debug)]
pub(super) struct Entities {
    pub(super) file: Entity,
}

impl Entities {
    pub(super) fn of(cache: &Cache) -> Self {
        Self { file: cache.entity(EntityName::of(EntityName::FILE), SHAPE) }
    }
}

impl FileService {
    /// The file's record.
    ///
    /// # Errors
    /// `FileNotFound`.
    pub async fn record(&self, who: &Principal, id: FileId) -> Result<Seen<Arc<FileRecord>>> {
        who.require(Scope::Read)?;
        let (db, tenant) = (self.db.clone(), who.tenant().clone());
        let key = CacheKey::record(Some(&tenant), &self.entities.file, &id.to_string());
        let read = self.cache.read(&self.entities.file, &key, who, move || load(db, tenant, id)).await?;
        read.or_else(|| not_found(id))
    }

    /// The rows of the file, of its picture or of its thumbnails were changed, and this is committed: whoever asks here from
    /// now on sees it. To be called before whoever changed it is answered.
    pub async fn note_change(&self, tenant: &TenantId, ids: impl IntoIterator<Item = FileId>) {
        let record = |id: FileId| {
            let entity = EntityName::of(EntityName::FILE);
            Invalidation::Record { tenant: Some(tenant.clone()), entity, id: id.to_string() }
        };
        let changed: Vec<Invalidation> = ids.into_iter().map(record).collect();
        self.cache.invalidate(&changed).await;
    }
}

async fn load(db: Db, tenant: TenantId, id: FileId) -> Result<Option<FileRecord>> {
    db.read(move |c| {
        Box::pin(async move {
            let Some(file) = files::get(c, &tenant, id).await? else { return Ok(None) };
            Ok(with_pictures(c, &tenant, vec![file]).await?.pop())
        })
    })
    .await
}

/// `files`, all of `tenant`, with what is known of the pictures among them.
pub(super) async fn with_pictures(
    c: &mut Conn,
    tenant: &TenantId,
    files: Vec<File>,
) -> Result<Vec<FileRecord>> {
    let pictures: Vec<FileId> = files.iter().filter(|file| file.is_picture()).map(|file| file.id).collect();
    let mut rows_of: HashMap<FileId, Vec<Thumbnail>> = HashMap::new();
    let mut images: HashMap<FileId, Image> = HashMap::new();
    if !pictures.is_empty() {
        // They come together: who sees a thumbnail first sees what it is of.
        for row in thumbnails::of_files(c, tenant, &pictures).await? {
            rows_of.entry(row.file).or_default().push(row);
        }
        let known = images::of_files(c, tenant, &pictures).await?;
        images.extend(known.into_iter().map(|image| (image.file, image)));
    }
    let record = |file: File| {
        let (image, thumbnails) = (images.remove(&file.id), rows_of.remove(&file.id).unwrap_or_default());
        FileRecord { file, image, thumbnails }
    };
    Ok(files.into_iter().map(record).collect())
}
