//! Uploads a file: a small one in one request (`whole`), others by chunks: finds the session or begins one, sends what
//! is missing, finalizes.
//!
//! In rounds, because the server knows best: each asks what is missing, sends it (and hashes what is there, for the
//! whole file's checksum), and finalizes when nothing is. Whatever was interrupted, here or there, is just a round
//! that finds less to do. `plan` is the arithmetic, `source` the file, `chunks` the sending; requests are repeated
//! by `retry`.

mod chunks;
mod plan;
mod source;
mod whole;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::api::{Finalized, NewUpload, WorkDone, Working};
use super::{Client, Error, Event, FileRecord, Observer, Result, Upload, UploadState};
use crate::base::crc::Crc64;
use crate::base::digest::Checksum;
use chunks::Checksums;
use plan::Layout;
use source::{Buffers, Source};

/// How to upload.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many chunks travel at a time, over all files; at least 1.
    pub parallel: usize,
    /// Whether to go on with what an earlier run left.
    pub resume: Resume,
    /// The size of chunks to wish for, in bytes; the server decides.
    pub chunk_size: Option<u64>,
    /// Larger files go up by chunks, others in one request; in bytes.
    pub chunked_above: u64,
}

/// What to do with an earlier upload of the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Go on with it.
    Yes,
    /// End it and start over.
    Fresh,
}

/// A file to upload.
#[derive(Debug, Clone)]
pub struct Item {
    /// Where it is.
    pub path: PathBuf,
    /// What it is to be called.
    pub filename: String,
    /// Its path within the uploaded folder; becomes `metadata.path`.
    pub folder_path: Option<String>,
}

/// How an upload ended well.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// The file on the server.
    pub file: FileRecord,
    /// Whether it was there already, whole, from an earlier run.
    pub was_there: bool,
}

/// Uploads files to one server; they share the parallel chunks and the memory.
#[derive(Debug)]
pub struct Uploader {
    client: Client,
    options: Options,
    /// One for each chunk on its way.
    permits: Semaphore,
    /// One for each chunk that is only hashed.
    hashers: Semaphore,
    buffers: Buffers,
}

/// How many chunks are hashed at a time that need not be sent.
const HASHERS: usize = 2;

/// A server that finds chunks missing again and again, after it had them, is broken.
const VAIN_ROUNDS_MAX: u32 = 20;

/// What a round led to.
enum Round {
    Done(FileRecord),
    /// The server's list of what is missing was shortened: ask for the rest.
    More,
    /// It should have been all, but was not: ask again what is missing.
    Again,
    /// The completed upload that was found is of other bytes.
    Differs,
}

/// One session and what is known of it here.
struct Session<'a> {
    upload: Upload,
    layout: Layout,
    source: &'a Arc<Source>,
    checksums: Checksums,
    observer: &'a Observer,
}

impl Uploader {
    /// Sends nothing yet.
    pub fn new(client: Client, options: Options) -> Self {
        let parallel = options.parallel.max(1);
        Self {
            client,
            permits: Semaphore::new(parallel),
            hashers: Semaphore::new(HASHERS),
            buffers: Buffers::new(parallel + HASHERS),
            options,
        }
    }

    /// Uploads one file, or the rest of it, and returns its record on the server.
    ///
    /// Cancel-safe: what was sent stays on the server, and the next call for the unchanged file goes on from there.
    ///
    /// # Errors
    /// [`Error::Changed`] if the file was edited meanwhile (the session is ended: its bytes are of no use);
    /// [`Error::GaveUp`] when the server stayed away; what the server refused; what could not be read.
    pub async fn upload(&self, item: &Item, observer: &Observer) -> Result<Uploaded> {
        let path = item.path.clone();
        let source = Arc::new(blocking(move || Source::open(&path)).await?);
        if source.size() <= self.options.chunked_above {
            return self.upload_whole(item, &source, observer).await;
        }
        let mut resume = self.options.resume;
        for last_try in [false, true] {
            match self.upload_once(item, &source, resume, observer).await {
                Err(error) if error.session_is_gone() && !last_try => {
                    observer(Event::Note(format!(
                        "{}: the upload session has ended on the server; starting over",
                        item.path.display()
                    )));
                    resume = Resume::Yes; // what is gone is not found again
                }
                // Edited without a trace in size, time and inode since it was stored: it is another file.
                Ok(None) => resume = Resume::Fresh,
                Ok(Some(uploaded)) => return Ok(uploaded),
                Err(error) => return Err(error),
            }
        }
        Err(Error::Foreign("upload sessions end as soon as they begin".to_owned()))
    }

