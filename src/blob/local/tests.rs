//! Flushes: shared by all who wait, and never trusted again once one has failed.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use futures_util::future::join_all;
use futures_util::poll;

use super::*;
use crate::base::ChunkIndex;
use crate::config::ByteSize;

async fn open(root: &tempfile::TempDir, durability: Durability, flush: Flush) -> LocalStore {
    let root = root.path().to_owned();
    LocalStore::open_with(LocalOptions { root, durability, min_free: MinFree::Bytes(ByteSize(0)) }, flush)
        .await
        .unwrap()
}

fn span(index: u32) -> Span {
    Span { index: ChunkIndex::new(index), offset: u64::from(index) * 1_000, len: 1_000 }
}

fn part() -> ByteStream {
    stream::once(vec![7; 1_000])
}

fn key() -> BlobKey {
    BlobKey::parse("a/1").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flush_serves_all_who_wait() {
    static FLUSHES: AtomicUsize = AtomicUsize::new(0);
    static MAY_FLUSH: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    let flush: Flush = |_| {
        FLUSHES.fetch_add(1, Ordering::SeqCst);
        let mut may = MAY_FLUSH.0.lock().unwrap();
        while !*may {
            may = MAY_FLUSH.1.wait(may).unwrap();
        }
        Ok(())
    };
    let root = tempfile::tempdir().unwrap();
    let (store, key) = (open(&root, Durability::Chunk, flush).await, key());
    let parts = store.begin(&key, Some(8_000)).await.unwrap();
    let mut writes: Vec<Pin<Box<dyn Future<Output = _>>>> = Vec::new();
    for index in 0..8 {
        let (store, key, parts) = (&store, &key, &parts);
        writes.push(Box::pin(async move { store.write(key, parts, span(index), part()).await }));
    }
    // One poll writes the part and waits for a flush: the first one's own, then the one that comes after it.
    for write in &mut writes {
        assert!(poll!(write).is_pending());
    }
    *MAY_FLUSH.0.lock().unwrap() = true;
    MAY_FLUSH.1.notify_all();
    for tag in join_all(writes).await {
        assert!(tag.unwrap().synced);
    }
    assert_eq!(FLUSHES.load(Ordering::SeqCst), 2);
}

/// Fails at its first call only, as fsync(2) does.
fn fails_once(calls: &AtomicUsize) -> io::Result<()> {
    match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Err(rustix::io::Errno::IO.into()),
        _ => Ok(()),
    }
}

async fn assert_failed(store: &LocalStore, parts: &PartsId) {
    let write = store.write(&key(), parts, span(1), part()).await;
    assert_eq!(write.unwrap_err().kind(), BlobErrorKind::Internal);
    let complete = store.complete(&key(), parts, 2_000, &[]).await;
    assert_eq!(complete.unwrap_err().kind(), BlobErrorKind::Internal);
    let staged = store.read_staged(&key(), parts, ByteRange::new(0, 1).unwrap()).await;
    assert_eq!(staged.err().unwrap().kind(), BlobErrorKind::Internal);
    assert_eq!(store.head(&key()).await.unwrap(), None);
}

async fn assert_failed_for_good(root: &tempfile::TempDir, store: LocalStore, parts: &PartsId) {
    assert_failed(&store, parts).await;
    drop(store);
    let store = open(root, Durability::Finalize, |_| Ok(())).await;
    assert_failed(&store, parts).await;
    assert_eq!(store.strays().await.unwrap(), std::slice::from_ref(parts));

    store.abandon(&key(), parts).await.unwrap();
    assert_eq!(store.strays().await.unwrap(), []);
    for index in 0..2 {
        store.write(&key(), parts, span(index), part()).await.unwrap();
    }
    store.complete(&key(), parts, 2_000, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_whose_flush_failed_fails_its_upload_for_good() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let root = tempfile::tempdir().unwrap();
    let store = open(&root, Durability::Chunk, |_| fails_once(&CALLS)).await;
    let parts = store.begin(&key(), Some(2_000)).await.unwrap();
    let write = store.write(&key(), &parts, span(0), part()).await;
    assert_eq!(write.unwrap_err().kind(), BlobErrorKind::Internal);
    assert_failed_for_good(&root, store, &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_whose_flush_failed_fails_its_upload_for_good() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let root = tempfile::tempdir().unwrap();
    let store = open(&root, Durability::Finalize, |_| fails_once(&CALLS)).await;
    let parts = store.begin(&key(), Some(2_000)).await.unwrap();
    for index in 0..2 {
        store.write(&key(), &parts, span(index), part()).await.unwrap();
    }
    let complete = store.complete(&key(), &parts, 2_000, &[]).await;
    assert_eq!(complete.unwrap_err().kind(), BlobErrorKind::Internal);
    assert_failed_for_good(&root, store, &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_flush_failed_is_not_visible() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let root = tempfile::tempdir().unwrap();
    let store = open(&root, Durability::Finalize, |_| fails_once(&CALLS)).await;
    assert!(store.put(&key(), part(), None).await.is_err());
    assert_eq!(store.head(&key()).await.unwrap(), None);
    store.put(&key(), part(), None).await.unwrap();
}

#[test]
fn a_file_too_large_for_the_disk_is_a_full_disk() {
    for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT, rustix::io::Errno::FBIG] {
        assert_eq!(BlobError::io("writing", errno.into()).kind(), BlobErrorKind::Full);
    }
    assert_eq!(BlobError::io("writing", rustix::io::Errno::IO.into()).kind(), BlobErrorKind::Internal);
}
