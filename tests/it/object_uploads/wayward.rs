//! A store that misbehaves when it is told to, around one in memory: faults as real object stores have them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cifra::base::stream::StreamError;
use cifra::base::{BlobKey, ByteRange, ByteStream, ChunkIndex, PartsId};
use cifra::blob::object::ObjectStore;
use cifra::blob::{
    Blob, BlobError, BlobErrorKind, BlobMeta, BlobResult, BlobStore, Leftovers, Length, PartLimits,
    PartStore, PartTag, Span, Unfinished,
};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// What is to go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The next Complete is refused: these parts are not what their tags say.
    Refused(Vec<u32>),
    /// The next Complete finds nothing: a lifecycle rule was here.
    Dropped,
    /// The next Complete is done, and nobody learns of it.
    LostAnswer,
    /// The next Complete is done, and its answer is kept back until [`Wayward::let_go`].
    Held,
    /// The next write finds nothing to write to.
    NothingToWriteTo,
    /// The next write is done, and its answer is kept back until [`Wayward::let_go`].
    HeldWrite,
    /// The next read of a whole blob's part breaks off.
    BreaksOff,
    /// The next read that begins here breaks off.
    BreaksOffAt(u64),
}

/// The store. All its clones are one.
#[derive(Debug)]
pub(crate) struct Wayward {
    inner: ObjectStore,
    faults: Mutex<VecDeque<Fault>>,
    differing: Mutex<Vec<u32>>,
    reached: Semaphore,
    let_go: Semaphore,
    /// Bytes that were asked for by [`BlobStore::get`].
    pub(crate) read: AtomicU64,
    /// How often something was abandoned.
    pub(crate) abandoned: AtomicUsize,
}

impl Wayward {
    pub(crate) fn around(inner: ObjectStore) -> Arc<Self> {
        Arc::new(Self {
            inner,
            faults: Mutex::default(),
            differing: Mutex::default(),
            reached: Semaphore::new(0),
            let_go: Semaphore::new(0),
            read: AtomicU64::new(0),
            abandoned: AtomicUsize::new(0),
        })
    }

    /// From now on this goes wrong, once.
    pub(crate) fn next(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    /// Waits until something is held.
    pub(crate) async fn holds(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    /// How many are held that nobody has waited for.
    pub(crate) fn holding(&self) -> usize {
        self.reached.available_permits()
    }

    /// Lets what is held go on.
    pub(crate) fn let_go(&self) {
        self.let_go.add_permits(1);
    }

    /// Keys of all blobs.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let listed = self.inner.list("").await.unwrap();
        listed.map(|blob| blob.unwrap().key.as_str().to_owned()).collect().await
    }

    fn takes(&self, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let at = faults.iter().position(wanted)?;
        faults.remove(at)
    }

    async fn hold(&self) {
        self.reached.add_permits(1);
        self.let_go.acquire().await.unwrap().forget();
    }
}

fn trouble<T>(kind: BlobErrorKind) -> BlobResult<T> {
    Err(BlobError::new(kind, "as the test wants it"))
}

#[async_trait]
impl BlobStore for Wayward {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn put(&self, key: &BlobKey, body: ByteStream, size: Option<u64>) -> BlobResult<BlobMeta> {
        self.inner.put(key, body, size).await
    }

    async fn stage(&self, key: &BlobKey, body: ByteStream, length: Length) -> BlobResult<u64> {
        self.inner.stage(key, body, length).await
    }

    async fn keep(&self, keys: &[BlobKey]) -> BlobResult<()> {
        self.inner.keep(keys).await
    }

    async fn reveal(&self, keys: &[BlobKey]) -> BlobResult<()> {
        self.inner.reveal(keys).await
    }

