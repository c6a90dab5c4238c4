//! Lists of files: every filter in every order, page by page, the same on both engines.

use cifra::base::{FileId, Timestamp, filename_key};
use cifra::db::files::{self, After, Direction, File, FileFilter, Order, SortKey, TypeFilter};
use cifra::db::usage::Limits;
use cifra::db::{Db, stores};
use uuid::Uuid;

use super::files::a_file;
use super::{at, metadata, read, tenant, write};
use crate::harness::databases::{TestDb, both_engines};

const NAMES: [&str; 10] =
    ["a.jpg", "A.JPG", "ab.png", "B.txt", "é.png", "E\u{301}a.png", "%_.txt", "a%b", "Straße", "ΟΔΟΣ"];
const TYPES: [&str; 5] =
    ["image/png", "IMAGE/PNG", "image/jpeg; q=1", "text/plain; charset=utf-8", "imagex/png"];

/// Files with many ties, in no order.
fn some_files() -> Vec<File> {
    (0_u16..60)
        .map(|n| {
            let created_at = at(i64::from(n * 7 % 11));
            let id = FileId::new(at(i64::from(n % 3)));
            let pairs: &[(&str, &str)] = match n % 4 {
                0 => &[],
                1 => &[("a", "1")],
                2 => &[("a", "1"), ("b", "2")],
                _ => &[("a", "2"), ("b", "2")],
            };
            File {
                id,
                filename: NAMES[usize::from(n * 3) % NAMES.len()].to_owned(),
                content_type: TYPES[usize::from(n) % TYPES.len()].to_owned(),
                size: u64::from(n % 5),
                metadata: metadata(pairs),
                created_at,
                ..a_file()
            }
        })
        .collect()
}

async fn insert_all(db: &Db, files: &[File]) {
    write(db, |c| Box::pin(stores::remember(c, "default", Uuid::from_u128(1), "local", at(0)))).await;
    let files = files.to_vec();
    write(db, move |c| {
        let files = files.clone();
        Box::pin(async move {
            for file in &files {
                files::insert(c, file, &Limits::NONE).await?.require(&Limits::NONE)?;
            }
            Ok(())
        })
    })
    .await;
}

fn orders() -> Vec<Order> {
    let keys = [SortKey::CreatedAt, SortKey::Filename, SortKey::Size];
    let directions = [Direction::Ascending, Direction::Descending];
    keys.into_iter().flat_map(|key| directions.map(|direction| Order { key, direction })).collect()
}

fn filters() -> Vec<FileFilter> {
    let types =
        [None, Some(TypeFilter::Kind("image".to_owned())), Some(TypeFilter::Type("image/png".to_owned()))];
    let names = [None, Some("a"), Some("É"), Some("%"), Some("STRASS"), Some("a_"), Some("οδοσ")];
    let times: [(Option<Timestamp>, Option<Timestamp>); 3] =
        [(None, None), (Some(at(3)), None), (Some(at(1)), Some(at(8)))];
    let pairs: [&[(&str, &str)]; 4] =
        [&[], &[("b", "2")], &[("b", "2"), ("a", "1")], &[("a", "1"), ("a", "2")]];
    let mut filters = Vec::new();
    for content_type in types {
        for name in names {
            for (created_after, created_before) in times {
                for metadata in pairs {
                    filters.push(FileFilter {
                        content_type: content_type.clone(),
                        name_begins: name.map(str::to_owned),
                        created_after,
                        created_before,
                        metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
                    });
                }
            }
        }
    }
    filters
}

/// What a list must show, said without a database.
fn expected(files: &[File], filter: &FileFilter, order: Order) -> Vec<FileId> {
    let essence = |file: &File| file.content_type.split(';').next().unwrap().to_ascii_lowercase();
    let mut shown: Vec<&File> = files
        .iter()
        .filter(|file| match &filter.content_type {
            None => true,
            Some(TypeFilter::Kind(kind)) => essence(file).starts_with(&format!("{kind}/")),
            Some(TypeFilter::Type(media_type)) => essence(file) == *media_type,
        })
        .filter(|file| {
            let begins = |name: &String| filename_key(&file.filename).starts_with(&filename_key(name));
            filter.name_begins.as_ref().is_none_or(begins)
        })
        .filter(|file| filter.created_after.is_none_or(|time| file.created_at > time))
        .filter(|file| filter.created_before.is_none_or(|time| file.created_at < time))
        .filter(|file| {
            filter.metadata.iter().all(|(key, value)| file.metadata.iter().any(|pair| pair == (key, value)))
        })
        .collect();
    shown.sort_by_key(|file| match order.key {
        SortKey::CreatedAt => (file.created_at.as_micros(), String::new(), file.id),
        SortKey::Filename => (0, filename_key(&file.filename), file.id),
        SortKey::Size => (i64::try_from(file.size).unwrap(), String::new(), file.id),
    });
    if order.direction == Direction::Descending {
        shown.reverse();
    }
    shown.into_iter().map(|file| file.id).collect()
}