    /// Uploads by one session; `None` if the one that was found is a file already, but of other bytes.
    async fn upload_once(
        &self,
        item: &Item,
        source: &Arc<Source>,
        resume: Resume,
        observer: &Observer,
    ) -> Result<Option<Uploaded>> {
        observer(Event::Started(source.size()));
        let upload = self.find_or_create(item, source, resume, observer).await?;
        let id = upload.upload_id;
        let was_there = upload.state == UploadState::Completed;
        let layout = Layout::of(&upload, source.size())?;
        let checksums = Checksums::new(layout.chunk_count());
        let mut session = Session { upload, layout, source, checksums, observer };
        let mut vain_rounds = 0;
        while vain_rounds < VAIN_ROUNDS_MAX {
            match self.round(&mut session).await {
                Ok(Round::Done(file)) => return Ok(Some(Uploaded { file, was_there })),
                Ok(Round::Differs) if was_there => return Ok(None),
                Ok(Round::Differs) => return Err(source.changed()),
                Ok(Round::More) => {}
                Ok(Round::Again) => vain_rounds += 1,
                // Its bytes are those of no version of the file: nobody can finish it.
                Err(Error::Changed(path)) => {
                    let _ = self.client.abort_upload(id).await;
                    return Err(Error::Changed(path));
                }
                Err(error) => return Err(error),
            }
            session.upload =
                self.client.patiently(observer, async || self.client.upload_status(id).await).await?;
        }
        Err(Error::Foreign(format!(
            "chunks of upload `{id}` are missing again and again after they were accepted"
        )))
    }

    /// One round: sends what is missing, hashes what is there, finalizes if that is all.
    async fn round(&self, session: &mut Session<'_>) -> Result<Round> {
        let missing = match session.upload.state {
            UploadState::Receiving => session.upload.missing.take().unwrap_or_default(),
            UploadState::Finalizing | UploadState::Completed => Vec::new(),
            _ => return Err(gone(&session.upload)),
        };
        let missing_count = match session.upload.state {
            UploadState::Receiving => session.upload.missing_count.unwrap_or(0),
            _ => 0,
        };
        let work = plan::work(&missing, missing_count, session.layout.chunk_count())?;
        match self.send_and_hash(session, &work).await {
            // Another run of ours was quicker, or an answer to finalize was lost.
            Err(error) if error.is("upload-finalized") => return Ok(Round::Again),
            settled => settled?,
        }
        session.source.check_unchanged()?;
        if !work.is_all {
            return Ok(Round::More);
        }
        let Some(crc) = session.checksums.combined(&session.layout) else { return Ok(Round::Again) };
        if session.upload.state == UploadState::Completed {
            return completed(session, crc);
        }
        self.finalize(session, crc).await
    }

