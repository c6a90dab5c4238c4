//! Files: looking at them, reading them, deleting them. Lists of them are in `list`, changes in `change`.
//!
//! [`FileService`] is called by `http` and by other services (`upload`). A file's bytes are removed only by a
//! row that says so (`blob_deletions`): the row is committed with the file's end, the bytes follow.

mod access;
mod change;
mod list;
mod quota;
mod read;
mod record;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;

use self::record::Entities;
use crate::base::digest::{Algorithm, Checksum, Sha256State};
use crate::base::principal::Scope;
use crate::base::{
    ByteRange, ByteStream, Clock, Code, Error, FileId, Principal, Result, Timestamp, UploadId, stream,
};
use crate::blob::{BlobKey, Leftovers, Stores};
use crate::cache::Cache;
use crate::db::audit::{self, Action, Entry};
use crate::db::{Db, Urgency, blob_deletions, files, jobs, thumbnails, uploads};
use crate::telemetry::{Tasks, failpoint, metrics};

pub use self::access::FileAccess;
pub use self::change::{Expected, FileChange};
pub use self::list::Listed;
pub use self::quota::{Incoming, Quota};
pub use self::record::FileRecord;
pub use crate::db::file_access::Reads;
pub use crate::db::files::{File, FileFilter, Order, TypeFilter};
pub use crate::db::usage::Usage;

/// At most this many blobs are removed in one go.
const PURGE_AT_ONCE: u32 = 500;
/// Who reads a file that another node deletes has this long to come to its end.
const PURGE_DELAY_SHARED: Duration = Duration::from_hours(1);
/// Whoever removes a blob has it for themselves this long: more than any store takes, and any process is stopped.
const REMOVAL_MAX: Duration = Duration::from_mins(10);

/// See the module.
pub struct FileService {
    db: Db,
    stores: Stores,
    quota: Quota,
    purge_delay: Option<Duration>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    cache: Cache,
    entities: Entities,
    deleted: OnceLock<Listener>,
    access: FileAccess,
}

/// Who wants to know that a file was deleted here.
type Listener = Box<dyn Fn(FileId) + Send + Sync>;

impl fmt::Debug for FileService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileService").field("stores", &self.stores).finish_non_exhaustive()
    }
}

impl FileService {
    /// A service over all `stores` that rows may name.
    pub fn new(
        db: Db,
        stores: Stores,
        quota: Quota,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        cache: Cache,
    ) -> Self {
        let (access, entities) = (FileAccess::new(db.clone(), Arc::clone(&clock)), Entities::of(&cache));
        let deleted = OnceLock::new();
        Self { db, stores, quota, purge_delay: None, clock, tasks, cache, entities, deleted, access }
    }

    /// Keeps the bytes of deleted files for `delay`. `None`: as long as suits the store. A local one lets whoever has
    /// opened a file read it to its end; of another, a download under way on any node would break off.
    #[must_use]
    pub fn purging_after(mut self, delay: Option<Duration>) -> Self {
        self.purge_delay = delay;
        self
    }

    /// Tells `listener` of every file that this node deletes, before whoever deletes it is answered. Only the first call
    /// counts.
    pub fn when_deleted(&self, listener: impl Fn(FileId) + Send + Sync + 'static) {
        drop(self.deleted.set(Box::new(listener)));
    }

    /// How much tenants may keep.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// What the tenant keeps and has announced.
    pub async fn usage(&self, who: &Principal) -> Result<Usage> {
        who.require(Scope::Read)?;
        self.quota.usage(who.tenant()).await
    }

    /// The file, as its [`FileService::record`] has it.
    ///
    /// # Errors
    /// `FileNotFound`.
    pub async fn get(&self, who: &Principal, id: FileId) -> Result<File> {
        Ok(self.record(who, id).await?.value.file.clone())
    }

    /// The file that an upload became; `None` once it is deleted.
    pub async fn of_upload(&self, who: &Principal, id: UploadId) -> Result<Option<File>> {
        self.find(who, id.file()).await
    }