async fn page(db: &Db, filter: &FileFilter, order: Order, after: Option<After>, limit: u32) -> Vec<File> {
    let filter = filter.clone();
    read(db, move |c| Box::pin(async move { files::list(c, &tenant(), &filter, order, after, limit).await }))
        .await
}

fn after(file: &File, order: Order) -> After {
    match order.key {
        SortKey::CreatedAt => After::Number(file.created_at.as_micros(), file.id),
        SortKey::Filename => After::Name(filename_key(&file.filename), file.id),
        SortKey::Size => After::Number(i64::try_from(file.size).unwrap(), file.id),
    }
}

#[tokio::test]
async fn every_filter_in_every_order_shows_the_same_on_both_engines() {
    let files = some_files();
    for test in both_engines().await {
        insert_all(&test.db, &files).await;
        let foreign = File { tenant: "other".parse().unwrap(), id: FileId::new(at(1)), ..a_file() };
        insert_all(&test.db, &[foreign]).await;
        for filter in filters() {
            for order in orders() {
                let wanted = expected(&files, &filter, order);
                let mut shown: Vec<FileId> = Vec::new();
                let mut position = None;
                loop {
                    let page = page(&test.db, &filter, order, position, 13).await;
                    shown.extend(page.iter().map(|file| file.id));
                    if page.len() < 13 {
                        break;
                    }
                    position = page.last().map(|file| after(file, order));
                }
                assert_eq!(shown, wanted, "{}: {filter:?} {order:?}", test.engine);
            }
        }
    }
}

/// As an older version left them.
async fn forget_keys(test: &TestDb) {
    const FORGET: [&str; 2] = [
        "UPDATE cifra_files SET filename_key = NULL, media_kind = NULL, media_type = NULL WHERE id <> $1",
        "DELETE FROM cifra_file_metadata WHERE file_id <> $1",
    ];
    for text in FORGET {
        super::execute(&test.db, text, Uuid::nil()).await.unwrap();
    }
}

#[tokio::test]
async fn files_of_an_older_version_are_listed_after_the_next_start() {
    let files = some_files();
    for test in both_engines().await {
        insert_all(&test.db, &files).await;
        forget_keys(&test).await;
        test.db.migrate().await.unwrap();
        for filter in [
            FileFilter { name_begins: Some("STRASS".to_owned()), ..FileFilter::default() },
            FileFilter {
                content_type: Some(TypeFilter::Kind("image".to_owned())),
                metadata: vec![("b".to_owned(), "2".to_owned())],
                ..FileFilter::default()
            },
        ] {
            for order in orders() {
                let shown: Vec<_> =
                    page(&test.db, &filter, order, None, 100).await.iter().map(|file| file.id).collect();
                let wanted = expected(&files, &filter, order);
                assert!(!wanted.is_empty());
                assert_eq!(shown, wanted, "{}: {filter:?} {order:?}", test.engine);
            }
        }
        let slice = write(&test.db, |c| Box::pin(files::fill(c, 7))).await;
        assert_eq!(slice, 0, "{}: nothing is left", test.engine);
        forget_keys(&test).await;
        assert_eq!(write(&test.db, |c| Box::pin(files::fill(c, 7))).await, 7, "{}", test.engine);
    }
}

#[tokio::test]
async fn the_longest_names_and_most_pairs_are_kept_and_found() {
    let long = "ΐ".repeat(512); // 1,024 bytes, whose folding has three times as many
    let pairs: Vec<(String, String)> = (0..64).map(|n| (format!("k{n}"), "v".repeat(100))).collect();
    let borrowed: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let file = File {
        filename: long.clone(),
        content_type: format!("application/{}", "x".repeat(243)),
        metadata: metadata(&borrowed),
        ..a_file()
    };
    for test in both_engines().await {
        insert_all(&test.db, std::slice::from_ref(&file)).await;
        for order in orders() {
            let filter = FileFilter {
                name_begins: Some(long.clone()),
                content_type: Some(TypeFilter::Type(file.content_type.clone())),
                metadata: pairs.clone(),
                ..FileFilter::default()
            };
            let shown = page(&test.db, &filter, order, None, 2).await;
            assert_eq!(shown, std::slice::from_ref(&file), "{}: {order:?}", test.engine);
        }
    }
}
