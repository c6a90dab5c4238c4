//! One thumbnail for whoever asks: from memory, else from its store, else when it is made.
//!
//! Whoever asks first sends a flight; the others wait with them. What is not there yet is asked for by a job, which any
//! node may do, and is looked for until it is there. Called by `http`.

use std::sync::Arc;
use std::time::Duration;

use super::flights::Flight;
use super::{Ready, ThumbnailService, fetch};
use crate::base::principal::Scope;
use crate::base::{BlobKey, Code, Error, FileId, Principal, Result, TenantId, crc};
use crate::db::Urgency;
use crate::db::files::{self, File};
use crate::db::thumbnails::{self, Outcome, Stored, Thumbnail};
use crate::imaging::{self, Reason};
use crate::jobs::{JobUrgency, NewJob};
use crate::telemetry::metrics;

/// What another node makes is looked for this soon, then more and more seldom,
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(50);
/// at least so often.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(1);
/// A blob that is gone although its row says that it is there is made again so often in one flight.
const VANISHED_MAX: u32 = 2;

/// What a flight comes back with.
#[derive(Debug, Clone)]
pub(super) enum Loaded {
    Ready(Arc<Ready>),
    Without(Without),
    Failed(Arc<Error>),
}

/// Why there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Without {
    reason: Reason,
    /// How many the picture has, where that is known.
    pixels: Option<u64>,
}

/// What the database says.
struct Look {
    file: File,
    row: Option<Thumbnail>,
}

impl ThumbnailService {
    /// The thumbnail of `file` that is called `name`. If it is not there yet it is made, and waited for.
    ///
    /// # Errors
    /// `UnknownThumbnailSize` `{ sizes }`, `FileNotFound`; `NotAnImage` `{ reason }`, `ImageTooLarge` `{ reason, pixels,
    /// max_pixels }`, `ImageUndecodable` `{ reason }`, for good; `Overloaded` if it is not ready within
    /// `thumbnails.wait`, or too many are waited for; `Unavailable`.
    pub async fn get(self: &Arc<Self>, who: &Principal, file: FileId, name: &str) -> Result<Arc<Ready>> {
        who.require(Scope::Read)?;
        let size = self.place_of(name)?;
        if let Some(ready) = self.in_memory(who, file, size).await? {
            metrics::thumbnail_answered("memory");
            return Ok(ready);
        }
        let (ticket, flight) = self.flights.join((who.tenant().clone(), file, size));
        if let Some(flight) = flight {
            let (service, tenant) = (Arc::clone(self), who.tenant().clone());
            self.tasks.spawn("thumbnail", async move { service.fly(flight, tenant, file, size).await });
        }
        match ticket.answer(self.wait).await? {
            None => Err(Error::new(Code::Overloaded, "the thumbnail is not ready yet; ask again in a while")),
            Some(Loaded::Ready(ready)) => {
                metrics::thumbnail_answered("store");
                Ok(ready)
            }
            Some(Loaded::Without(without)) => Err(self.refusal(file, without)),
            Some(Loaded::Failed(error)) => Err(error.again()),
        }
    }

    /// Drops what is in memory of a file: this node has deleted it, or its thumbnails are to be others.
    pub fn forget(&self, file: FileId) {
        self.hot.forget(file);
    }

    /// What is in memory, if its row still stands.
    async fn in_memory(&self, who: &Principal, file: FileId, size: usize) -> Result<Option<Arc<Ready>>> {
        let Some(entry) = self.hot.get((file, size)).filter(|entry| entry.tenant == *who.tenant()) else {
            return Ok(None);
        };
        let record = self.files.record(who, file).await?.value;
        let is_it = |row: &Thumbnail| {
            row.size == self.sizes[size].name
                && row.version == self.versions[size]
                && matches!(&row.outcome, Outcome::Ready(stored) if stored.key == entry.key)
        };
        if record.thumbnails.iter().any(is_it) {
            return Ok(Some(Arc::clone(&entry.ready)));
        }
        self.hot.drop_one((file, size));
        Ok(None)
    }