    /// The file's bytes, or `range` of them, which must lie within it. Streams; reads ahead at most a few
    /// hundred KiB. If the store fails in the middle, or has fewer bytes than the record says, the stream ends
    /// with an error, never cleanly. Counts as a read of the file if it begins at its first byte ([`mod@access`]).
    ///
    /// # Errors
    /// `FileNotFound` if it was deleted meanwhile; `Unavailable` within 5 s if the store is away;
    /// `Internal` if the bytes are not there although the record is.
    pub async fn read(&self, who: &Principal, file: &File, range: Option<ByteRange>) -> Result<ByteStream> {
        who.require(Scope::Read)?;
        let bytes = self.open(who, file, range).await?;
        self.count_read(who, file.id, range);
        Ok(bytes)
    }

    async fn open(&self, who: &Principal, file: &File, range: Option<ByteRange>) -> Result<ByteStream> {
        if file.size == 0 {
            return Ok(stream::empty());
        }
        let blob = read::in_time(self.stores.named(&file.store)?.get(&file.key, range)).await?;
        let Some(blob) = blob else {
            // Deleted since its record was read: then it is no damage.
            let still = self.find(who, file.id).await?;
            return Err(still.map_or_else(
                || not_found(file.id),
                |file| damaged(&file, "its bytes are not in the store"),
            ));
        };
        if blob.meta.size != file.size {
            return Err(damaged(file, "its bytes in the store are not as many as they should be"));
        }
        Ok(read::exactly(blob.bytes, range.map_or(file.size, |range| range.len()), file.id))
    }

    /// Checks a digest that somebody declares for the file. Reads the file if that digest was never computed.
    ///
    /// # Errors
    /// `ChecksumMismatch` `{ algorithm, expected, actual, chunks_replaceable: false }`.
    pub async fn verify(&self, who: &Principal, file: &File, declared: Checksum) -> Result<()> {
        let actual = match (declared.algorithm(), file.sha256) {
            (Algorithm::Sha256, Some(sha256)) => Checksum::Sha256(sha256),
            (Algorithm::Sha256, None) => Checksum::Sha256(self.sha256_of(who, file).await?),
            _ => Checksum::Crc64Nvme(file.crc64),
        };
        declared.expect(&actual).map_err(|error| error.with("chunks_replaceable", false))
    }

    async fn sha256_of(&self, who: &Principal, file: &File) -> Result<[u8; 32]> {
        let (mut sha256, mut bytes) = (Sha256State::default(), self.open(who, file, None).await?);
        while let Some(frame) = bytes.next().await {
            sha256.update(&frame.map_err(|error| Error::internal("the file cannot be read", error))?);
            tokio::task::yield_now().await;
        }
        Ok(sha256.finish())
    }

    /// Deletes the file and its thumbnails: its record at once and durably, the bytes right after, or once the delay is
    /// over.
    ///
    /// # Errors
    /// `FileNotFound`; `Unavailable` when the database does not answer: it may still happen, ask again.
    pub async fn delete(self: &Arc<Self>, who: &Principal, id: FileId) -> Result<()> {
        who.require(Scope::Write)?;
        let (tenant, now) = (who.tenant().clone(), self.clock.now());
        let entry = Entry::new(who, Action::FileDeleted, &id, now);
        failpoint::hit("delete.before_commit");
        let service = Arc::clone(self);
        let deleted = self.db.write_durable(Urgency::Normal, move |c| {
            let (service, tenant, entry) = (Arc::clone(&service), tenant.clone(), entry.clone());
            Box::pin(async move {
                let Some((store, key)) = files::delete(c, &tenant, id).await? else { return Ok(None) };
                uploads::delete(c, &tenant, id.upload()).await?;
                jobs::remove(c, jobs::THUMBNAILS, &tenant, &id.to_string()).await?;
                let purge_after = now.plus(service.purge_delay_of(&store));
                blob_deletions::insert(c, &store, &key, purge_after, now).await?;
                let mut blobs = thumbnails::delete_with_file(c, &tenant, id, purge_after, now).await?;
                blobs.push((store, key));
                audit::insert(c, &entry).await?;
                Ok(Some((blobs, purge_after)))
            })
        });
        let (blobs, purge_after) = deleted.await?.ok_or_else(|| not_found(id))?;
        failpoint::hit("delete.after_commit");
        self.note_change(who.tenant(), [id]).await;
        if let Some(listener) = self.deleted.get() {
            listener(id);
        }
        tracing::info!(file.id = %id, "deleted file {id}");
        if purge_after > now {
            return Ok(()); // the sweeper's
        }
        let service = Arc::clone(self);
        // On its own, so that a client that leaves does not stop it half-way; the sweeper is the net.
        self.tasks.spawn("remove blob", async move {
            for (store, key) in blobs {
                if let Err(error) = service.remove(&store, &key, purge_after).await {
                    tracing::warn!(%key, %error, "blob {key} was not removed yet");
                }
            }
        });
        Ok(())
    }

