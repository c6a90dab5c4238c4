//! Blobs in an object store: S3 and its like, Azure Blob Storage, Google Cloud Storage, or memory.
//!
//! The requests are `object_store`'s; what it has not is here. Each file is one idea: `budget` room for the bytes
//! that wait to be sent, `parts` uploads by parts, `whole` blobs that come in one piece, `read` bytes out and lists,
//! `identity` whose bucket it is, `tag` what the journal keeps of a part, `transport` how long a store is waited for,
//! `trouble` what an error means; `s3`, `azure` and `gcs` open one.
//!
//! A part is taken by the store as a whole or not at all: it is collected in memory first, within the budget, and
//! never on disk.

mod azure;
mod budget;
mod gcs;
mod identity;
mod parts;
mod read;
mod s3;
mod tag;
mod transport;
mod trouble;
mod whole;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta};
use uuid::Uuid;

pub use self::budget::PartBudget;
use self::s3::ours::Bucket;
use super::{
    Blob, BlobError, BlobErrorKind, BlobKey, BlobMeta, BlobResult, BlobStore, Leftovers, Length, PartLimits,
    PartStore, PartTag, PartsId, Span, Unfinished,
};
use crate::base::{ByteRange, ByteStream, ChunkIndex, Timestamp};
use crate::config::{Backend, Storage};
use crate::telemetry::Tasks;

/// Smaller parts would cost more in receipts and requests than in bytes.
const PART_BYTES_MIN: u64 = 64 << 10;

/// What every object store is opened with.
#[derive(Debug, Clone)]
pub struct ObjectOptions {
    /// Room for the bytes that wait to be sent; one for all stores.
    pub budget: PartBudget,
    /// For what must go on when a request ends.
    pub tasks: Tasks,
}

/// Blobs in an object store. Clones are the same store.
#[derive(Clone)]
pub struct ObjectStore {
    inner: Arc<Inner>,
}

struct Inner {
    kind: Kind,
    objects: Arc<dyn Objects>,
    prefix: Option<BlobKey>,
    limits: PartLimits,
    budget: PartBudget,
    tasks: Tasks,
}

/// What kind of store it is, and what we ask of it ourselves.
#[derive(Debug)]
enum Kind {
    S3(Bucket),
    Azure,
    Gcs,
    Memory,
}

/// What becomes of parts that nobody puts together or drops: those of a process that was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgottenParts {
    /// The store drops them so many days after the last of them came.
    DroppedWhenIdle {
        /// Days.
        days: u32,
    },
    /// A rule drops them so many days after the upload began.
    DroppedAfter {
        /// Days.
        days: u32,
    },
    /// They stay, and are paid for: the bucket has no rule of its lifecycle that aborts incomplete multipart uploads.
    Kept,
}

/// What `object_store` has for each kind of store.
trait Objects: object_store::ObjectStore + MultipartStore {}

impl<T: object_store::ObjectStore + MultipartStore> Objects for T {}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, prefix, limits, .. } = &*self.inner;
        f.debug_struct("ObjectStore")
            .field("kind", kind)
            .field("prefix", prefix)
            .field("limits", limits)
            .finish_non_exhaustive()
    }
}

impl ObjectStore {
    /// Opens what the configuration names; `None` if that is a folder. Sends nothing yet.
    ///
    /// # Errors
    /// What is missing or wrong, in words for the operator.
    pub fn open(storage: &Storage, options: ObjectOptions) -> BlobResult<Option<Self>> {
        match storage.backend {
            Backend::Local => Ok(None),
            Backend::S3 => s3::open(&storage.s3, options).map(Some),
            Backend::Azure => azure::open(&storage.azure, options).map(Some),
            Backend::Gcs => gcs::open(&storage.gcs, options).map(Some),
            Backend::Memory => Self::memory(options).map(Some),
        }
    }

