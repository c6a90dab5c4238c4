//! `file_upload`: what uploads may be, how safe they are kept, and the store for their bytes.
//! Called by `Config::read`.

use std::path::Path;
use std::time::Duration;

use super::fault::Problem;
use super::reader::Reader;
use super::size::{ByteSize, MinFree};
use super::storage::{Backend, Storage};
use super::value::Choice;

/// Section `file_upload`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUpload {
    /// The largest file that is accepted.
    pub max_file_size: ByteSize,
    /// Bytes of a chunk when the client has no wish, 64 KiB to 1 GiB.
    pub chunk_size: ByteSize,
    /// Above this size our client uploads by chunks instead of in one request.
    pub chunked_above: ByteSize,
    /// An upload ends this long after its last receipt; never longer than `session_max_age`.
    pub session_idle_ttl: Duration,
    /// An upload ends this long after its creation at the latest.
    pub session_max_age: Duration,
    /// Who asks for an upload's end is answered in this time, done or not.
    pub finalize_wait: Duration,
    /// What the filesystem of the store must keep free.
    pub min_free: MinFree,
    /// When bytes are forced to the disk.
    pub durability: Durability,
    /// Which digests are computed.
    pub checksum: ChecksumPolicy,
    /// Chunks without a declared digest are refused.
    pub require_chunk_checksum: bool,
    /// Room for parts on their way to an object store, of all requests; a tenant holds at most half, a part a quarter.
    pub parts_in_flight: ByteSize,
    /// Where the bytes of new files go.
    pub storage: Storage,
    /// Where bytes went before, by name: those that are there stay readable.
    pub other_stores: Vec<Storage>,
}

/// When the bytes and receipts of an upload are forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Never: the system writes when it likes.
    None,
    /// Before a file becomes visible.
    Finalize,
    /// Before each chunk is acknowledged.
    Chunk,
}

/// Which digests are computed. CRC64NVME is computed of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumPolicy {
    /// SHA-256 too where the bytes pass by in order, or where it is asked for.
    Auto,
    /// SHA-256 of every file.
    Sha256,
    /// SHA-256 only where it is asked for.
    Crc64Nvme,
}

/// Files are cut into at most a million chunks of at most a gibibyte.
const MAX_FILE_BYTES: u64 = 1_000_000 << 30;
/// A quarter of it is the largest part, and S3 takes none under 5 MiB but the last.
const PARTS_IN_FLIGHT_MIN: u64 = 20 << 20;
/// Whose members are other stores.
const OTHER_STORES: &str = "file_upload.other_stores";

impl FileUpload {
    pub(super) fn read(from: &mut Reader<'_>, data_dir: &Path) -> Self {
        let mut read = Self {
            max_file_size: from.take("max_file_size", "5TiB", "larger files are refused"),
            chunk_size: from.take("chunk_size", "8MiB", "when the client has no wish; 64KiB to 1GiB"),
            chunked_above: from.take("chunked_above", "10MB", "`cifra upload` sends larger files by chunks"),
            session_idle_ttl: from.take(
                "session_idle_ttl",
                "24h",
                "an upload expires after this long without a chunk",
            ),
            session_max_age: from.take(
                "session_max_age",
                "7d",
                "an upload expires after this long at the latest",
            ),
            finalize_wait: from.take(
                "finalize_wait",
                "20s",
                "then finalize answers 202, and is to be asked again",
            ),
            min_free: from.take("min_free", "5%", "of the store's filesystem stays free: a share or bytes"),
            durability: from.take(
                "durability",
                "finalize",
                "bytes reach the disk before a file is visible or a chunk counts",
            ),
            checksum: from.take("checksum", "auto", "SHA-256 where cheap, always, or only when asked for"),
            require_chunk_checksum: from.take(
                "require_chunk_checksum",
                "false",
                "true = refuse chunks without a digest",
            ),
            parts_in_flight: from.take(
                "parts_in_flight",
                "256MiB",
                "memory for parts on their way to an object store; a part has at most a quarter",
            ),
            storage: from.section("storage", |from| Storage::read(from, data_dir, None)),
            other_stores: Vec::new(),
        };
        read.other_stores = from.named_sections(
            "other_stores",
            "NAME: { backend: …, … } as in storage: files that were kept there before stay readable",
            &read.storage.name,
            |from, name| Storage::read(from, data_dir, Some(name)),
        );
        read.check(from);
        read.check_stores(from);
        read
    }

    fn check(&self, from: &mut Reader<'_>) {
        from.check(
            &["file_upload.max_file_size"],
            (1..=MAX_FILE_BYTES).contains(&self.max_file_size.bytes()),
            "1 byte to 1000000GiB",
        );
        from.check(
            &["file_upload.chunk_size"],
            (64 << 10..=1 << 30).contains(&self.chunk_size.bytes()),
            "64KiB to 1GiB",
        );
        from.check(
            &["file_upload.parts_in_flight"],
            self.parts_in_flight.bytes() >= PARTS_IN_FLIGHT_MIN,
            "at least 20MiB",
        );
        from.check(
            &["file_upload.storage.s3.min_part_size", "file_upload.parts_in_flight"],
            self.storage.backend != Backend::S3
                || self.storage.s3.min_part_size.bytes() <= self.parts_in_flight.bytes() / 4,
            "min_part_size at most a quarter of parts_in_flight",
        );
        from.check(&["file_upload.session_idle_ttl"], !self.session_idle_ttl.is_zero(), "more than zero");
        from.check(
            &["file_upload.session_max_age", "file_upload.session_idle_ttl"],
            self.session_max_age >= self.session_idle_ttl,
            "session_max_age not shorter than session_idle_ttl",
        );
    }

    /// Each store has a name of its own, and a folder of its own.
    fn check_stores(&self, from: &mut Reader<'_>) {
        let path = |store: &Storage| format!("{OTHER_STORES}.{}", store.name.as_str());
        for store in self.other_stores.iter().filter(|store| store.name == self.storage.name) {
            let problem = Problem::WrongValue {
                found: format!("the name of file_upload.storage, {}", store.name.as_str()),
                expected: "another name for each store".to_owned(),
            };
            from.refuse_section(&path(store), problem);
        }
        let default = std::iter::once((&self.storage, "file_upload.storage".to_owned()));
        let stores: Vec<_> =
            default.chain(self.other_stores.iter().map(|store| (store, path(store)))).collect();
        for (place, (store, path)) in stores.iter().enumerate() {
            for (earlier, earlier_path) in &stores[..place] {
                let keys = [path, earlier_path].map(|path| format!("{path}.local.root"));
                from.check(
                    &[&keys[0], &keys[1]],
                    !store.shares_folder_with(earlier),
                    "a folder of its own for each local store, none inside another's",
                );
            }
        }
    }
}

impl Choice for Durability {
    const ALL: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("finalize", Self::Finalize), ("chunk", Self::Chunk)];
}

impl Choice for ChecksumPolicy {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("sha256", Self::Sha256), ("crc64nvme", Self::Crc64Nvme)];
}