    fn leftovers(&self) -> Leftovers {
        self.inner.leftovers()
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> BlobResult<Option<Blob>> {
        let blob = self.inner.get(key, range).await?;
        self.read.fetch_add(range.map_or(0, |range| range.end() - range.start()), Ordering::Relaxed);
        let start = range.map_or(0, |range| range.start());
        let breaks_off =
            self.takes(|fault| [Fault::BreaksOff, Fault::BreaksOffAt(start)].contains(fault)).is_some();
        if !breaks_off {
            return Ok(blob);
        }
        let error = StreamError::Failed("as the test wants it".to_owned());
        Ok(blob.map(|blob| Blob { bytes: stream::once(async { Err(error) }).boxed(), ..blob }))
    }

    async fn head(&self, key: &BlobKey) -> BlobResult<Option<BlobMeta>> {
        self.inner.head(key).await
    }

    async fn delete(&self, key: &BlobKey) -> BlobResult<()> {
        self.inner.delete(key).await
    }

    async fn list(&self, prefix: &str) -> BlobResult<BoxStream<'static, BlobResult<BlobMeta>>> {
        self.inner.list(prefix).await
    }

    async fn available(&self) -> BlobResult<Option<u64>> {
        self.inner.available().await
    }

    async fn store_id(&self) -> BlobResult<Option<Uuid>> {
        self.inner.store_id().await
    }

    async fn set_store_id(&self, id: Uuid) -> BlobResult<Uuid> {
        self.inner.set_store_id(id).await
    }

    async fn probe(&self) -> BlobResult<()> {
        self.inner.probe().await
    }
}

#[async_trait]
impl PartStore for Wayward {
    fn limits(&self) -> PartLimits {
        self.inner.limits()
    }

    async fn begin(&self, key: &BlobKey, size: Option<u64>) -> BlobResult<PartsId> {
        self.inner.begin(key, size).await
    }

    async fn write(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        span: Span,
        body: ByteStream,
    ) -> BlobResult<PartTag> {
        match self.takes(|fault| matches!(fault, Fault::NothingToWriteTo | Fault::HeldWrite)) {
            Some(Fault::NothingToWriteTo) => trouble(BlobErrorKind::Gone),
            Some(_) => {
                let written = self.inner.write(key, parts, span, body).await;
                self.hold().await;
                written
            }
            None => self.inner.write(key, parts, span, body).await,
        }
    }

    fn reads_staged(&self) -> bool {
        self.inner.reads_staged()
    }

    async fn read_staged(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        range: ByteRange,
    ) -> BlobResult<Option<ByteStream>> {
        panic!("{range:?} of {key} ({parts:?}) is staged, and such a store does not show it")
    }

    async fn complete(
        &self,
        key: &BlobKey,
        parts: &PartsId,
        size: u64,
        tags: &[PartTag],
    ) -> BlobResult<BlobMeta> {
        let at_complete = |fault: &Fault| {
            matches!(fault, Fault::Refused(_) | Fault::Dropped | Fault::LostAnswer | Fault::Held)
        };
        match self.takes(at_complete) {
            Some(Fault::Refused(differing)) => {
                *self.differing.lock().unwrap() = differing;
                trouble(BlobErrorKind::Incomplete)
            }
            Some(Fault::Dropped) => trouble(BlobErrorKind::Gone),
            Some(Fault::LostAnswer) => {
                self.inner.complete(key, parts, size, tags).await?;
                trouble(BlobErrorKind::Unavailable)
            }
            Some(Fault::Held) => {
                let completed = self.inner.complete(key, parts, size, tags).await;
                self.hold().await;
                completed
            }
            _ => self.inner.complete(key, parts, size, tags).await,
        }
    }

    async fn differing(
        &self,
        _key: &BlobKey,
        _parts: &PartsId,
        _tags: &[PartTag],
    ) -> BlobResult<Option<Vec<ChunkIndex>>> {
        let differing = std::mem::take(&mut *self.differing.lock().unwrap());
        Ok(Some(differing.into_iter().map(ChunkIndex::new).collect()))
    }

    async fn discard(&self, unfinished: &Unfinished) -> BlobResult<()> {
        self.inner.discard(unfinished).await
    }

    async fn abandon(&self, key: &BlobKey, parts: &PartsId) -> BlobResult<()> {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
        self.inner.abandon(key, parts).await
    }
}
