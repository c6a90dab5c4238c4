//! What other nodes are to be told of, until it is sent: each upload once, however often it changed meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::base::UploadId;

/// Uploads with news. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    news: Mutex<News>,
    added: Notify,
}

/// An upload, and how many bytes of its end are done if somebody told.
pub(super) type News = HashMap<UploadId, Option<u64>>;

impl Outbox {
    /// Something of `id` has changed; its finalize has got to byte `done` if it is one that moved.
    pub(super) fn add(&self, id: UploadId, done: Option<u64>) {
        let mut news = self.0.news.lock().unwrap_or_else(PoisonError::into_inner);
        let known = news.entry(id).or_default();
        *known = done.or(*known);
        drop(news);
        self.0.added.notify_one();
    }

    /// Everything that was added since the last time, as soon as there is something.
    pub(super) async fn take(&self) -> News {
        loop {
            let news = std::mem::take(&mut *self.0.news.lock().unwrap_or_else(PoisonError::into_inner));
            if !news.is_empty() {
                return news;
            }
            self.0.added.notified().await;
        }
    }
}