    async fn finalize(&self, session: &Session<'_>, crc: Crc64) -> Result<Round> {
        let id = session.upload.upload_id;
        loop {
            let attempt = async || self.client.finalize(id, Checksum::Crc64Nvme(crc)).await;
            match self.client.patiently(session.observer, attempt).await {
                Ok(Finalized::Done(file)) => return Ok(Round::Done(file)),
                // The server works on it, however long that takes; it answers when it is away.
                Ok(Finalized::Working(Working { wait, progress })) => {
                    if let Some(WorkDone { done_bytes: done, total_bytes: total }) = progress {
                        (session.observer)(Event::Finishing { done, total });
                    }
                    tokio::time::sleep(wait).await;
                }
                Err(error) if error.is("upload-incomplete") => return Ok(Round::Again),
                Err(error) if error.is("checksum-mismatch") => return Err(session.source.changed()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The session of an earlier run, unless it is to start over, or a new one.
    async fn find_or_create(
        &self,
        item: &Item,
        source: &Source,
        resume: Resume,
        observer: &Observer,
    ) -> Result<Upload> {
        let client = &self.client;
        let fingerprint = source.fingerprint(item.folder_path.as_ref().unwrap_or(&item.filename));
        let found = client.patiently(observer, async || client.uploads_of(&fingerprint).await).await;
        // Whoever has an upload token sees no lists: there is nothing to go on with.
        let found = found.or_else(|error| if error.is("forbidden") { Ok(Vec::new()) } else { Err(error) })?;
        match resume {
            Resume::Fresh => {
                for old in found.iter().filter(|upload| upload.state == UploadState::Receiving) {
                    client.patiently(observer, async || client.abort_upload(old.upload_id).await).await?;
                }
            }
            Resume::Yes => {
                if let Some(upload) = self.resumable(found, source, observer).await? {
                    return Ok(upload);
                }
            }
        }
        let new = NewUpload {
            filename: &item.filename,
            total_size: source.size(),
            chunk_size: self.options.chunk_size,
            metadata: metadata_of(item, &fingerprint),
            idempotency_key: &uuid::Uuid::new_v4().to_string(),
        };
        client.patiently(observer, async || client.create_upload(&new).await).await
    }

    /// The newest session that can be gone on with, with what is missing of it.
    async fn resumable(
        &self,
        found: Vec<Upload>,
        source: &Source,
        observer: &Observer,
    ) -> Result<Option<Upload>> {
        let alive =
            found.into_iter().filter(|upload| upload.is_alive() && upload.total_size == Some(source.size()));
        // Ids sort by time.
        let Some(newest) = alive.max_by_key(|upload| upload.upload_id) else { return Ok(None) };
        let id = newest.upload_id;
        let status = self.client.patiently(observer, async || self.client.upload_status(id).await).await;
        match status {
            Ok(upload) if upload.is_alive() => Ok(Some(upload)),
            Ok(_) => Ok(None),
            Err(error) if error.session_is_gone() => Ok(None), // it ended between the two questions
            Err(error) => Err(error),
        }
    }
}

impl Upload {
    /// Whether it is, or can become, a file.
    fn is_alive(&self) -> bool {
        matches!(self.state, UploadState::Receiving | UploadState::Finalizing | UploadState::Completed)
    }
}

/// What is kept beside a file's bytes.
fn metadata_of(item: &Item, fingerprint: &str) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("fingerprint".to_owned(), fingerprint.into());
    metadata.extend(item.folder_path.clone().map(|path| ("path".to_owned(), path.into())));
    metadata
}

/// The file of a completed upload, if it has the bytes that are here.
fn completed(session: &Session<'_>, crc: Crc64) -> Result<Round> {
    let id = session.upload.upload_id;
    let json = session.upload.file.clone().filter(Value::is_object);
    let json = json.ok_or_else(|| Error::Foreign(format!("upload `{id}` is completed but has no file")))?;
    let file = FileRecord::from_json(json)?;
    match file.checksum {
        Checksum::Crc64Nvme(there) if there != crc => Ok(Round::Differs),
        _ => Ok(Round::Done(file)),
    }
}

/// What the server says for a session that has ended; here it is known from its state.
fn gone(upload: &Upload) -> Error {
    let problem = super::Problem {
        status: reqwest::StatusCode::GONE,
        code: "upload-gone".to_owned(),
        detail: format!("upload `{}` has ended", upload.upload_id),
        ..super::Problem::default()
    };
    Error::Problem(Box::new(problem))
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        Err(Error::Local { doing: "reading the file".to_owned(), source })
    })
}
