//! Uploads over the protocols, timed: cifra's chunks, tus appends, plain PUT, the parts of S3.
//!
//! The same bytes in the same pieces over the same number of connections; what differs is what a protocol can
//! do. Connections are open and checksums computed before the clock starts; it stops when the server has
//! answered that everything is stored. Called by `scenario`; whether it *is* stored, `servers` checks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::garage::Garage;
use crate::http::{Connection, Request};
use crate::payload::{Payload, crc64};
use crate::servers::{Protocol, StoredFile};
use crate::{Result, fail};

/// How the bytes of a job are divided into files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One file over all connections, where the protocol can do that; tus sends one file a connection.
    OneFile,
    /// One file a connection.
    FilePerConnection,
}

/// What to send.
pub(crate) struct Job<'a> {
    pub(crate) payload: &'a Payload,
    pub(crate) protocol: Protocol,
    /// The object store, where the parts go straight into it.
    pub(crate) store: Option<&'a Garage>,
    pub(crate) address: SocketAddr,
    pub(crate) total_bytes: u64,
    pub(crate) chunk_bytes: u64,
    pub(crate) connections: usize,
    pub(crate) layout: Layout,
    /// Sets the files of one job apart from those of another.
    pub(crate) label: &'a str,
    pub(crate) deadline: Instant,
}

/// What came of it.
pub(crate) struct Uploaded {
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// The longest that a file took from the answer to its last chunk to being a file.
    pub(crate) finalize: Duration,
    pub(crate) chunks: u64,
    pub(crate) stored: Vec<StoredFile>,
    /// Where the first file can be downloaded.
    pub(crate) path: String,
}

/// One file as the server confirmed it.
struct Confirmed {
    finalize: Duration,
    stored: StoredFile,
    path: String,
}

/// Sends the job.
pub(crate) fn run(job: &Job<'_>) -> Result<Uploaded> {
    let opened: Result<Vec<_>> =
        (0..job.connections).map(|_| Connection::open(job.address, job.deadline)).collect();
    let mut connections = opened?;
    let sender = Sender::new(job);
    let share = job.total_bytes / job.connections as u64;
    let started = Instant::now();
    let files = match (job.protocol, job.layout) {
        (Protocol::Cifra, Layout::OneFile) => vec![sender.cifra_file(&mut connections, job.total_bytes)?],
        (Protocol::Cifra, Layout::FilePerConnection) => each(&mut connections, |_, connection| {
            sender.cifra_file(std::slice::from_mut(connection), share)
        })?,
        (Protocol::Tus, _) => {
            each(&mut connections, |number, connection| sender.tus_file(connection, share, number))?
        }
        (Protocol::Put, _) => vec![sender.put_files(&mut connections)?],
        (Protocol::Parts, _) => vec![sender.parts(&mut connections)?],
    };
    let elapsed = started.elapsed();
    let stored = match job.protocol {
        Protocol::Put => sender.put_stored(),
        Protocol::Cifra | Protocol::Tus | Protocol::Parts => files.iter().map(|file| file.stored).collect(),
    };
    Ok(Uploaded {
        elapsed,
        finalize: files.iter().map(|file| file.finalize).max().unwrap_or_default(),
        chunks: job.total_bytes.div_ceil(job.chunk_bytes),
        path: files.first().map(|file| file.path.clone()).unwrap_or_default(),
        stored,
    })
}

/// Runs `work` once for each connection, each in a thread of its own.
pub(crate) fn each<T: Send>(
    connections: &mut [Connection],
    work: impl Fn(usize, &mut Connection) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = connections
            .iter_mut()
            .enumerate()
            .map(|(number, connection)| scope.spawn(move || work(number, connection)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| fail("a load thread panicked".to_owned())))
            .collect()
    })
}

struct Sender<'a> {
    job: &'a Job<'a>,
    /// `X-Checksum-Crc64nvme` by chunk, see [`Payload::chunk_headers`].
    checksums: Vec<String>,
    /// CRC of each size of file that this job makes.
    whole: StoredFile,
    share: StoredFile,
}

impl<'a> Sender<'a> {
    fn new(job: &'a Job<'a>) -> Self {
        let stored = |size| StoredFile { size, crc64: job.payload.file_crc64(size) };
        let checksums = match job.protocol {
            Protocol::Cifra => job.payload.chunk_headers(job.chunk_bytes),
            Protocol::Tus | Protocol::Put | Protocol::Parts => Vec::new(),
        };
        let share = stored(job.total_bytes / job.connections as u64);
        Self { job, checksums, whole: stored(job.total_bytes), share }
    }

    fn chunk(&self, index: u64, file_size: u64) -> &[u8] {
        self.job.payload.chunk(index, self.job.chunk_bytes, file_size)
    }

