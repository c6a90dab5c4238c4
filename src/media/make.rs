//! Making all thumbnails of a file: the job's handler, from the row that asks for it to the rows that say what came of it.
//!
//! Done twice it does no harm: what is there already stays, and what was made by two is published by one. A failure
//! that would be the same the next time is noted, and not tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use uuid::Uuid;

use super::pool::{Panicked, Refusal};
use super::{ThumbnailService, fetch};
use crate::base::thumbnail::{NamedSize, SizeName, SpecVersion};
use crate::base::{BlobKey, Code, Error, FileId, Result, TenantId, Timestamp, stream};
use crate::db::files::{self, File};
use crate::db::images::Image;
use crate::db::thumbnails::{self, Making, Outcome as Row, Put, Stored, Thumbnail};
use crate::db::{Commit, Urgency, blob_deletions};
use crate::imaging::{self, Fault, Limits, Made, Reason};
use crate::jobs::{Handler, Job, JobUrgency, Outcome};
use crate::telemetry::{failpoint, metrics};

/// Who takes longer than this to store thumbnails finds them removed, and makes them again.
const ANNOUNCED_FOR: Duration = Duration::from_hours(1);
/// A store that takes longer than this for a thumbnail is away.
const STORE_WAIT_MAX: Duration = Duration::from_secs(4);
/// A picture that takes too long is tried so often: the machine may have been busy.
const TIMEOUTS_MAX: u32 = 2;

/// What there is, and what is to be made.
struct Task {
    file: File,
    missing: Vec<SizeName>,
    /// What stays.
    others: Vec<SizeName>,
}

impl ThumbnailService {
    /// What does the jobs of kind [`crate::jobs::THUMBNAILS`], whose subject is a file's id.
    pub fn handler(self: &Arc<Self>) -> Handler {
        let service = Arc::clone(self);
        Arc::new(move |job| {
            let service = Arc::clone(&service);
            Box::pin(async move { service.make(&job).await })
        })
    }

    async fn make(&self, job: &Job) -> Outcome {
        let Ok(file) = job.subject.parse::<FileId>() else { return Outcome::Done };
        let made = self.make_missing(job, file).await.map_err(Arc::new);
        // Who waits is told what is in the way, and does not wait for the next time; a machine that is busy may have time.
        let trouble = made.as_ref().err().filter(|error| error.code() != Code::Overloaded);
        self.flights.tell(file, trouble);
        match made {
            Ok(()) => Outcome::Done,
            // Deleted meanwhile: nobody wants them any more.
            Err(error) if error.code() == Code::FileNotFound => Outcome::Done,
            Err(error) => {
                let after = error.retry_delay().unwrap_or_default().max(job.backoff());
                Outcome::Retry { after, why: error.to_string() }
            }
        }
    }

    async fn make_missing(&self, job: &Job, file: FileId) -> Result<()> {
        let Some(task) = self.task(&job.tenant, file).await? else { return Ok(()) };
        let made = if job.is_last() {
            Err(Fault::new(Reason::Crashed, "processes died of it"))
        } else {
            self.draw(&task).await?
        };
        if let Err(fault) = &made
            && fault.reason == Reason::TimedOut
            && job.attempts < TIMEOUTS_MAX
        {
            return Err(Error::new(Code::Overloaded, "the picture took too long"));
        }
        let urgency = match job.urgency {
            JobUrgency::Awaited | JobUrgency::New => Urgency::Normal,
            JobUrgency::Rebuild => Urgency::Background,
        };
        match made {
            Ok(made) => self.publish(task, made, urgency).await,
            Err(fault) => self.remember(task, &fault, urgency).await,
        }
    }

    /// What is to be done; `None` if there is nothing.
    async fn task(&self, tenant: &TenantId, file: FileId) -> Result<Option<Task>> {
        let tenant = tenant.clone();
        let read = self.db.read(move |c| {
            Box::pin(async move {
                let Some(record) = files::get(c, &tenant, file).await? else { return Ok(None) };
                Ok(Some((record, thumbnails::of_files(c, &tenant, &[file]).await?)))
            })
        });
        let Some((file, rows)) = read.await? else { return Ok(None) };
        let is_there = |size: &NamedSize, version: &SpecVersion| {
            rows.iter().any(|row| row.size == size.name && row.version == *version)
        };
        let (mut missing, mut others) = (Vec::new(), Vec::new());
        for (size, version) in self.sizes.iter().zip(&self.versions) {
            let list = if is_there(size, version) { &mut others } else { &mut missing };
            list.push(size.name.clone());
        }
        Ok((!missing.is_empty()).then_some(Task { file, missing, others }))
    }