    /// Sees to a flight, until it has an answer or nobody wants one any more.
    async fn fly(self: Arc<Self>, flight: Flight, tenant: TenantId, file: FileId, size: usize) {
        let landed = {
            let mut load = std::pin::pin!(self.load(&flight, &tenant, file, size));
            loop {
                tokio::select! {
                    biased;
                    loaded = &mut load => break loaded,
                    () = self.tasks.stopping().cancelled() => {
                        break Err(Error::unavailable("the service is stopping", "a thumbnail was waited for"));
                    }
                    () = flight.deserted() => {
                        if flight.is_over() {
                            return;
                        }
                    }
                }
            }
        };
        flight.land(landed.unwrap_or_else(|error| Loaded::Failed(Arc::new(error))));
    }

    async fn load(&self, flight: &Flight, tenant: &TenantId, file: FileId, size: usize) -> Result<Loaded> {
        // What was there when it was asked for: any other answer than this is new.
        let mut asked: Option<Option<Thumbnail>> = None;
        let (mut pause, mut vanished) = (LOOK_AGAIN_MIN, 0);
        loop {
            // Whoever waits for something new does not look where it shows a moment later.
            let Look { file: record, row } = match asked {
                None if vanished == 0 => self.glance(tenant, file, size).await?,
                _ => self.look(tenant, file, size).await?,
            };
            let current = row.as_ref().is_some_and(|row| row.serves(&self.versions[size]));
            // A node with another configuration may have been faster: what it made is better than nothing.
            let new = asked.as_ref().is_some_and(|asked| *asked != row);
            if new {
                // Whoever made it may not have told the cache yet, and who gets it here may ask for the record next.
                self.files.note_change(tenant, [file]).await;
            }
            match row.as_ref().filter(|_| current || new) {
                Some(Thumbnail { outcome: Outcome::Without(reason), .. }) => {
                    return Ok(Loaded::Without(self.without(*reason, &record).await));
                }
                Some(Thumbnail { outcome: Outcome::Ready(stored), version, .. }) => {
                    if let Some(bytes) = self.stored(stored).await? {
                        let version = if current { &self.versions[size] } else { version };
                        let ready = Ready {
                            etag: format!("\"{version}-{}\"", crc::of(&bytes)),
                            bytes,
                            content_type: stored.content_type.clone(),
                            version: version.clone(),
                        };
                        let ready = Arc::new(ready);
                        if current {
                            self.hot.put((file, size), tenant, &stored.key, &ready);
                        }
                        return Ok(Loaded::Ready(ready));
                    }
                    vanished += 1;
                    if vanished > VANISHED_MAX {
                        let gone = format!("blob {} of store {} vanishes", stored.key, stored.store);
                        return Err(Error::internal("the thumbnail cannot be read", gone));
                    }
                    self.lose(tenant, file, size, &stored.key).await?;
                    asked = None;
                }
                None if !record.is_picture() => {
                    return Ok(Loaded::Without(Without { reason: Reason::NotAnImage, pixels: None }));
                }
                None if asked.is_none() => {
                    flight.will_take_time()?;
                    self.ask_for(tenant, file).await?;
                    asked = Some(row);
                }
                None => {
                    drop(tokio::time::timeout(pause, flight.news()).await);
                    if let Some(trouble) = flight.trouble() {
                        return Ok(Loaded::Failed(trouble));
                    }
                    pause = (pause * 2).min(LOOK_AGAIN_MAX);
                }
            }
        }
    }

    /// What is known of it, from the nearest tier.
    async fn glance(&self, tenant: &TenantId, file: FileId, size: usize) -> Result<Look> {
        let record = self.files.record(&Principal::service(tenant.clone()), file).await?.value;
        let row = record.thumbnails.iter().find(|row| row.size == self.sizes[size].name).cloned();
        Ok(Look { file: record.file.clone(), row })
    }

