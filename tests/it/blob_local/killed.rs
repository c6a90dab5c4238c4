//! A process that is killed at each step: nothing half is visible, nothing is lost, everything can be repeated.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use cifra::base::ByteRange;
use cifra::blob::local::LocalStore;
use cifra::blob::{BlobStore, PartStore};
use cifra::config::Durability;
use cifra::telemetry::failpoint;

use super::{names, options};
use crate::child;
use crate::suites::part_store::Upload;
use crate::suites::{key, read};

const TEST: &str = "blob_local::killed::a_process_killed_at_any_step_leaves_all_or_nothing";

#[test]
fn a_process_killed_at_any_step_leaves_all_or_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(role) = child::role() {
        let (point, root) = role.split_once('=').unwrap();
        runtime.block_on(die_at(point, Path::new(root)));
        unreachable!("the process passed {point} alive");
    }
    for (point, check) in STEPS {
        let root = tempfile::tempdir().unwrap();
        let output = child::again(TEST, &format!("{point}={}", root.path().display()), &["env"]);
        assert_eq!(output.status.signal(), Some(9), "{point}: {output:?}");
        runtime.block_on(check_after(point, *check, root.path()));
    }
}

async fn die_at(point: &str, root: &Path) {
    let store = LocalStore::open(options(root, Durability::Finalize)).await.unwrap();
    let upload = Upload::begin(&store, "killed", 3).await;
    let mut tags = vec![upload.write(0).await, upload.write(2).await];
    failpoint::install(Some(&format!("{point}=kill"))).unwrap();
    tags.push(upload.write(1).await);
    if point.starts_with("blob.abandon") {
        store.abandon(&upload.key, &upload.parts).await.unwrap();
    }
    upload.complete(&tags).await.unwrap();
    store.delete(&upload.key).await.unwrap();
}

/// What must be found after the process died.
#[derive(Debug, Clone, Copy)]
enum Left {
    /// The parts that were written before, still invisible.
    Some,
    /// All parts, still invisible.
    All,
    /// The blob.
    Blob,
    /// Nothing.
    Nothing,
}

const STEPS: &[(&str, Left)] = &[
    ("blob.write.before_data", Left::Some),
    ("blob.write.after_data", Left::All),
    ("blob.complete.before_sync", Left::All),
    ("blob.complete.before_rename", Left::All),
    ("blob.complete.after_rename", Left::Blob),
    ("blob.delete.before_unlink", Left::Blob),
    ("blob.delete.after_unlink", Left::Nothing),
    ("blob.abandon.before_unlink", Left::All),
    ("blob.abandon.after_unlink", Left::Nothing),
];

async fn check_after(point: &str, left: Left, root: &Path) {
    let store = LocalStore::open(options(root, Durability::Finalize)).await.unwrap();
    let upload = Upload::begin(&store, "killed", 3).await;
    let strays = store.strays().await.unwrap();
    assert_eq!(names(&root.join("tmp")), [""; 0], "{point}");
    match left {
        Left::Some | Left::All => {
            assert_eq!(strays, std::slice::from_ref(&upload.parts), "{point}");
            upload.assert_invisible().await;
            if matches!(left, Left::Some) {
                upload.write(1).await;
            }
            let whole = ByteRange::new(0, upload.content.len() as u64).unwrap();
            let staged = store.read_staged(&upload.key, &upload.parts, whole).await.unwrap().unwrap();
            assert!(read(staged).await.unwrap() == upload.content, "{point}");
        }
        Left::Blob => {
            assert_eq!(strays, [], "{point}");
            upload.assert_complete().await;
        }
        Left::Nothing => {
            assert_eq!(strays, [], "{point}");
            upload.assert_invisible().await;
            assert_eq!(store.head(&key("tenant/killed")).await.unwrap(), None);
            return;
        }
    }
    upload.complete(&[]).await.unwrap();
    upload.assert_complete().await;
    store.abandon(&upload.key, &upload.parts).await.unwrap();
    upload.assert_invisible().await;
}
