//! Thumbnails and what is known of pictures: written while the file is there, and gone with it; and no blob that is lost.

use cifra::base::thumbnail::{Color, SizeName, SpecVersion, ThumbnailSpec};
use cifra::base::{BlobKey, Code, FileId, Result, Timestamp};
use cifra::db::files::{self, File};
use cifra::db::images::{self, Image};
use cifra::db::thumbnails::{self, Making, Outcome, Put, Stored, Thumbnail};
use cifra::db::usage::Limits;
use cifra::db::{Db, Urgency, blob_deletions};
use cifra::imaging::{Orientation, Reason};
use uuid::Uuid;

use super::files::{a_file, remember};
use super::{at, read, tenant, write};
use crate::harness::databases::{TestDb, both_engines};

const UNTIL: i64 = 3600;

fn size(name: &str) -> SizeName {
    name.parse().unwrap()
}

fn version(width: u32) -> SpecVersion {
    ThumbnailSpec::inside(width, width).version()
}

fn an_image(file: FileId, width: u32) -> Image {
    Image {
        file,
        tenant: tenant(),
        width,
        height: 3000,
        format: "jpeg".to_owned(),
        orientation: Orientation::from_exif(6),
        has_alpha: true,
        frames: 1,
        truncated: false,
        thumbhash: vec![1, 2, 3, 4, 5],
        average_color: Color([1, 2, 255]),
    }
}

fn ready(file: FileId, name: &str) -> Thumbnail {
    let key = BlobKey::of_thumbnail(&tenant(), file, &size(name), &version(150), Uuid::new_v4());
    assert_eq!(key.thumbnail_of(), Some((tenant(), file)));
    assert_eq!((key.file(), BlobKey::parse(key.as_str()).as_ref()), (None, Some(&key)));
    let content_type = "image/webp".to_owned();
    let stored =
        Stored { store: "default".to_owned(), key, width: 150, height: 99, bytes: 777, content_type };
    Thumbnail {
        file,
        size: size(name),
        version: version(150),
        outcome: Outcome::Ready(stored),
        made_at: at(5),
    }
}

fn without(file: FileId, name: &str, reason: Reason) -> Thumbnail {
    let outcome = Outcome::Without(reason);
    Thumbnail { file, size: size(name), version: version(150), outcome, made_at: at(5) }
}

fn key(thumbnail: &Thumbnail) -> BlobKey {
    match &thumbnail.outcome {
        Outcome::Ready(stored) => stored.key.clone(),
        Outcome::Without(reason) => panic!("there is none: {reason:?}"),
    }
}

async fn insert_file(test: &TestDb) -> File {
    remember(&test.db, "default", 1).await;
    let file = a_file();
    let inserted = file.clone();
    write(&test.db, move |c| {
        let file = inserted.clone();
        Box::pin(async move { files::insert(c, &file, &Limits::NONE).await.map(drop) })
    })
    .await;
    file
}

async fn announce(db: &Db, key: BlobKey) {
    write(db, move |c| {
        let key = key.clone();
        Box::pin(async move { blob_deletions::insert(c, "default", &key, at(UNTIL), at(0)).await })
    })
    .await;
}

/// What is noted to be removed, and when.
async fn noted(db: &Db) -> Vec<(BlobKey, Timestamp)> {
    read(db, |c| Box::pin(blob_deletions::due(c, "default", at(UNTIL), 10))).await
}

/// Writes what was made, at second 10; what it replaces is due at second 20.
async fn put(db: &Db, file: FileId, thumbnails: &[Thumbnail], others: &[&str]) -> Result<Put> {
    let making = Making {
        tenant: tenant(),
        file,
        image: Some(an_image(file, 4000)),
        thumbnails: thumbnails.to_vec(),
        announced_until: at(UNTIL),
        others: others.iter().map(|name| size(name)).collect(),
    };
    db.write(Urgency::Normal, move |c| {
        let making = making.clone();
        Box::pin(async move { thumbnails::put(c, &making, at(20), at(10)).await })
    })
    .await
}

