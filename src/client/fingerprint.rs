//! How an upload is recognized after an interruption: a fingerprint of the file, kept in the session's metadata.
//!
//! It covers what says "the same file, unchanged" without reading it: absolute path, size, modification time and
//! inode, with the name under which it is stored, and a salt so that it is no other program's hash. The machine's
//! name is not in it: it changes with DHCP leases and containers. Two machines whose files agree in all of this
//! would share a session, which is harmless: every chunk is compared, and the whole file's checksum at the end.

use sha2::{Digest, Sha256};

/// Names the recipe: another one would be another salt.
const SALT: &[u8] = b"cifra upload fingerprint 1";

/// What a file looked like at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// In bytes.
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    pub(super) modified_nanos: i128,
    /// The number of the file in its file system: another one was put in its place if this differs.
    pub(super) inode: u64,
}

impl Identity {
    /// From what the file system says.
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let modified_nanos = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { size: metadata.len(), modified_nanos, inode: metadata.ino() }
    }
}

/// 32 hex digits that are the same whenever the same file, unchanged, is to be stored under the same `label`.
///
/// `path` is absolute and without symbolic links, as bytes; `label` is what tells the same file stored twice apart.
pub(super) fn fingerprint(path: &[u8], label: &str, identity: &Identity) -> String {
    let mut hasher = Sha256::new();
    // Each part comes with its length: no two lists of parts look alike.
    for part in [
        SALT,
        path,
        label.as_bytes(),
        &identity.size.to_be_bytes(),
        &identity.modified_nanos.to_be_bytes(),
        &identity.inode.to_be_bytes(),
    ] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(&hasher.finalize()[..16])
}
