//! One store: its name, its kind, and the keys of each kind. Read once for `file_upload.storage` and once for each
//! of `file_upload.other_stores`. Called by `FileUpload::read`.

use std::path::{Path, PathBuf};

use super::object_storage::{Azure, Gcs, S3};
use super::reader::Reader;
use super::value::{Choice, Refusal, Value};

/// Section `file_upload.storage`, or one of those in `file_upload.other_stores`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// What rows remember this store by.
    pub name: StoreName,
    /// The kind of store.
    pub backend: Backend,
    /// Of [`Backend::Local`].
    pub local: LocalStorage,
    /// Of [`Backend::S3`].
    pub s3: S3,
    /// Of [`Backend::Azure`].
    pub azure: Azure,
    /// Of [`Backend::Gcs`].
    pub gcs: Gcs,
}

/// Section `file_upload.storage.local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalStorage {
    /// Absolute folder of the blobs; `null` in the file stands for `blobs` in the data folder.
    pub root: PathBuf,
}

/// The kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A folder on this machine.
    Local,
    /// Amazon S3, or what speaks its language.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Gcs,
    /// The memory of this process, for tests.
    Memory,
}

/// A store's name: 1 to 64 lower-case letters, digits, `-` and `_`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoreName(String);

impl Storage {
    /// Reads the keys of a store; its name is one of them unless it is `named` by its section.
    pub(super) fn read(from: &mut Reader<'_>, data_dir: &Path, named: Option<StoreName>) -> Self {
        let backend = from.take("backend", "local", "where bytes are kept");
        let backend_name = match backend {
            Backend::Local => "local",
            Backend::S3 => "s3",
            Backend::Azure => "azure",
            Backend::Gcs => "gcs",
            Backend::Memory => "memory",
        };
        Self {
            backend,
            name: named.unwrap_or_else(|| {
                from.derived(
                    "name",
                    StoreName(backend_name.to_owned()),
                    "what the database remembers this store by; null = the backend's name",
                )
            }),
            local: from.section("local", |from| LocalStorage {
                root: from.derived("root", data_dir.join("blobs"), "folder; null = blobs in data_dir"),
            }),
            s3: from.section("s3", |from| S3::read(from, backend == Backend::S3)),
            azure: from.section("azure", |from| Azure::read(from, backend == Backend::Azure)),
            gcs: from.section("gcs", |from| Gcs::read(from, backend == Backend::Gcs)),
        }
    }

    /// Whether both are folders, the same or one inside the other.
    pub(super) fn shares_folder_with(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.local.root, &other.local.root);
        let local = self.backend == Backend::Local && other.backend == Backend::Local;
        local && (mine.starts_with(theirs) || theirs.starts_with(mine))
    }
}

impl Choice for Backend {
    const ALL: &'static [(&'static str, Self)] = &[
        ("local", Self::Local),
        ("s3", Self::S3),
        ("azure", Self::Azure),
        ("gcs", Self::Gcs),
        ("memory", Self::Memory),
    ];
}

impl StoreName {
    /// The name as rows have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for StoreName {
    fn expected() -> String {
        "1 to 64 lower-case letters, digits, - and _, beginning with a letter or digit".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        let within = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if text.is_empty() || text.len() > 64 || !text.chars().all(within) || text.starts_with(['-', '_']) {
            return Err(Refusal::Malformed);
        }
        Ok(Self(text.to_owned()))
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}