    /// A store in the memory of this process, for tests: empty, and gone with its last clone.
    ///
    /// # Errors
    /// None in fact.
    pub fn memory(options: ObjectOptions) -> BlobResult<Self> {
        let limits = PartLimits { min_bytes: PART_BYTES_MIN, max_bytes: u64::MAX, count_max: 10_000 };
        Self::over(Kind::Memory, Arc::new(InMemory::new()), "", limits, options)
    }

    /// What becomes of parts that nobody puts together or drops.
    ///
    /// # Errors
    /// Why the bucket does not say, such as missing rights.
    pub async fn forgotten_parts(&self) -> BlobResult<ForgottenParts> {
        match &self.inner.kind {
            Kind::S3(bucket) => {
                let prefix =
                    self.inner.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
                let days = bucket.days_to_abort(&prefix).await?;
                Ok(days.map_or(ForgottenParts::Kept, |days| ForgottenParts::DroppedAfter { days }))
            }
            // <https://learn.microsoft.com/en-us/rest/api/storageservices/put-block#remarks>
            Kind::Azure => Ok(ForgottenParts::DroppedWhenIdle { days: 7 }),
            Kind::Gcs | Kind::Memory => Ok(ForgottenParts::Kept),
        }
    }

    /// A store over `objects`, whose own limits are `limits`; the budget lowers them.
    fn over(
        kind: Kind,
        objects: Arc<dyn Objects>,
        prefix: &str,
        limits: PartLimits,
        options: ObjectOptions,
    ) -> BlobResult<Self> {
        let ObjectOptions { budget, tasks } = options;
        let prefix = match prefix.trim_matches('/') {
            "" => None,
            prefix => Some(BlobKey::parse(prefix).ok_or_else(|| {
                wrong(format!("the prefix `{prefix}` cannot be the beginning of an object's name"))
            })?),
        };
        let max_bytes = limits.max_bytes.min(budget.part_bytes_max()).max(limits.min_bytes);
        let limits = PartLimits { max_bytes, ..limits };
        Ok(Self { inner: Arc::new(Inner { kind, objects, prefix, limits, budget, tasks }) })
    }

    /// The object of `key`.
    fn path(&self, key: &BlobKey) -> Path {
        self.path_of(key.as_str())
    }

    /// The object of `name`, a key or a name of ours that no key can have.
    fn path_of(&self, name: &str) -> Path {
        match &self.inner.prefix {
            Some(prefix) => Path::from(format!("{prefix}/{name}")),
            None => Path::from(name),
        }
    }

    /// The key of an object; `None` for what is not ours.
    fn key_of(&self, path: &str) -> Option<BlobKey> {
        let name = match &self.inner.prefix {
            Some(prefix) => path.strip_prefix(prefix.as_str())?.strip_prefix('/')?,
            None => path,
        };
        BlobKey::parse(name)
    }

    /// What is known of an object; `None` if there is none.
    async fn look(&self, path: &Path) -> BlobResult<Option<ObjectMeta>> {
        let options = GetOptions::new().with_head(true);
        match self.inner.objects.get_opts(path, options).await {
            Ok(found) => Ok(Some(found.meta)),
            Err(error) if trouble::is_missing(&error) => Ok(None),
            Err(error) => Err(trouble::of(format!("looking for `{path}`"), error)),
        }
    }
}

