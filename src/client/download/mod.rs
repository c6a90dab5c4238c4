//! Downloads a file: into `NAME.part` beside its target, verified as a whole, then renamed.
//!
//! An interrupted download goes on from the end of the `.part` file, whose bytes are hashed again; should they be
//! another file's, the whole does not verify, and it is fetched anew from its first byte. A finished target therefore
//! has every byte that the server promised. `name` makes a harmless filename, `part` is the file on the way.

mod name;
mod part;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::StatusCode;
use sha2::{Digest, Sha256};

use super::{Client, Error, Event, FileRecord, Observer, Result};
use crate::base::crc::Crc64Hasher;
use crate::base::digest::Checksum;
use part::Part;

pub use name::safe_filename;

/// What may happen to a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays; the download fails.
    Keep,
    /// It is replaced, once the download is verified.
    Replace,
}

/// A server that sends nothing for so long is away.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Computes whichever checksum the file has.
enum Hasher {
    Crc64(Crc64Hasher),
    Sha256(Sha256),
}

impl Hasher {
    fn of(checksum: &Checksum) -> Self {
        match checksum {
            Checksum::Crc64Nvme(_) => Self::Crc64(Crc64Hasher::default()),
            Checksum::Sha256(_) => Self::Sha256(Sha256::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc64(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Checksum {
        match self {
            Self::Crc64(hasher) => Checksum::Crc64Nvme(hasher.finish()),
            Self::Sha256(hasher) => Checksum::Sha256(hasher.finalize().into()),
        }
    }
}

/// Downloads `file` to `target` and returns when it is there, whole and verified.
///
/// Cancel-safe: what came stays in `target.part`, and the next call goes on from there. Must run on a runtime of
/// several threads: writing and hashing block the calling one.
///
/// # Errors
/// [`Error::Exists`] if `target` is there and to be kept, or if another download writes it; [`Error::Damaged`] if the
/// bytes don't verify (they are removed); [`Error::GaveUp`] when the server stayed away.
pub async fn to_file(
    client: &Client,
    file: &FileRecord,
    target: &Path,
    existing: Existing,
    observer: &Observer,
) -> Result<()> {
    observer(Event::Started(file.size));
    if let Ok(there) = target.symlink_metadata() {
        if existing == Existing::Keep {
            return Err(Error::Exists(target.to_owned(), "exists already; --force replaces it"));
        }
        if !there.is_file() && !there.is_symlink() {
            // A device, a socket: a rename would put a file in its place.
            return Err(Error::Exists(target.to_owned(), "is not a file and can't be replaced by one"));
        }
    }
    let mut part = Part::open(target)?;
    let mut hasher = Hasher::of(&file.checksum);
    let mut resumed = tokio::task::block_in_place(|| part.resume(file.size, |bytes| hasher.update(bytes)))?;
    observer(Event::Found(resumed));
    loop {
        fetch(client, file, &mut hasher, &mut part, observer).await?;
        let actual = hasher.finish();
        if actual == file.checksum {
            return tokio::task::block_in_place(|| part.publish(target, existing));
        }
        if resumed == 0 {
            part.discard();
            return Err(Error::Damaged { expected: file.checksum.to_string(), actual: actual.to_string() });
        }
        let partial = part.path().display();
        observer(Event::Note(format!("{partial} was not the beginning of this file; starting over")));
        observer(Event::Started(file.size));
        part.restart()?;
        hasher = Hasher::of(&file.checksum);
        resumed = 0;
    }
}

/// Downloads `file` into `out`, in order; nothing is kept for a later run.
///
/// # Errors
/// As [`to_file`]; when the bytes don't verify they have been written all the same.
pub async fn to_writer(
    client: &Client,
    file: &FileRecord,
    out: &mut (dyn Write + Send),
    observer: &Observer,
) -> Result<()> {
    observer(Event::Started(file.size));
    let mut hasher = Hasher::of(&file.checksum);
    fetch(client, file, &mut hasher, &mut Plain { out, position: 0 }, observer).await?;
    let actual = hasher.finish();
    if actual == file.checksum {
        return Ok(());
    }
    Err(Error::Damaged { expected: file.checksum.to_string(), actual: actual.to_string() })
}

/// The name under which `file` is saved in a folder when the user gives none.
pub fn target_in(folder: &Path, file: &FileRecord) -> PathBuf {
    folder.join(safe_filename(&file.filename, &file.id.to_string()))
}

/// Where bytes go, in order.
trait Sink {
    /// How many it has.
    fn position(&self) -> u64;
    /// Takes the next ones.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;
}

/// A stream that can't be taken up again by a later run.
struct Plain<'a> {
    out: &'a mut (dyn Write + Send),
    position: u64,
}

impl Sink for Plain<'_> {
    fn position(&self) -> u64 {
        self.position
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let doing = || "writing the output".to_owned();
        self.out.write_all(bytes).map_err(|source| Error::Local { doing: doing(), source })?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// Fetches everything after what `sink` has, through any number of interruptions.
async fn fetch(
    client: &Client,
    file: &FileRecord,
    hasher: &mut Hasher,
    sink: &mut dyn Sink,
    observer: &Observer,
) -> Result<()> {
    while sink.position() < file.size {
        let before = sink.position();
        let outcome = client.patiently(observer, async || {
            match fetch_once(client, file, hasher, sink, observer).await {
                // What came counts: patience is for a server that gives nothing.
                Err(error) if error.passes() && sink.position() > before => Ok(()),
                settled => settled,
            }
        });
        outcome.await?;
    }
    Ok(())
}

async fn fetch_once(
    client: &Client,
    file: &FileRecord,
    hasher: &mut Hasher,
    sink: &mut dyn Sink,
    observer: &Observer,
) -> Result<()> {
    let start = sink.position();
    let response = client.content(file, start).await?;
    // A 200 has all bytes, also those that are here (a proxy without ranges): they are skipped.
    let mut skip = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { start };
    let mut body = response.bytes_stream();
    loop {
        let frame = tokio::time::timeout(SILENCE_TIMEOUT, body.next()).await;
        let Some(frame) = frame.map_err(|_| Error::NoAnswer("no bytes came for too long".to_owned()))? else {
            break;
        };
        let mut bytes = frame.map_err(|error| Error::no_answer(&error))?;
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
        skip -= bytes.split_to(skipped).len() as u64;
        if bytes.is_empty() {
            continue;
        }
        if sink.position() + bytes.len() as u64 > file.size {
            return Err(Error::Foreign("more bytes came than the file has".to_owned()));
        }
        tokio::task::block_in_place(|| {
            hasher.update(&bytes);
            sink.append(&bytes)
        })?;
        observer(Event::Moved(bytes.len() as u64));
    }
    if sink.position() < file.size {
        return Err(Error::NoAnswer("the answer ended before the file did".to_owned()));
    }
    Ok(())
}
