//! Files that are not what they were: cut, replaced by links, gone.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;

use cifra::base::stream::{self, StreamError};
use cifra::blob::{BlobErrorKind, BlobStore};
use futures_util::{StreamExt, TryStreamExt};

use super::Home;
use crate::suites::part_store::Upload;
use crate::suites::{bytes, key, read};

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_staging_file_is_not_completed() {
    let home = Home::new().await;
    let upload = Upload::begin(&home.store, "cut", 3).await;
    let mut tags = upload.write_all().await;
    let staged = OpenOptions::new().write(true).open(home.path("staging/tenant+cut+1.part")).unwrap();
    staged.set_len(upload.content.len() as u64 - 1).unwrap();
    let refused = upload.complete(&tags).await.unwrap_err();
    assert_eq!(refused.kind(), BlobErrorKind::Incomplete);
    upload.assert_invisible().await;

    tags[2] = upload.write(2).await;
    upload.complete(&tags).await.unwrap();
    upload.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staging_file_that_is_gone_is_not_completed() {
    let home = Home::new().await;
    let upload = Upload::begin(&home.store, "gone", 3).await;
    upload.write_all().await;
    let (home, name) = {
        drop(upload);
        (home.restart(cifra::config::Durability::Finalize).await, "staging/tenant+gone+1.part")
    };
    fs::remove_file(home.path(name)).unwrap();
    let upload = Upload::begin(&home.store, "gone", 3).await;
    assert_eq!(upload.complete(&[]).await.unwrap_err().kind(), BlobErrorKind::Incomplete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_becomes_shorter_fails_its_readers() {
    let home = Home::new().await;
    let key = key("a/1");
    home.store.put(&key, stream::once(bytes(2_000_000, 1)), None).await.unwrap();
    let mut reader = home.store.get(&key, None).await.unwrap().unwrap().bytes;
    reader.next().await.unwrap().unwrap();
    OpenOptions::new().write(true).open(home.path("blobs/a/1")).unwrap().set_len(1_000_000).unwrap();
    let end = reader.by_ref().map(|frame| frame.map(drop)).try_collect::<()>().await;
    assert!(matches!(end, Err(StreamError::Failed(_))), "{end:?}");
    assert!(reader.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_place_of_a_blob_is_not_followed() {
    let home = Home::new().await;
    fs::write(home.path("secret"), "secret").unwrap();
    fs::create_dir_all(home.path("blobs/a")).unwrap();
    let link = home.path("blobs/a/1");
    symlink(home.path("secret"), &link).unwrap();
    let key = key("a/1");

    assert!(home.store.get(&key, None).await.is_err());
    assert!(home.store.head(&key).await.is_err());
    let listed: Vec<_> = home.store.list("a").await.unwrap().try_collect().await.unwrap();
    assert_eq!(listed, []);
    home.store.put(&key, stream::once("new"), None).await.unwrap();
    assert_eq!(read(home.store.get(&key, None).await.unwrap().unwrap().bytes).await.unwrap(), "new");

    fs::remove_file(&link).unwrap();
    symlink(home.path("secret"), &link).unwrap();
    home.store.delete(&key).await.unwrap();
    assert!(fs::symlink_metadata(&link).is_err());
    assert_eq!(fs::read(home.path("secret")).unwrap(), b"secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_place_of_a_staging_file_is_not_followed() {
    let home = Home::new().await;
    fs::write(home.path("secret"), "secret").unwrap();
    let upload = Upload::begin(&home.store, "link", 2).await;
    symlink(home.path("secret"), home.path("staging/tenant+link+1.part")).unwrap();
    assert!(upload.try_write(0).await.is_err());
    assert!(upload.complete(&[]).await.is_err());
    assert_eq!(fs::read(home.path("secret")).unwrap(), b"secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_place_of_a_blob_does_not_hang() {
    let home = Home::new().await;
    fs::create_dir_all(home.path("blobs/a")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(home.path("blobs/a/1")).status().unwrap();
    assert!(made.success());
    assert!(home.store.get(&key("a/1"), None).await.is_err());
}
