//! The folder: its owner, its identity, what lies in it when, and room taken ahead.

use std::fs;
use std::os::unix::fs::MetadataExt;

use cifra::blob::local::LocalStore;
use cifra::blob::{BlobErrorKind, BlobStore, PartStore};
use cifra::config::Durability;
use uuid::Uuid;

use super::{Home, names, options};
use crate::suites::part_store::Upload;
use crate::suites::{body, bytes, endless_body, key};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_owner_is_refused() {
    let home = Home::new().await;
    let refused = LocalStore::open(options(home.folder.path(), Durability::Finalize)).await.unwrap_err();
    assert_eq!(refused.kind(), BlobErrorKind::Unavailable);
    let message = refused.to_string();
    assert!(message.contains(home.folder.path().to_str().unwrap()), "{message}");
    assert!(message.contains(&format!("pid {}", std::process::id())), "{message}");
    home.restart(Durability::Finalize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_remembers_its_id() {
    let home = Home::new().await;
    assert_eq!(home.store.store_id().await.unwrap(), None);
    let id = Uuid::new_v4();
    assert_eq!(home.store.set_store_id(id).await.unwrap(), id);
    assert_eq!(home.store.set_store_id(Uuid::new_v4()).await.unwrap(), id, "the first one wins");
    let home = home.restart(Durability::Finalize).await;
    assert_eq!(home.store.store_id().await.unwrap(), Some(id));

    fs::write(home.path("store_id"), "not an id").unwrap();
    let message = home.store.store_id().await.unwrap_err().to_string();
    assert!(message.contains("store_id"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_in_tmp_is_cleared_at_the_start() {
    let home = Home::new().await;
    fs::write(home.path("tmp/left"), "half").unwrap();
    let home = home.restart(Durability::Finalize).await;
    assert_eq!(home.left_over(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn to_begin_leaves_nothing_on_the_disk() {
    let home = Home::new().await;
    let upload = Upload::begin(&home.store, "begun", 3).await;
    assert_eq!(home.left_over(), [""; 0]);
    upload.write(1).await;
    assert_eq!(home.left_over(), ["tenant+begun+1.part"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_restart() {
    for durability in [Durability::None, Durability::Finalize, Durability::Chunk] {
        let home = Home::with(durability).await;
        let first = Upload::begin(&home.store, "restart", 4).await;
        let (mut tags, parts) = (vec![first.write(2).await, first.write(0).await], first.parts.clone());
        assert_eq!(tags[0].synced, durability == Durability::Chunk);

        let home = home.restart(durability).await;
        let mut upload = Upload::begin(&home.store, "restart", 4).await;
        upload.parts = parts;
        tags.extend([upload.write(3).await, upload.write(1).await]);
        upload.complete(&tags).await.unwrap();
        upload.assert_complete().await;
        assert_eq!(home.left_over(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strays_are_listed_and_removed() {
    let home = Home::new().await;
    let known = Upload::begin(&home.store, "known", 2).await;
    let stray = Upload::begin(&home.store, "stray", 2).await;
    let (known_parts, stray_parts) = (known.parts.clone(), stray.parts.clone());
    known.write_all().await;
    stray.write_all().await;
    fs::write(home.path("staging/.of somebody else"), "").unwrap();

    let home = home.restart(Durability::Finalize).await;
    let mut strays = home.store.strays().await.unwrap();
    strays.sort_by_key(|parts| parts.as_str().to_owned());
    assert_eq!(strays, [known_parts.clone(), stray_parts.clone()]);
    for _ in 0..2 {
        home.store.remove_stray(&stray_parts).await.unwrap();
        assert_eq!(home.store.strays().await.unwrap(), std::slice::from_ref(&known_parts));
    }
    let known = Upload::begin(&home.store, "known", 2).await;
    known.complete(&[]).await.unwrap();
    known.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_to_a_blob_that_is_complete() {
    let home = Home::new().await;
    let upload = Upload::begin(&home.store, "closed", 2).await;
    let tags = upload.write_all().await;
    upload.complete(&tags).await.unwrap();
    assert!(upload.try_write(0).await.is_err());
    assert_eq!(home.left_over(), [""; 0]);
    let home = home.restart(Durability::Finalize).await;
    let upload = Upload::begin(&home.store, "closed", 2).await;
    assert!(upload.try_write(0).await.is_err());
    assert_eq!(home.left_over(), [""; 0]);
    upload.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_completed_while_it_is_written() {
    let home = Home::new().await;
    let upload = Upload::begin(&home.store, "open", 2).await;
    let tags = upload.write_all().await;
    let (endless, taken) = endless_body(&upload.part(0));
    let writing = home.store.write(&upload.key, &upload.parts, upload.span(0), endless);
    tokio::select! {
        result = writing => panic!("the body has not ended: {result:?}"),
        result = async { taken.await.unwrap(); upload.complete(&tags).await } => {
            assert_eq!(result.unwrap_err().kind(), BlobErrorKind::Internal);
        }
    }
    upload.assert_invisible().await;
    upload.write(0).await;
    upload.complete(&tags).await.unwrap();
    upload.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_abandoned_while_it_is_written_leaves_nothing() {
    let home = Home::new().await;
    let upload = Upload::begin(&home.store, "void", 2).await;
    let (endless, taken) = endless_body(&upload.part(0));
    tokio::select! {
        result = home.store.write(&upload.key, &upload.parts, upload.span(0), endless) => {
            panic!("the body has not ended: {result:?}")
        }
        result = async { taken.await.unwrap(); home.store.abandon(&upload.key, &upload.parts).await } => {
            result.unwrap();
        }
    }
    assert_eq!(home.left_over(), [""; 0]);
    upload.assert_invisible().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_uploads_than_files_are_kept_open() {
    let home = Home::new().await;
    let mut uploads = Vec::new();
    for n in 0..300 {
        let name = key(&format!("many/{n}"));
        uploads.push((home.store.begin(&name, Some(2_000)).await.unwrap(), name, bytes(2_000, n)));
    }
    for half in [1, 0] {
        for (parts, key, content) in &uploads {
            let span = cifra::blob::Span {
                index: cifra::base::ChunkIndex::new(half),
                offset: u64::from(half) * 1_000,
                len: 1_000,
            };
            let from = usize::try_from(span.offset).unwrap();
            let part = cifra::base::stream::once(content.slice(from..from + 1_000));
            home.store.write(key, parts, span, part).await.unwrap();
        }
    }
    for (parts, key, content) in &uploads {
        home.store.complete(key, parts, 2_000, &[]).await.unwrap();
        let blob = home.store.get(key, None).await.unwrap().unwrap();
        assert!(crate::suites::read(blob.bytes).await.unwrap() == *content);
    }
    assert_eq!(home.left_over(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn room_is_taken_ahead_and_given_back() {
    let home = Home::new().await;
    let allocated = |path: &str| fs::metadata(home.path(path)).unwrap().blocks() * 512;
    let (key, part) = (key("ahead/1"), bytes(1_000, 1));
    let span = |offset| cifra::blob::Span { index: cifra::base::ChunkIndex::new(0), offset, len: 1_000 };
    let write = async |parts, offset| {
        let body = cifra::base::stream::once(part.clone());
        home.store.write(&key, parts, span(offset), body).await.unwrap();
    };
    let parts = home.store.begin(&key, Some(100 << 20)).await.unwrap();
    write(&parts, 0).await;
    let first = allocated("staging/ahead+1.part");
    assert!((64 << 20..66 << 20).contains(&first), "one block of 64 MiB, not {first} bytes");
    write(&parts, 99 << 20).await;
    let both = allocated("staging/ahead+1.part");
    assert!((100 << 20..102 << 20).contains(&both), "not past the announced length: {both} bytes");

    home.store.complete(&key, &parts, 1_000, &[]).await.unwrap();
    assert!(allocated("blobs/ahead/1") < 1 << 20, "{}", allocated("blobs/ahead/1"));
    assert_eq!(names(&home.path("staging")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parts_are_written_by_many_threads() {
    for durability in [Durability::None, Durability::Finalize, Durability::Chunk] {
        let home = Home::with(durability).await;
        let upload = Upload::begin(&home.store, "threads", 40).await;
        let mut writers = tokio::task::JoinSet::new();
        for index in (0..40).rev() {
            let (store, key, parts) = (home.store.clone(), upload.key.clone(), upload.parts.clone());
            let (span, part) = (upload.span(index), body(&upload.part(index), 16 << 10));
            writers.spawn(async move { store.write(&key, &parts, span, part).await.unwrap() });
        }
        let tags = writers.join_all().await;
        assert!(tags.iter().all(|tag| tag.synced == (durability == Durability::Chunk)));
        upload.complete(&tags).await.unwrap();
        upload.assert_complete().await;
    }
}