    /// From the file's bytes to small pictures, within the memory that all pictures share: all sizes, whichever are missing,
    /// because one is drawn from the other, and each is to be the same whenever it is made. A fault of the picture is an
    /// answer; an error is to be tried again.
    async fn draw(&self, task: &Task) -> Result<Result<Made, Fault>> {
        let (file, memory) = (&task.file, self.limits.memory_max);
        let Some(left) = memory.checked_sub(file.size) else {
            return Ok(Err(too_large(file.size, memory)));
        };
        let limits = Limits { memory_max: left, ..self.limits };
        let begun = Instant::now();
        let head = fetch::head(&self.files, file).await?;
        metrics::thumbnail_stage("fetch", begun.elapsed());
        let all_there = head.len() as u64 == file.size;
        let price = match price(&head, &self.sizes, &limits) {
            // What says how large it is may stand further behind.
            Err(fault) if fault.reason == Reason::Corrupt && !all_there => {
                let room = match self.admitted(file, file.size).await? {
                    Ok(room) => room,
                    Err(fault) => return Ok(Err(fault)),
                };
                let source = fetch::whole(&self.files, file).await?;
                let price = price(&source, &self.sizes, &limits);
                drop(room);
                price
            }
            priced => priced,
        };
        let price = match price {
            Ok(price) => price,
            Err(fault) => return Ok(Err(fault)),
        };
        let room = match self.admitted(file, file.size + price).await? {
            Ok(room) => room,
            Err(fault) => return Ok(Err(fault)),
        };
        let source = if all_there { head } else { self.source(file).await? };
        let (sizes, timeout) = (self.sizes.clone(), self.timeout);
        let made = room.run(move || {
            metrics::thumbnail_decoded();
            imaging::make(&source, &sizes, &limits, Instant::now() + timeout)
        });
        let made =
            made.await.unwrap_or_else(|Panicked| Err(Fault::new(Reason::Crashed, "its decoder panicked")));
        if let Ok(Made { stages, .. }) = &made {
            metrics::thumbnail_stage("decode", stages.decode);
            metrics::thumbnail_stage("resize", stages.resize);
            metrics::thumbnail_stage("encode", stages.encode);
        }
        Ok(made)
    }

    async fn source(&self, file: &File) -> Result<Bytes> {
        let begun = Instant::now();
        let source = fetch::whole(&self.files, file).await?;
        metrics::thumbnail_stage("fetch", begun.elapsed());
        Ok(source)
    }

    async fn admitted(&self, file: &File, bytes: u64) -> Result<Result<super::pool::Admission, Fault>> {
        let begun = Instant::now();
        let admitted = self.pool.admit(&file.tenant, bytes).await;
        metrics::thumbnail_stage("queue", begun.elapsed());
        match admitted {
            Ok(admission) => Ok(Ok(admission)),
            Err(Refusal::TooLarge { max }) => Ok(Err(too_large(bytes, max))),
            Err(Refusal::QueueFull) => {
                Err(Error::new(Code::Overloaded, "too many pictures wait to be made smaller"))
            }
        }
    }

    /// Stores what was made and says so: all of it, or nothing.
    async fn publish(&self, task: Task, made: Made, urgency: Urgency) -> Result<()> {
        let begun = Instant::now();
        let (id, now) = (task.file.id, self.clock.now());
        let announced_until = now.plus(ANNOUNCED_FOR);
        let image = Image::of(task.file.tenant.clone(), id, &made.picture, made.truncated);
        let (rows, bytes) = self.rows(&task, made, now);
        let blobs: Vec<(BlobKey, Bytes)> = keys_of(&rows).zip(bytes).collect();
        self.announce(&blobs, announced_until, now, urgency).await?;
        failpoint::hit("thumbnails.after_announce");
        let making = Making {
            tenant: task.file.tenant,
            file: id,
            image: Some(image),
            thumbnails: rows,
            announced_until,
            others: task.others,
        };
        let stored = async {
            self.store(&blobs).await?;
            failpoint::hit("thumbnails.after_store");
            self.write(making, urgency).await
        };
        match stored.await {
            Ok(Put::Written) => {
                metrics::thumbnail_stage("store", begun.elapsed());
                tracing::debug!(file.id = %id, "made {} thumbnails of file {id}", blobs.len());
                self.hot.forget(id);
                Ok(())
            }
            // Nobody knows whether it happened. If not, they are removed when their time is over.
            Err(error) if error.code() == Code::Unavailable => Err(error),
            unpublished => {
                for (key, _) in &blobs {
                    // If this fails, it happens when their time is over.
                    if let Err(error) =
                        self.files.remove(self.stores.default_name(), key, announced_until).await
                    {
                        tracing::warn!(%key, %error, "blob {key} was not removed yet: {error}");
                    }
                }
                unpublished.map(drop)
            }
        }
    }

