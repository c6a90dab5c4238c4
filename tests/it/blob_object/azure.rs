//! What only Azure can do or suffer, on Azurite.

use std::time::{Duration, Instant};

use cifra::blob::{BlobErrorKind, BlobStore, Length, PartStore};

use super::open;
use crate::harness::azurite::{self, Azurite};
use crate::suites::part_store::Upload;
use crate::suites::{body, bytes, key, read};

#[tokio::test(flavor = "multi_thread")]
async fn completing_again_without_parts_does_not_empty_the_blob() {
    let store = open(&azurite::server().storage());
    let upload = Upload::begin(&store, "again-empty", 3).await;
    let tags = upload.write_all().await;
    upload.complete(&tags).await.unwrap();
    assert_eq!(upload.complete(&[]).await.unwrap_err().kind(), BlobErrorKind::Incomplete);
    assert_eq!(upload.complete(&tags[..1]).await.unwrap_err().kind(), BlobErrorKind::Incomplete);
    upload.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_write_does_not_change_a_part_that_counts() {
    let store = open(&azurite::server().storage());
    let upload = Upload::begin(&store, "late", 3).await;
    let tags = upload.write_all().await;
    let other = bytes(upload.part_len, 99);
    store.write(&upload.key, &upload.parts, upload.span(1), body(&other, 9_999)).await.unwrap();
    upload.complete(&tags).await.unwrap();
    upload.assert_complete().await;
    store.write(&upload.key, &upload.parts, upload.span(1), body(&other, 9_999)).await.unwrap();
    upload.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_are_not_there_are_gone() {
    let store = open(&azurite::server().storage());
    let upload = Upload::begin(&store, "gone", 2).await;
    let mut tags = upload.write_all().await;
    let (len, _) = tags[0].etag.as_deref().unwrap().split_once(':').unwrap();
    tags[0].etag = Some(format!("{len}:no block has this id"));
    assert_eq!(upload.complete(&tags).await.unwrap_err().kind(), BlobErrorKind::Gone);
    upload.assert_invisible().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_in_one_piece_goes_by_blocks() {
    let store = open(&azurite::server().storage());
    let (key, content) = (key("tenant/large/1"), bytes((17 << 20) + 5, 4));
    for length in [Length::AtMost(1 << 30), Length::Exactly(content.len() as u64)] {
        store.stage(&key, body(&content, 100_000), length).await.unwrap();
        assert!(read(store.get(&key, None).await.unwrap().unwrap().bytes).await.unwrap() == content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stands_still_is_away_in_five_seconds_and_back_at_once() {
    let server = Azurite::start();
    let store = open(&server.storage());
    let upload = Upload::begin(&store, "still", 2).await;
    let first = upload.write(0).await;
    server.pause();
    let begun = Instant::now();
    let (written, looked) = tokio::join!(upload.try_write(1), store.head(&upload.key));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(written.unwrap_err().kind(), BlobErrorKind::Unavailable);
    assert_eq!(looked.unwrap_err().kind(), BlobErrorKind::Unavailable);
    server.go_on();
    upload.complete(&[first, upload.write(1).await]).await.unwrap();
    upload.assert_complete().await;
}