    /// How long bytes in `store` stay when nothing refers to them any more.
    pub(crate) fn purge_delay_of(&self, store: &str) -> Duration {
        let local = self.stores.named(store).is_ok_and(|store| store.leftovers() != Leftovers::Announced);
        self.purge_delay.unwrap_or(if local { Duration::ZERO } else { PURGE_DELAY_SHARED })
    }

    /// Removes the bytes of files that were deleted, or were announced and never published, where that did not happen at
    /// once. Bounded; several processes may do it at the same time.
    pub async fn purge(&self, now: Timestamp) -> Result<()> {
        for (store, _) in self.stores.iter() {
            let name = store.to_owned();
            let due = self.db.read(move |c| {
                Box::pin(async move { blob_deletions::due(c, &name, now, PURGE_AT_ONCE).await })
            });
            for (key, purge_after) in due.await? {
                match self.remove(store, &key, purge_after).await {
                    Ok(()) => metrics::swept("purge", 1),
                    Err(error) => {
                        tracing::warn!(%key, %error, "blob {key} could not be removed");
                        // A store that is away would keep the others waiting for each of its blobs.
                        if error.code() == Code::Unavailable {
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes a blob whose row has the time `purge_after`, unless somebody else has done something about it.
    ///
    /// Where several processes use a store the row is claimed first: nobody publishes the bytes after that, and if we
    /// don't come to the end of it somebody does it again.
    pub(crate) async fn remove(&self, store: &str, key: &BlobKey, purge_after: Timestamp) -> Result<()> {
        let blobs = self.stores.named(store)?;
        let shared = blobs.leftovers() == Leftovers::Announced;
        let until = if shared { self.clock.now().plus(REMOVAL_MAX) } else { purge_after };
        if shared && !self.move_deletion(store, key, purge_after, until).await? {
            return Ok(());
        }
        if let Err(error) = blobs.delete(key).await {
            // Again at the next occasion, not when the claim runs out.
            if shared && let Err(error) = self.move_deletion(store, key, until, purge_after).await {
                tracing::warn!(%key, %error, "blob {key} stays claimed for a while");
            }
            return Err(error.into());
        }
        failpoint::hit("delete.after_unlink");
        let (store, key) = (store.to_owned(), key.clone());
        self.db
            .write(Urgency::Background, move |c| {
                let (store, key) = (store.clone(), key.clone());
                Box::pin(async move { blob_deletions::withdraw(c, &store, &key, until).await.map(drop) })
            })
            .await
    }

    async fn move_deletion(
        &self,
        store: &str,
        key: &BlobKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<bool> {
        let (store, key) = (store.to_owned(), key.clone());
        self.db
            .write(Urgency::Background, move |c| {
                let (store, key) = (store.clone(), key.clone());
                Box::pin(async move { blob_deletions::claim(c, &store, &key, from, to).await })
            })
            .await
    }

    /// The file as it is in the database.
    async fn find(&self, who: &Principal, id: FileId) -> Result<Option<File>> {
        let tenant = who.tenant().clone();
        self.db.read(move |c| Box::pin(async move { files::get(c, &tenant, id).await })).await
    }
}

impl File {
    /// The tag of its record: `"<version>.<derived>"`.
    pub fn etag(&self) -> String {
        format!("\"{}.{}\"", self.version, self.derived)
    }

    /// Whether its content type says so. Its bytes may say otherwise.
    pub fn is_picture(&self) -> bool {
        self.content_type.get(..6).is_some_and(|kind| kind.eq_ignore_ascii_case("image/"))
    }

    /// The digest that the file is known by: its SHA-256 where it was computed, else its CRC64NVME.
    pub fn checksum(&self) -> Checksum {
        self.sha256.map_or(Checksum::Crc64Nvme(self.crc64), Checksum::Sha256)
    }
}

fn not_found(id: FileId) -> Error {
    Error::new(Code::FileNotFound, format!("there is no file `{id}`"))
}

fn damaged(file: &File, what: &str) -> Error {
    Error::internal(
        "the file cannot be read",
        format!("file {}: {what} (blob {} of store {})", file.id, file.key, file.store),
    )
}