async fn all(db: &Db, file: FileId) -> Vec<Thumbnail> {
    let found = read(db, move |c| {
        Box::pin(async move { thumbnails::of_files(c, &tenant(), &[FileId::new(at(1)), file]).await })
    });
    let mut found = found.await;
    found.sort_by(|a, b| a.size.cmp(&b.size));
    found
}

#[tokio::test]
async fn what_was_made_is_found_and_its_announcements_are_gone() {
    for test in both_engines().await {
        let file = insert_file(&test).await;
        let id = file.id;
        let made = [ready(id, "large"), without(id, "medium", Reason::Corrupt), ready(id, "small")];
        announce(&test.db, key(&made[0])).await;
        announce(&test.db, key(&made[2])).await;
        assert_eq!(put(&test.db, id, &made, &[]).await.unwrap(), Put::Written, "{}", test.engine);
        assert_eq!(all(&test.db, id).await, made, "{}", test.engine);
        assert_eq!(noted(&test.db).await, [], "{}", test.engine);
        let (one, image, images, file) = read(&test.db, move |c| {
            Box::pin(async move {
                let one = thumbnails::get(c, &tenant(), id, &size("small")).await?;
                let image = images::get(c, &tenant(), id).await?;
                let images = images::of_files(c, &tenant(), &[id, FileId::new(at(1))]).await?;
                Ok((one, image, images, files::get(c, &tenant(), id).await?))
            })
        })
        .await;
        assert_eq!(one.as_ref(), Some(&made[2]), "{}", test.engine);
        assert_eq!((image, images), (Some(an_image(id, 4000)), vec![an_image(id, 4000)]), "{}", test.engine);
        assert_eq!(file.unwrap().derived, 1, "{}", test.engine);
        let other = "somebody-else".parse().unwrap();
        let foreign =
            read(&test.db, move |c| Box::pin(async move { thumbnails::of_files(c, &other, &[id]).await }));
        assert_eq!(foreign.await, [], "{}", test.engine);
    }
}

#[tokio::test]
async fn what_is_replaced_is_noted_for_removal_and_sizes_that_are_none_any_more_go() {
    for test in both_engines().await {
        let id = insert_file(&test).await.id;
        let made = [ready(id, "gone"), ready(id, "large"), ready(id, "small")];
        for thumbnail in &made {
            announce(&test.db, key(thumbnail)).await;
        }
        put(&test.db, id, &made, &[]).await.unwrap();
        let again = ready(id, "small");
        announce(&test.db, key(&again)).await;
        assert_eq!(put(&test.db, id, std::slice::from_ref(&again), &["large"]).await.unwrap(), Put::Written);
        assert_eq!(all(&test.db, id).await, [made[1].clone(), again], "{}", test.engine);
        let mut left = noted(&test.db).await;
        let mut expected = [(key(&made[0]), at(20)), (key(&made[2]), at(20))];
        left.sort_by_key(|(key, _)| key.to_string());
        expected.sort_by_key(|(key, _)| key.to_string());
        assert_eq!(left, expected, "{}", test.engine);
    }
}

#[tokio::test]
async fn nothing_is_written_for_a_file_that_is_gone_or_for_bytes_that_may_be() {
    for test in both_engines().await {
        let id = insert_file(&test).await.id;
        let (early, late) = (ready(id, "large"), ready(id, "small"));
        announce(&test.db, key(&early)).await;
        let refused = put(&test.db, id, &[early.clone(), late.clone()], &[]).await.unwrap_err();
        assert_eq!(refused.code(), Code::Overloaded, "{}", test.engine);
        assert_eq!(all(&test.db, id).await, [], "{}", test.engine);
        assert_eq!(noted(&test.db).await, [(key(&early), at(UNTIL))], "{}", test.engine);

        let nobody = FileId::new(at(3));
        assert_eq!(put(&test.db, nobody, &[ready(nobody, "small")], &[]).await.unwrap(), Put::FileGone);
        assert_eq!(all(&test.db, nobody).await, [], "{}", test.engine);
    }
}

