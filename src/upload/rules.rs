//! What an operator allows, as uploads need it. Read from the configuration by `app`.

use std::time::Duration;

use crate::config::{ChecksumPolicy, Durability, FileUpload};

/// A node may be stopped for this long and still publish what it has taken in.
const ANNOUNCED_FOR: Duration = Duration::from_hours(1);

/// What an operator allows.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Larger files are refused.
    pub max_file_bytes: u64,
    /// The chunk size of clients without a wish.
    pub chunk_size_bytes: u64,
    /// A session without receipts ends after this long.
    pub idle_ttl: Duration,
    /// A session ends this long after its creation at the latest.
    pub max_age: Duration,
    /// Who asks for an upload's end is answered in this time, done or not.
    pub finalize_wait: Duration,
    /// Which digests are computed.
    pub checksum: ChecksumPolicy,
    /// Bytes without a digest are refused.
    pub require_chunk_checksum: bool,
    /// When bytes and rows are forced to the disk.
    pub durability: Durability,
    /// Bytes of files that come in one request are announced to be removed after this long, again and again while they
    /// come ([`crate::blob::Leftovers::Announced`]).
    pub announced_for: Duration,
}

impl From<&FileUpload> for Rules {
    fn from(config: &FileUpload) -> Self {
        Self {
            max_file_bytes: config.max_file_size.bytes(),
            chunk_size_bytes: config.chunk_size.bytes(),
            idle_ttl: config.session_idle_ttl,
            max_age: config.session_max_age,
            finalize_wait: config.finalize_wait,
            checksum: config.checksum,
            require_chunk_checksum: config.require_chunk_checksum,
            durability: config.durability,
            announced_for: ANNOUNCED_FOR,
        }
    }
}
