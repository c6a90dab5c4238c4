//! The local blob store: the suites that every store passes, and what only a folder can do or suffer.

use std::path::{Path, PathBuf};

use cifra::blob::BlobErrorKind;
use cifra::blob::local::{LocalOptions, LocalStore};
use cifra::config::{ByteSize, Durability, MinFree};

mod faults;
mod files;
mod full;
mod killed;

/// A lock that was let go is free in this time.
const LOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// A store in a folder of its own.
struct Home {
    folder: tempfile::TempDir,
    store: LocalStore,
}

impl Home {
    async fn new() -> Self {
        Self::with(Durability::Finalize).await
    }

    async fn with(durability: Durability) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(options(folder.path(), durability)).await.unwrap();
        Self { folder, store }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Stops and starts: everything that was only in memory is gone.
    async fn restart(self, durability: Durability) -> Self {
        let Self { folder, store } = self;
        drop(store);
        // A child that another test has just forked holds a copy of the lock until it executes its program.
        let begun = std::time::Instant::now();
        let store = loop {
            match LocalStore::open(options(folder.path(), durability)).await {
                Err(error)
                    if error.kind() == BlobErrorKind::Unavailable && begun.elapsed() < LOCK_PATIENCE =>
                {
                    tokio::task::yield_now().await;
                }
                opened => break opened.unwrap(),
            }
        };
        Self { folder, store }
    }

    /// The names of the files in `staging/` and `tmp/`.
    fn left_over(&self) -> Vec<String> {
        ["staging", "tmp"].iter().flat_map(|below| names(&self.path(below))).collect()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn options(root: &Path, durability: Durability) -> LocalOptions {
    LocalOptions { root: root.to_owned(), durability, min_free: MinFree::Bytes(ByteSize(0)) }
}

macro_rules! run {
    ($suite:ident, $name:ident) => {
        for durability in {
            use cifra::config::Durability;
            [Durability::None, Durability::Finalize, Durability::Chunk]
        } {
            let home = super::Home::with(durability).await;
            crate::suites::$suite::$name(&home.store).await;
            assert_eq!(super::names(&home.path("tmp")), [""; 0], "{durability:?}");
        }
    };
}
use run;

crate::suites::all_suites!(run);