    /// Init, chunks as fast as the connections take them, finalize.
    fn cifra_file(&self, connections: &mut [Connection], size: u64) -> Result<Confirmed> {
        let wish =
            json!({ "filename": self.job.label, "total_size": size, "chunk_size": self.job.chunk_bytes });
        let upload = json_call(&mut connections[0], "/api/uploads", wish.to_string().as_bytes())?;
        if upload["chunk_size"].as_u64() != Some(self.job.chunk_bytes) {
            return fail(format!("the server chose another chunk size: {upload}"));
        }
        let base = format!("/api/uploads/{}", text(&upload, "upload_id")?);
        let count = size.div_ceil(self.job.chunk_bytes);
        let next = AtomicU64::new(0);
        each(connections, |_, connection| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok(());
                }
                let checksum = &self.checksums[usize::try_from(index)? % self.checksums.len()];
                connection.expect(
                    200,
                    &Request {
                        method: "PUT",
                        path: &format!("{base}/chunks/{index}"),
                        headers: &[("X-Checksum-Crc64nvme", checksum)],
                        body: self.chunk(index, size),
                    },
                )?;
            }
        })?;
        let last_chunk = Instant::now();
        let file = json_call(&mut connections[0], &format!("{base}/finalize"), b"")?;
        let finalize = last_chunk.elapsed();
        let expected = if size == self.whole.size { self.whole } else { self.share };
        let claimed = text(&file, "crc64nvme")?;
        if claimed.strip_prefix("crc64nvme:").unwrap_or(claimed) != format!("{:016x}", expected.crc64) {
            return fail(format!("the server says {claimed}, sent were {:016x}", expected.crc64));
        }
        let path = format!("/api/files/{}/content", text(&file, "id")?);
        Ok(Confirmed { finalize, stored: expected, path })
    }

    /// Creation, then one PATCH after the other; the answer to the last one completes the file.
    fn tus_file(&self, connection: &mut Connection, size: u64, number: usize) -> Result<Confirmed> {
        let name = BASE64.encode(format!("{}-{number}", self.job.label));
        let headers = [
            ("Tus-Resumable", "1.0.0"),
            ("Upload-Length", &size.to_string()),
            ("Upload-Metadata", &format!("filename {name}")),
        ];
        let create = Request { method: "POST", path: "/files", headers: &headers, body: &[] };
        let (head, _) = connection.expect(201, &create)?;
        let path = match head.header("location") {
            Some(location) => path_of(location),
            None => return fail("the creation answered no Location".to_owned()),
        };
        let mut offset = 0;
        for index in 0..size.div_ceil(self.job.chunk_bytes) {
            let body = self.chunk(index, size);
            let headers = [
                ("Tus-Resumable", "1.0.0"),
                ("Content-Type", "application/offset+octet-stream"),
                ("Upload-Offset", &offset.to_string()),
            ];
            let append = Request { method: "PATCH", path: &path, headers: &headers, body };
            let (head, _) = connection.expect(204, &append)?;
            offset += body.len() as u64;
            if head.header("upload-offset") != Some(&offset.to_string()) {
                return fail(format!("offset {:?} after {offset} bytes", head.header("upload-offset")));
            }
        }
        Ok(Confirmed { finalize: Duration::ZERO, stored: self.share, path })
    }

    /// Each chunk as a file of its own: as many requests of the same sizes as the others get.
    fn put_files(&self, connections: &mut [Connection]) -> Result<Confirmed> {
        let Job { total_bytes, chunk_bytes, label, .. } = *self.job;
        let count = total_bytes.div_ceil(chunk_bytes);
        let next = AtomicU64::new(0);
        each(connections, |_, connection| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok(());
                }
                let path = format!("/{label}-{index}");
                let body = self.chunk(index, total_bytes);
                connection.expect(201, &Request { method: "PUT", path: &path, headers: &[], body })?;
            }
        })?;
        Ok(Confirmed { finalize: Duration::ZERO, stored: self.whole, path: format!("/{label}-0") })
    }

    /// The parts of one multipart upload, straight to the store; signing them is not what is measured, so it is done
    /// while no clock of a server runs that could be compared.
    fn parts(&self, connections: &mut [Connection]) -> Result<Confirmed> {
        let Job { total_bytes, chunk_bytes, label, store, .. } = *self.job;
        let Some(garage) = store else { return fail("there is no store to send parts to".to_owned()) };
        let parts = garage.begin(label, total_bytes.div_ceil(chunk_bytes))?;
        let (next, etags) = (AtomicU64::new(0), Mutex::new(vec![String::new(); parts.paths.len()]));
        each(connections, |_, connection| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(path) = parts.paths.get(usize::try_from(index)?) else { return Ok(()) };
                let request =
                    Request { method: "PUT", path, headers: &[], body: self.chunk(index, total_bytes) };
                let (head, _) = connection.expect(200, &request)?;
                let etag = head.header("etag").unwrap_or_default().to_owned();
                etags.lock().unwrap_or_else(PoisonError::into_inner)[usize::try_from(index)?] = etag;
            }
        })?;
        let last_part = Instant::now();
        garage.complete(&parts, etags.into_inner().unwrap_or_else(PoisonError::into_inner))?;
        Ok(Confirmed { finalize: last_part.elapsed(), stored: self.whole, path: String::new() })
    }

    /// The files that [`Self::put_files`] made.
    fn put_stored(&self) -> Vec<StoredFile> {
        let chunks = 0..self.job.total_bytes.div_ceil(self.job.chunk_bytes);
        let chunks = chunks.map(|index| self.chunk(index, self.job.total_bytes));
        chunks.map(|chunk| StoredFile { size: chunk.len() as u64, crc64: crc64(chunk) }).collect()
    }
}

fn json_call(connection: &mut Connection, path: &str, body: &[u8]) -> Result<Value> {
    let headers = [("Content-Type", "application/json")];
    let headers = if body.is_empty() { &headers[..0] } else { &headers[..] };
    let (_, answer) = connection.expect(201, &Request { method: "POST", path, headers, body })?;
    Ok(serde_json::from_slice(&answer)?)
}

fn text<'v>(value: &'v Value, key: &str) -> Result<&'v str> {
    value[key].as_str().map_or_else(|| fail(format!("no `{key}` in {value}")), Ok)
}

/// The path of a `Location`, absolute or not.
fn path_of(location: &str) -> String {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
        None => location.to_owned(),
    }
}