    /// What the database says of it now.
    async fn look(&self, tenant: &TenantId, file: FileId, size: usize) -> Result<Look> {
        let (tenant, name) = (tenant.clone(), self.sizes[size].name.clone());
        let looked = self.db.read(move |c| {
            Box::pin(async move {
                let Some(record) = files::get(c, &tenant, file).await? else { return Ok(None) };
                let row = thumbnails::get(c, &tenant, file, &name).await?;
                Ok(Some(Look { file: record, row }))
            })
        });
        looked.await?.ok_or_else(|| Error::new(Code::FileNotFound, format!("there is no file `{file}`")))
    }

    /// Its bytes; `None` if they are not in the store, or not all of them.
    async fn stored(&self, stored: &Stored) -> Result<Option<bytes::Bytes>> {
        fetch::blob(self.stores.named(&stored.store)?.as_ref(), &stored.key, stored.bytes).await
    }

    /// The blob `key` is gone: the thumbnail is to be made again, unless that has happened meanwhile.
    async fn lose(&self, tenant: &TenantId, file: FileId, size: usize, key: &BlobKey) -> Result<()> {
        tracing::warn!(file.id = %file, %key, "a thumbnail of file {file} is not in its store any more, it is made again");
        let (owner, name, key) = (tenant.clone(), self.sizes[size].name.clone(), key.clone());
        let lost = self.db.write(Urgency::Normal, move |c| {
            let (tenant, name, key) = (owner.clone(), name.clone(), key.clone());
            Box::pin(async move {
                let row = thumbnails::get(c, &tenant, file, &name).await?;
                let same =
                    |row: &Thumbnail| matches!(&row.outcome, Outcome::Ready(stored) if stored.key == key);
                if row.as_ref().is_some_and(same) {
                    thumbnails::lose(c, &tenant, file, &name).await?;
                }
                Ok(())
            })
        });
        lost.await?;
        self.files.note_change(tenant, [file]).await;
        Ok(())
    }

    /// Somebody waits for the file's thumbnails.
    async fn ask_for(&self, tenant: &TenantId, file: FileId) -> Result<()> {
        let now = self.clock.now();
        self.jobs.add(NewJob::thumbnails(tenant, file, JobUrgency::Awaited, now)).await
    }

    /// What can be said of a picture that has no thumbnails. How large one is that is too large is read from its head.
    async fn without(&self, reason: Reason, file: &File) -> Without {
        let pixels = if reason == Reason::TooLarge {
            let head = fetch::head(&self.files, file).await.ok();
            let probe = head.and_then(|head| imaging::probe(&head).ok());
            probe.map(|probe| u64::from(probe.width) * u64::from(probe.height))
        } else {
            None
        };
        Without { reason, pixels }
    }

    fn refusal(&self, file: FileId, without: Without) -> Error {
        let Without { reason, pixels } = without;
        let error = match reason {
            Reason::NotAnImage => return not_an_image(file),
            Reason::UnsupportedFormat => Error::new(
                Code::NotAnImage,
                format!("file `{file}` is a picture of a format that is not decoded here"),
            ),
            Reason::TooLarge => {
                let detail =
                    format!("the picture `{file}` takes more pixels or memory than one may take here");
                let error =
                    Error::new(Code::ImageTooLarge, detail).with("max_pixels", self.limits.pixels_max);
                match pixels {
                    Some(pixels) => error.with("pixels", pixels),
                    None => error,
                }
            }
            Reason::Corrupt => Error::new(
                Code::ImageUndecodable,
                format!("the picture `{file}` is broken: it cannot be decoded"),
            ),
            Reason::TimedOut => Error::new(
                Code::ImageUndecodable,
                format!("the picture `{file}` takes longer to decode than one may take here"),
            ),
            Reason::Crashed => {
                Error::new(Code::ImageUndecodable, format!("the picture `{file}` cannot be decoded"))
            }
        };
        error.with("reason", reason.as_str())
    }
}

pub(super) fn not_an_image(file: FileId) -> Error {
    Error::new(Code::NotAnImage, format!("file `{file}` is no picture of a known format"))
        .with("reason", Reason::NotAnImage.as_str())
}