#[async_trait]
impl BlobStore for ObjectStore {
    fn name(&self) -> &'static str {
        match self.inner.kind {
            Kind::S3(_) => "s3",
            Kind::Azure => "azure",
            Kind::Gcs => "gcs",
            Kind::Memory => "memory",
        }
    }

    async fn put(&self, key: &BlobKey, body: ByteStream, size: Option<u64>) -> BlobResult<BlobMeta> {
        let length = size.map_or(Length::AtMost(u64::MAX), Length::Exactly);
        whole::receive(self, key, body, length).await?;
        // What the store says of it later is what it says now.
        self.head(key).await?.ok_or_else(|| wrong(format!("`{key}` was stored and is not there")))
    }

    async fn stage(&self, key: &BlobKey, body: ByteStream, length: Length) -> BlobResult<u64> {
        whole::receive(self, key, body, length).await
    }

    async fn keep(&self, _keys: &[BlobKey]) -> BlobResult<()> {
        Ok(())
    }

    async fn reveal(&self, _keys: &[BlobKey]) -> BlobResult<()> {
        Ok(())
    }

    fn leftovers(&self) -> Leftovers {
        Leftovers::Announced
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> BlobResult<Option<Blob>> {
        read::get(self, key, range).await
    }

    async fn head(&self, key: &BlobKey) -> BlobResult<Option<BlobMeta>> {
        let found = self.look(&self.path(key)).await?;
        Ok(found.map(|found| meta(key.clone(), &found)))
    }

    async fn delete(&self, key: &BlobKey) -> BlobResult<()> {
        use object_store::ObjectStoreExt as _;
        match self.inner.objects.delete(&self.path(key)).await {
            Ok(()) => Ok(()),
            Err(error) if trouble::is_missing(&error) => Ok(()),
            Err(error) => Err(trouble::of(format!("deleting `{key}`"), error)),
        }
    }

    async fn list(&self, prefix: &str) -> BlobResult<BoxStream<'static, BlobResult<BlobMeta>>> {
        read::list(self, prefix)
    }

    async fn available(&self) -> BlobResult<Option<u64>> {
        Ok(None)
    }

    async fn store_id(&self) -> BlobResult<Option<Uuid>> {
        identity::get(self).await
    }

    async fn set_store_id(&self, id: Uuid) -> BlobResult<Uuid> {
        identity::set(self, id).await
    }

    async fn probe(&self) -> BlobResult<()> {
        identity::probe(self).await
    }
}

#[async_trait]
impl PartStore for ObjectStore {
    fn limits(&self) -> PartLimits {
        self.inner.limits
    }

    async fn begin(&self, key: &BlobKey, size: Option<u64>) -> BlobResult<PartsId> {
        parts::begin(self, key, size).await
    }

    async fn write(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        span: Span,
        body: ByteStream,
    ) -> BlobResult<PartTag> {
        parts::write(self, key, parts, span, body).await
    }

    fn reads_staged(&self) -> bool {
        false
    }

    async fn read_staged(
        &self,
        _key: &BlobKey,
        _parts: &PartsId,
        _range: ByteRange,
    ) -> BlobResult<Option<ByteStream>> {
        Ok(None)
    }

    async fn complete(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        size: u64,
        tags: &[PartTag],
    ) -> BlobResult<BlobMeta> {
        let (store, key, parts, tags) = (self.clone(), key.clone(), parts.clone(), tags.to_vec());
        let work = async move { parts::complete(&store, &key, &parts, size, &tags).await };
        let done = self.inner.tasks.spawn("complete an upload", work).await;
        done.map_err(|error| wrong("completing an upload broke off".to_owned()).caused_by(error))?
    }

    async fn differing(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        tags: &[PartTag],
    ) -> BlobResult<Option<Vec<ChunkIndex>>> {
        match &self.inner.kind {
            Kind::S3(bucket) => parts::differing(self, bucket, key, parts, tags).await,
            // Azure's blocks cannot be overwritten, so they never differ; the others do not say.
            Kind::Azure | Kind::Gcs | Kind::Memory => Ok(None),
        }
    }

    async fn unfinished(&self) -> BlobResult<BoxStream<'static, BlobResult<Unfinished>>> {
        Ok(read::unfinished(self))
    }

    async fn discard(&self, unfinished: &Unfinished) -> BlobResult<()> {
        parts::abort(self, &unfinished.key, &unfinished.parts).await
    }

    async fn abandon(&self, key: &BlobKey, parts: &PartsId) -> BlobResult<()> {
        parts::abandon(self, key, parts).await
    }
}

/// What a store's word on an object says of a blob.
fn meta(key: BlobKey, found: &ObjectMeta) -> BlobMeta {
    let modified = Timestamp::from_micros(found.last_modified.timestamp_micros());
    BlobMeta { key, size: found.size, modified }
}

/// What should not be so.
fn wrong(context: String) -> BlobError {
    BlobError::new(BlobErrorKind::Internal, context)
}
