//! A disk that is full, or filled up to its reserve: a tmpfs of 8 MiB in a mount namespace of its own, which
//! goes away with the child process that runs the test.

use std::path::Path;

use cifra::base::stream;
use cifra::blob::local::{LocalOptions, LocalStore};
use cifra::blob::{BlobErrorKind, BlobStore, PartStore};
use cifra::config::{ByteSize, Durability, MinFree};
use futures_util::StreamExt;

use crate::child::{self, DISK_BYTES};
use crate::suites::part_store::Upload;
use crate::suites::{body, bytes, key, read};

async fn open(disk: &Path, min_free: u64) -> LocalStore {
    let min_free = MinFree::Bytes(ByteSize(min_free));
    LocalStore::open(LocalOptions { root: disk.join("root"), durability: Durability::Finalize, min_free })
        .await
        .unwrap()
}

#[test]
fn an_upload_on_a_full_disk_fails_and_the_others_go_on() {
    child::on_a_small_disk(
        "blob_local::full::an_upload_on_a_full_disk_fails_and_the_others_go_on",
        async |disk| {
            let store = open(disk, 0).await;
            let small = Upload::begin(&store, "small", 2).await;
            let mut tags = vec![small.write(0).await];

            let large = Upload::begin(&store, "large", 40).await;
            let mut written = 0;
            let refused = loop {
                match large.try_write(written).await {
                    Ok(_) => written += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(refused.kind(), BlobErrorKind::Full, "{refused:?}");
            assert!(written >= 20, "most of the disk could be used, not only {written} parts");

            // Room that was taken before the disk was full is still there for the one who took it.
            tags.push(small.write(1).await);
            small.complete(&tags).await.unwrap();
            small.assert_complete().await;

            store.abandon(&large.key, &large.parts).await.unwrap();
            let next = Upload::begin(&store, "next", 20).await;
            let tags = next.write_all().await;
            next.complete(&tags).await.unwrap();
            next.assert_complete().await;
        },
    );
}

#[test]
fn a_full_disk_is_noticed_before_the_body_is_read() {
    child::on_a_small_disk(
        "blob_local::full::a_full_disk_is_noticed_before_the_body_is_read",
        async |disk| {
            let store = open(disk, 0).await;
            let upload = Upload::begin(&store, "unread", 2).await;
            let span = cifra::blob::Span { offset: 0, len: DISK_BYTES + 1, ..upload.span(0) };
            let unread = futures_util::stream::poll_fn(|_| panic!("the body was read")).boxed();
            let error = store.write(&upload.key, &upload.parts, span, unread).await.unwrap_err();
            assert_eq!(error.kind(), BlobErrorKind::Full);
        },
    );
}

#[test]
fn a_put_that_fills_the_disk_leaves_nothing() {
    child::on_a_small_disk("blob_local::full::a_put_that_fills_the_disk_leaves_nothing", async |disk| {
        let store = open(disk, 0).await;
        let too_much = body(&bytes(9 << 20, 1), 65_536);
        let error = store.put(&key("a/1"), too_much, None).await.unwrap_err();
        assert_eq!(error.kind(), BlobErrorKind::Full);
        assert_eq!(store.head(&key("a/1")).await.unwrap(), None);

        let fits = bytes(7 << 20, 2);
        store.put(&key("a/1"), stream::once(fits.clone()), None).await.unwrap();
        assert!(read(store.get(&key("a/1"), None).await.unwrap().unwrap().bytes).await.unwrap() == fits);
    });
}

#[test]
fn the_reserve_is_not_touched() {
    child::on_a_small_disk("blob_local::full::the_reserve_is_not_touched", async |disk| {
        let reserve = 4 << 20;
        let store = open(disk, reserve).await;
        let free = || {
            let stat = rustix::fs::statvfs(disk).unwrap();
            stat.f_bavail * stat.f_frsize
        };
        assert_eq!(store.available().await.unwrap(), Some(free() - reserve));

        let upload = Upload::begin(&store, "reserve", 40).await;
        let mut written = 0;
        while upload.try_write(written).await.is_ok() {
            written += 1;
        }
        assert!((8..20).contains(&written), "{written} parts of 0.3 MB fit into 4 MiB");
        assert!(free() >= reserve, "{} bytes are free", free());
        let put = store.put(&key("a/1"), stream::once(bytes(400_000, 3)), Some(400_000)).await;
        assert_eq!(put.unwrap_err().kind(), BlobErrorKind::Full);

        store.abandon(&upload.key, &upload.parts).await.unwrap();
        assert_eq!(store.available().await.unwrap(), Some(free() - reserve));
        store.put(&key("a/1"), stream::once(bytes(400_000, 3)), Some(400_000)).await.unwrap();
    });
}

#[test]
fn what_is_allocated_ahead_for_an_upload_is_not_missing_to_others() {
    let name = "blob_local::full::what_is_allocated_ahead_for_an_upload_is_not_missing_to_others";
    child::on_a_small_disk(name, async |disk| {
        let store = open(disk, 0).await;
        let before = store.available().await.unwrap().unwrap();
        let upload = Upload::begin(&store, "ahead", 20).await;
        let _tag = upload.write(0).await;
        let taken = before - store.available().await.unwrap().unwrap();
        let part = upload.part(0).len() as u64;
        assert!((part..part + (64 << 10)).contains(&taken), "a part of {part} bytes took {taken}");
    });
}