    /// The rows of what was missing, and the bytes that each is about.
    fn rows(&self, task: &Task, made: Made, now: Timestamp) -> (Vec<Thumbnail>, Vec<Bytes>) {
        let (mut rows, mut all) = (Vec::new(), Vec::new());
        let file = &task.file;
        for (version, imaging::Thumbnail { name, width, height, content_type, bytes }) in
            self.versions.iter().zip(made.thumbnails)
        {
            if !task.missing.contains(&name) {
                continue;
            }
            let stored = Stored {
                store: self.stores.default_name().to_owned(),
                key: BlobKey::of_thumbnail(&file.tenant, file.id, &name, version, Uuid::new_v4()),
                width,
                height,
                bytes: bytes.len() as u64,
                content_type: content_type.to_owned(),
            };
            let (version, outcome) = (version.clone(), Row::Ready(stored));
            rows.push(Thumbnail { file: file.id, size: name, version, outcome, made_at: now });
            all.push(bytes);
        }
        (rows, all)
    }

    /// Notes that there is nothing to be made of the picture.
    async fn remember(&self, task: Task, fault: &Fault, urgency: Urgency) -> Result<()> {
        let (id, now) = (task.file.id, self.clock.now());
        metrics::thumbnail_rejected(fault.reason.as_str());
        tracing::info!(file.id = %id, reason = fault.reason.as_str(), "file {id} has no thumbnails: {fault}");
        let missing =
            self.sizes.iter().zip(&self.versions).filter(|(size, _)| task.missing.contains(&size.name));
        let rows = missing.map(|(size, version)| Thumbnail {
            file: id,
            size: size.name.clone(),
            version: version.clone(),
            outcome: Row::Without(fault.reason),
            made_at: now,
        });
        let making = Making {
            tenant: task.file.tenant,
            file: id,
            image: None,
            thumbnails: rows.collect(),
            announced_until: now,
            others: task.others,
        };
        self.write(making, urgency).await?;
        self.hot.forget(id);
        Ok(())
    }

    async fn announce(
        &self,
        blobs: &[(BlobKey, Bytes)],
        until: Timestamp,
        now: Timestamp,
        urgency: Urgency,
    ) -> Result<()> {
        let keys: Vec<BlobKey> = blobs.iter().map(|(key, _)| key.clone()).collect();
        let store = self.stores.default_name().to_owned();
        self.db
            .write(urgency, move |c| {
                let (keys, store) = (keys.clone(), store.clone());
                Box::pin(async move {
                    for key in &keys {
                        blob_deletions::insert(c, &store, key, until, now).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// All at once.
    async fn store(&self, blobs: &[(BlobKey, Bytes)]) -> Result<()> {
        let store = self.stores.default_store();
        let put = blobs.iter().map(async |(key, bytes)| {
            let put = store.put(key, stream::once(bytes.clone()), Some(bytes.len() as u64));
            match tokio::time::timeout(STORE_WAIT_MAX, put).await {
                Ok(put) => put.map(drop).map_err(Error::from),
                Err(elapsed) => Err(Error::unavailable("the store does not answer", elapsed)),
            }
        });
        try_join_all(put).await.map(drop)
    }

    async fn write(&self, making: Making, urgency: Urgency) -> Result<Put> {
        let now = self.clock.now();
        let purge_after = now.plus(self.files.purge_delay_of(self.stores.default_name()));
        let (tenant, file) = (making.tenant.clone(), making.file);
        let put = self.db.write_to_the_end(urgency, Commit::Normal, move |c| {
            let making = making.clone();
            Box::pin(async move { thumbnails::put(c, &making, purge_after, now).await })
        });
        let put = put.await?;
        failpoint::hit("thumbnails.after_commit");
        self.files.note_change(&tenant, [file]).await;
        Ok(put)
    }
}

/// What it takes to make `sizes` of a picture, beside its source; boxes that are filled up may be larger than the picture.
fn price(head: &[u8], sizes: &[NamedSize], limits: &Limits) -> Result<u64, Fault> {
    let probe = imaging::probe(head)?;
    let plan = imaging::plan(&probe, sizes);
    let picture = imaging::price(&probe, plan.needed(probe.orientation), limits)?;
    // One at a time: the box, planes of the encoder's own, and what it has written.
    let filled = plan.sizes.iter().filter_map(|placed| placed.canvas);
    let filling = filled.map(|(width, height)| u64::from(width) * u64::from(height) * 12).max();
    let bytes = picture + filling.unwrap_or_default();
    if bytes > limits.memory_max { Err(too_large(bytes, limits.memory_max)) } else { Ok(bytes) }
}

fn too_large(bytes: u64, max: u64) -> Fault {
    Fault::new(Reason::TooLarge, format!("the picture takes {bytes} bytes of memory, {max} are allowed"))
}

fn keys_of(rows: &[Thumbnail]) -> impl Iterator<Item = BlobKey> {
    rows.iter().filter_map(|row| match &row.outcome {
        Row::Ready(stored) => Some(stored.key.clone()),
        Row::Without(_) => None,
    })
}
