//! One writer per chunk: claims, held while a chunk is read, written and journalled.
//!
//! A claim is taken before the journal is read, so that what the journal said stays true for as long as the
//! claim is held: no byte is ever written at an index whose receipt stands. Writers of one process are told apart
//! here, those of several by [`super::nodes`].

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::nodes::Pledge;
use crate::base::{ChunkIndex, UploadId};
use crate::db::uploads::Upload;

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
    /// Against other nodes, where there are some.
    pledge: Option<Pledge>,
    copy: Option<Box<Upload>>,
}

impl Claims {
    /// Claims chunk `index`; `None` while somebody else has it.
    pub fn take(&self, upload: UploadId, index: ChunkIndex) -> Option<Claim> {
        let mut uploads = self.0.lock();
        let writers = uploads.entry(upload).or_default();
        if !writers.indexes.insert(index) {
            return None;
        }
        // Its own, too: a claim can be lost while others stand.
        let cut = writers.cut.child_token();
        Some(Claim { shared: Arc::clone(&self.0), upload, index, cut, pledge: None, copy: None })
    }

    /// Whether anybody is writing to `upload`.
    pub fn any(&self, upload: UploadId) -> bool {
        self.0.lock().contains_key(&upload)
    }

    /// Tells all writers of `upload` to let go.
    pub(super) fn cut(&self, upload: UploadId) {
        if let Some(writers) = self.0.lock().get(&upload) {
            writers.cut.cancel();
        }
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
    /// Of this upload.
    pub fn upload(&self) -> UploadId {
        self.upload
    }

    /// Of this chunk.
    pub fn index(&self) -> ChunkIndex {
        self.index
    }

    /// Cancelled when the writer should let go: the upload has ended, or the claim is another node's by now.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Whether it still is ours; to be asked before the journal is written. A process that was stopped for a while may
    /// have lost it. Nobody else has it as far as is known: the journal decides.
    pub async fn stands(&self) -> bool {
        match &self.pledge {
            None => true,
            Some(pledge) => pledge.stands().await,
        }
    }

    /// It holds against other nodes too; they left this copy of what never changes of the upload.
    pub(super) fn add(&mut self, pledge: Pledge, copy: Option<Box<Upload>>) {
        (self.pledge, self.copy) = (Some(pledge), copy);
    }

    /// What never changes of the upload, if it came along.
    pub(super) fn copy(&self) -> Option<&Upload> {
        self.copy.as_deref()
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