#[tokio::test]
async fn thumbnails_go_with_their_file_and_not_alone() {
    for test in both_engines().await {
        let id = insert_file(&test).await.id;
        let made = [ready(id, "large"), without(id, "small", Reason::UnsupportedFormat)];
        announce(&test.db, key(&made[0])).await;
        put(&test.db, id, &made, &[]).await.unwrap();
        let forgetful = test.db.write(Urgency::Normal, move |c| {
            Box::pin(async move { files::delete(c, &tenant(), id).await.map(drop) })
        });
        assert!(forgetful.await.is_err(), "{}: thumbnails outlive their file", test.engine);
        let blobs = write(&test.db, move |c| {
            Box::pin(async move {
                files::delete(c, &tenant(), id).await?;
                thumbnails::delete_with_file(c, &tenant(), id, at(20), at(10)).await
            })
        });
        assert_eq!(blobs.await, [("default".to_owned(), key(&made[0]))], "{}", test.engine);
        assert_eq!(all(&test.db, id).await, [], "{}", test.engine);
        assert_eq!(noted(&test.db).await, [(key(&made[0]), at(20))], "{}", test.engine);
        let image = read(&test.db, move |c| Box::pin(async move { images::get(c, &tenant(), id).await }));
        assert_eq!(image.await, None, "{}", test.engine);
    }
}

#[tokio::test]
async fn a_file_that_is_deleted_while_its_thumbnails_are_written_leaves_nothing() {
    for test in both_engines().await {
        for _ in 0..10 {
            let id = insert_file(&test).await.id;
            let made = ready(id, "small");
            announce(&test.db, key(&made)).await;
            let deleting = write(&test.db, move |c| {
                Box::pin(async move {
                    files::delete(c, &tenant(), id).await?;
                    thumbnails::delete_with_file(c, &tenant(), id, at(20), at(10)).await
                })
            });
            let (written, deleted) =
                tokio::join!(put(&test.db, id, std::slice::from_ref(&made), &[]), deleting);
            let until = match written.unwrap() {
                Put::Written => {
                    assert_eq!(deleted.len(), 1, "{}", test.engine);
                    at(20)
                }
                Put::FileGone => at(UNTIL),
            };
            assert_eq!(all(&test.db, id).await, [], "{}", test.engine);
            let noted = noted(&test.db).await;
            assert!(noted.contains(&(key(&made), until)), "{}: {noted:?}", test.engine);
            let withdrawn = key(&made);
            write(&test.db, move |c| {
                let key = withdrawn.clone();
                Box::pin(async move { blob_deletions::withdraw(c, "default", &key, until).await })
            })
            .await;
        }
    }
}

#[tokio::test]
async fn what_is_outdated_has_no_specs_version() {
    for test in both_engines().await {
        let id = insert_file(&test).await.id;
        let made = [without(id, "large", Reason::TimedOut), without(id, "small", Reason::Crashed)];
        put(&test.db, id, &made, &[]).await.unwrap();
        for (outdated, expected) in [(Some("small"), [false, true]), (None, [true, true])] {
            let outdated = outdated.map(size);
            write(&test.db, move |c| {
                let outdated = outdated.clone();
                Box::pin(async move { thumbnails::outdate(c, &tenant(), id, outdated.as_ref()).await })
            })
            .await;
            let found: Vec<_> =
                all(&test.db, id).await.iter().map(|one| one.version != version(150)).collect();
            assert_eq!(found, expected, "{}", test.engine);
        }
    }
}

#[tokio::test]
async fn a_blob_is_known_by_its_row_or_by_its_removal() {
    for test in both_engines().await {
        let id = insert_file(&test).await.id;
        let (made, announced, unknown) = (ready(id, "large"), ready(id, "small"), ready(id, "small"));
        announce(&test.db, key(&made)).await;
        put(&test.db, id, std::slice::from_ref(&made), &[]).await.unwrap();
        announce(&test.db, key(&announced)).await;
        let asked = [key(&made), key(&announced), key(&unknown)];
        let known =
            read(&test.db, move |c| Box::pin(async move { thumbnails::known(c, "default", &asked).await }));
        let mut known = known.await;
        known.sort_by_key(ToString::to_string);
        let mut expected = vec![key(&made), key(&announced)];
        expected.sort_by_key(ToString::to_string);
        assert_eq!(known, expected, "{}", test.engine);
    }
}
