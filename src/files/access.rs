//! How often files are read: counted here for a second, then queued, then written, so that a download waits for nothing
//! and a file that everybody wants is written once a second.
//!
//! A download counts once, when its first byte is sent: ranges that begin further behind go on with one, and a player that
//! jumps in a film has begun once. What the service reads itself does not count, nor do thumbnails, HEAD and 304. What was
//! not queued yet when a process is killed, a second at most, is not counted; what is queued is, once. Called by
//! [`super::FileService`]; `app` starts it, and queues the rest at the end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::FileService;
use crate::base::principal::{Actor, Scope};
use crate::base::{ByteRange, Clock, Error, FileId, Principal, Result, TenantId, Timestamp};
use crate::cache::write_behind::WriteBehind;
use crate::db::file_access::{self, Reads};
use crate::db::write_behind::{NewWrite, Queued};
use crate::db::{Conn, Db};
use crate::telemetry::{Tasks, metrics};

/// What queued writes of ours are called.
const KIND: &str = "file-reads";
/// Reads of one file within this time are queued together.
const FOLDED_FOR: Duration = Duration::from_secs(1);
/// Files that are counted at a time. Only a database that is away for long makes them so many.
const FILES_MAX: usize = 100_000;
/// Files that are queued in one transaction.
const QUEUED_AT_ONCE: usize = 200;

/// Reads of one file that were not queued yet; as JSON, what is queued of it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Folded {
    reads: u32,
    /// Microseconds since 1970.
    last_read_at: i64,
}

/// See the module. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct FileAccess {
    queue: WriteBehind,
    clock: Arc<dyn Clock>,
    folded: Arc<Mutex<HashMap<(TenantId, FileId), Folded>>>,
    noted: Arc<Notify>,
}

impl fmt::Debug for FileAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileAccess").finish_non_exhaustive()
    }
}

impl FileAccess {
    pub(super) fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        let queue =
            WriteBehind::new(db, Arc::clone(&clock), KIND, Arc::new(|c, writes| Box::pin(apply(c, writes))));
        Self { queue, clock, folded: Arc::default(), noted: Arc::default() }
    }

    /// Begins to queue what is counted, and to apply what is queued.
    pub fn start(&self, tasks: &Tasks) {
        self.queue.start(tasks);
        let (access, stopping) = (self.clone(), tasks.stopping().clone());
        tasks.spawn("count reads", async move {
            while stopping.run_until_cancelled(access.noted.notified()).await.is_some() {
                // The end queues the rest.
                if stopping.run_until_cancelled(tokio::time::sleep(FOLDED_FOR)).await.is_none() {
                    return;
                }
                if let Err(error) = access.flush().await {
                    tracing::warn!(%error, "reads of files are counted later: {error}");
                    access.noted.notify_one();
                }
            }
        });
    }

    /// Queues what was counted up to now.
    ///
    /// # Errors
    /// `Unavailable`, `Overloaded`: it is still counted, and queued the next time. If the connection broke just when it
    /// was queued, it is queued twice.
    pub async fn flush(&self) -> Result<()> {
        let folded: Vec<_> = std::mem::take(&mut *self.lock()).into_iter().collect();
        let mut parts = folded.chunks(QUEUED_AT_ONCE);
        while let Some(part) = parts.next() {
            let write = |((tenant, file), folded): &((TenantId, FileId), Folded)| NewWrite {
                tenant: tenant.clone(),
                key: file.to_string(),
                payload: folded.to_json(),
            };
            if let Err(error) = self.queue.put(part.iter().map(write).collect()).await {
                for (key, folded) in part.iter().chain(parts.flatten()) {
                    self.fold(key.clone(), *folded);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Applies what is queued.
    ///
    /// # Errors
    /// Those of [`WriteBehind::apply_due`].
    pub async fn apply(&self) -> Result<()> {
        self.queue.apply_due().await.map(drop)
    }

    /// Somebody begins to read the file.
    fn note(&self, tenant: &TenantId, file: FileId) {
        let once = Folded { reads: 1, last_read_at: self.clock.now().as_micros() };
        self.fold((tenant.clone(), file), once);
        self.noted.notify_one();
    }

    fn fold(&self, key: (TenantId, FileId), more: Folded) {
        let mut all = self.lock();
        let full = all.len() >= FILES_MAX;
        match all.entry(key) {
            Entry::Occupied(mut there) => there.get_mut().add(more),
            Entry::Vacant(_) if full => metrics::write_behind(KIND, "dropped", more.reads as usize),
            Entry::Vacant(place) => drop(place.insert(more)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, FileId), Folded>> {
        self.folded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Folded {
    fn to_json(self) -> String {
        serde_json::to_string(&self).expect("INVARIANT: two numbers are JSON")
    }

    fn add(&mut self, more: Self) {
        self.reads = self.reads.saturating_add(more.reads);
        self.last_read_at = self.last_read_at.max(more.last_read_at);
    }
}

impl FileService {
    /// How often the file was read, and when last; a second or two behind.
    ///
    /// # Errors
    /// `FileNotFound`.
    pub async fn reads(&self, who: &Principal, id: FileId) -> Result<Reads> {
        who.require(Scope::Read)?;
        let tenant = who.tenant().clone();
        self.record(who, id).await?;
        self.db.read(move |c| Box::pin(async move { file_access::get(c, &tenant, id).await })).await
    }

    /// The files that were read last, of all tenants, the latest first, at most `limit`: for who reads them beforehand.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read_last(&self, limit: u32) -> Result<Vec<(TenantId, FileId)>> {
        self.db.read(move |c| Box::pin(file_access::recent(c, limit))).await
    }

    /// What counts reads.
    pub fn access(&self) -> &FileAccess {
        &self.access
    }

    /// Counts that `who` reads `range` of the file, if that is the beginning of a download.
    pub(super) fn count_read(&self, who: &Principal, id: FileId, range: Option<ByteRange>) {
        let begins = range.is_none_or(|range| range.start() == 0);
        if begins && *who.actor() != Actor::Service {
            self.access.note(who.tenant(), id);
        }
    }
}

/// Writes what was queued: of each file once, however often it is there.
async fn apply(c: &mut Conn, writes: Vec<Queued>) -> Result<()> {
    let mut files: HashMap<(TenantId, FileId), Folded> = HashMap::new();
    for Queued { seq, tenant, key, payload, .. } in writes {
        let unknown =
            || Error::internal("a queued write cannot be read", format!("write {seq}: {key}: {payload}"));
        let (file, more) =
            (key.parse().map_err(|_| unknown())?, serde_json::from_str(&payload).map_err(|_| unknown())?);
        files.entry((tenant, file)).and_modify(|folded| folded.add(more)).or_insert(more);
    }
    for ((tenant, file), Folded { reads, last_read_at }) in files {
        file_access::add(c, &tenant, file, reads, Timestamp::from_micros(last_read_at)).await?;
    }
    Ok(())
}
