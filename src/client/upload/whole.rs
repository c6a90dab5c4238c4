//! A small file goes up in one request.
//!
//! The server keeps the file's fingerprint as metadata: a run that comes again finds what an earlier one stored. The
//! request has an `Idempotency-Key`, so that an answer that was lost is given again, and no second file is made.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::chunks::{GARBLED_MAX, Meter};
use super::source::{Chunk, Source};
use super::{Item, Resume, Uploaded, Uploader, blocking, metadata_of};
use crate::base::ByteRange;
use crate::base::crc::Crc64;
use crate::base::digest::Checksum;
use crate::client::files::NewFile;
use crate::client::{Event, FileRecord, Observer, Result};

impl Uploader {
    /// Uploads `source` whole.
    ///
    /// # Errors
    /// Those of [`Uploader::upload`].
    pub(super) async fn upload_whole(
        &self,
        item: &Item,
        source: &Arc<Source>,
        observer: &Observer,
    ) -> Result<Uploaded> {
        let _permit = self.permits.acquire().await;
        observer(Event::Started(source.size()));
        let fingerprint = source.fingerprint(item.folder_path.as_ref().unwrap_or(&item.filename));
        let metadata = metadata_of(item, &fingerprint);
        let mut garbled = 0;
        loop {
            let chunk = self.load(source).await?;
            let crc = chunk.as_ref().map_or(Crc64::EMPTY, |chunk| chunk.crc);
            if self.options.resume == Resume::Yes
                && let Some(file) = self.stored(&fingerprint, source.size(), crc, observer).await?
            {
                observer(Event::Found(source.size()));
                return Ok(Uploaded { file, was_there: true });
            }
            // The same for repeats of one request, another one for what may be other bytes.
            let key = uuid::Uuid::new_v4().to_string();
            let new = NewFile {
                filename: &item.filename,
                size: source.size(),
                crc,
                metadata: &metadata,
                idempotency_key: &key,
            };
            let post = async || self.post(&new, source, chunk.as_ref(), observer).await;
            match self.client.patiently(observer, post).await {
                Ok(file) => {
                    // What was read may be of two versions of the file.
                    if let Err(changed) = source.check_unchanged() {
                        let _ = self.client.delete_file(file.id).await;
                        return Err(changed);
                    }
                    return Ok(Uploaded { file, was_there: false });
                }
                Err(error) if error.is("checksum-mismatch") && garbled < GARBLED_MAX => {
                    source.check_unchanged()?;
                    garbled += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All bytes, ready to be sent; `None` if there are none.
    async fn load(&self, source: &Arc<Source>) -> Result<Option<Chunk>> {
        let Some(range) = ByteRange::new(0, source.size()) else { return Ok(None) };
        let (source, buffers) = (Arc::clone(source), self.buffers.clone());
        blocking(move || source.load(range, &buffers)).await.map(Some)
    }

    /// The file that an earlier run stored, if it has these bytes.
    async fn stored(
        &self,
        fingerprint: &str,
        size: u64,
        crc: Crc64,
        observer: &Observer,
    ) -> Result<Option<FileRecord>> {
        let found = self.client.patiently(observer, async || self.client.files_of(fingerprint).await).await;
        // Whoever has an upload token sees no lists.
        let found = found.or_else(|error| if error.is("forbidden") { Ok(Vec::new()) } else { Err(error) })?;
        Ok(found.into_iter().find(|file| file.size == size && file.checksum == Checksum::Crc64Nvme(crc)))
    }

    /// One attempt.
    async fn post(
        &self,
        new: &NewFile<'_>,
        source: &Arc<Source>,
        chunk: Option<&Chunk>,
        observer: &Observer,
    ) -> Result<FileRecord> {
        let meter = Meter::new(observer);
        let body = match chunk {
            None => reqwest::Body::from(Vec::new()),
            Some(chunk) => reqwest::Body::wrap_stream(meter.watch(source.stream(chunk))),
        };
        let sent = self.client.create_file(new, body).await;
        let moved = meter.moved.load(Ordering::Relaxed);
        match &sent {
            // An answer that came before all bytes had left.
            Ok(_) if moved < new.size => observer(Event::Moved(new.size - moved)),
            Err(_) if moved > 0 => observer(Event::Lost(moved)),
            _ => {}
        }
        sent
    }
}
