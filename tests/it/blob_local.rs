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

macro_rules! suite {
    ($suite:ident: $($name:ident)*) => {
        mod $suite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    use cifra::config::Durability;
                    for durability in [Durability::None, Durability::Finalize, Durability::Chunk] {
                        let home = super::Home::with(durability).await;
                        crate::suites::$suite::$name(&home.store).await;
                        assert_eq!(super::names(&home.path("tmp")), [""; 0], "{durability:?}");
                    }
                }
            )*
        }
    };
}

suite! { blob_store:
    what_was_put_is_got
    a_length_need_not_be_announced
    ranges_are_exact
    what_is_missing_is_none
    an_empty_blob_is_a_blob
    a_put_replaces_what_was_there
    a_reader_is_not_disturbed_by_a_put
    a_failed_put_changes_nothing
    a_delete_can_be_repeated
    a_list_has_what_lies_below_its_prefix
}

suite! { part_store:
    parts_come_in_any_order_and_again
    parts_come_at_once
    a_part_may_be_written_over
    complete_can_be_repeated
    complete_may_be_called_at_once
    fewer_bytes_are_not_completed
    nothing_becomes_an_empty_blob
    an_abandoned_upload_leaves_nothing
    a_completed_upload_can_be_abandoned
    too_long_a_body_is_refused
    a_broken_body_says_how
    a_dropped_write_leaves_the_others_whole
    a_shorter_body_is_taken
    staged_bytes_are_read_or_not_to_be_had
    uploads_do_not_meet
    the_smallest_parts_allowed_are_taken
}
