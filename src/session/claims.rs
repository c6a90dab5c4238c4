//! One writer per chunk: claims, held while a chunk is read, written and journalled.
//!
//! A claim is taken before the journal is read, so that what the journal said stays true for as long as the
//! claim is held: no byte is ever written at an index whose receipt stands.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::base::{ChunkIndex, UploadId};

/// All claims of this process. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Claims(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    uploads: Mutex<HashMap<UploadId, Writers>>,
    released: Notify,
}

#[derive(Debug, Default)]
struct Writers {
    indexes: HashSet<ChunkIndex>,
    cut: CancellationToken,
}

/// The right to write one chunk; given back when dropped.
#[derive(Debug)]
pub struct Claim {
    shared: Arc<Shared>,
    upload: UploadId,
    index: ChunkIndex,
    cut: CancellationToken,
}

impl Claims {
    /// Claims chunk `index`; `None` while somebody else has it.
    pub fn take(&self, upload: UploadId, index: ChunkIndex) -> Option<Claim> {
        let mut uploads = self.0.lock();
        let writers = uploads.entry(upload).or_default();
        if !writers.indexes.insert(index) {
            return None;
        }
        Some(Claim { shared: Arc::clone(&self.0), upload, index, cut: writers.cut.clone() })
    }

    /// Whether anybody is writing to `upload`.
    pub fn any(&self, upload: UploadId) -> bool {
        self.0.lock().contains_key(&upload)
    }

    /// Tells all writers of `upload` to let go and waits until they have.
    ///
    /// To be called when the journal takes no more receipts for it, so that no writer comes after.
    pub async fn drain(&self, upload: UploadId) {
        loop {
            let released = self.0.released.notified();
            match self.0.lock().get(&upload) {
                None => return,
                Some(writers) => writers.cut.cancel(),
            }
            released.await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Writers>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Cancelled when the writer should let go: the upload has ended.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut uploads = self.shared.lock();
        if let Some(writers) = uploads.get_mut(&self.upload) {
            writers.indexes.remove(&self.index);
            if writers.indexes.is_empty() {
                uploads.remove(&self.upload);
            }
        }
        drop(uploads);
        self.shared.released.notify_waiters();
    }
}
