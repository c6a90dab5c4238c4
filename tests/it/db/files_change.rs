//! Changes of a file's record: each to the version that was read, none lost.

use cifra::base::TenantId;
use cifra::db::files::{self, Direction, File, FileFilter, Order, SortKey};
use cifra::db::usage::Limits;
use cifra::db::{Db, stores};
use uuid::Uuid;

use super::files::a_file;
use super::{at, metadata, read, tenant, write};
use crate::harness::databases::both_engines;

async fn insert(db: &Db, file: &File) {
    let file = file.clone();
    write(db, |c| Box::pin(stores::remember(c, "default", Uuid::from_u128(1), "local", at(0)))).await;
    write(db, move |c| {
        let file = file.clone();
        Box::pin(async move { files::insert(c, &file, &Limits::NONE).await?.require(&Limits::NONE) })
    })
    .await;
}

async fn change(db: &Db, file: &File) -> bool {
    let file = file.clone();
    write(db, move |c| {
        let file = file.clone();
        Box::pin(async move { files::change(c, &file).await })
    })
    .await
}

async fn found(db: &Db, filter: FileFilter) -> usize {
    let order = Order { key: SortKey::Filename, direction: Direction::Ascending };
    let list =
        read(db, move |c| Box::pin(async move { files::list(c, &tenant(), &filter, order, None, 10).await }));
    list.await.len()
}

#[tokio::test]
async fn a_change_is_made_to_the_version_that_was_read_and_to_no_other() {
    for test in both_engines().await {
        let file = a_file();
        insert(&test.db, &file).await;
        let changed = File {
            filename: "Other.mp4".to_owned(),
            metadata: metadata(&[("new", "pair")]),
            updated_at: at(20),
            version: 2,
            ..file.clone()
        };
        assert!(change(&test.db, &changed).await, "{}", test.engine);
        assert!(!change(&test.db, &changed).await, "{}: it has version 2 now", test.engine);
        let foreign: TenantId = "other".parse().unwrap();
        assert!(!change(&test.db, &File { tenant: foreign, version: 3, ..changed.clone() }).await);
        let id = file.id;
        let now = read(&test.db, move |c| Box::pin(async move { files::get(c, &tenant(), id).await })).await;
        assert_eq!(now, Some(changed), "{}", test.engine);

        let by_pair = |key: &str, value: &str| FileFilter {
            metadata: vec![(key.to_owned(), value.to_owned())],
            ..FileFilter::default()
        };
        let by_name = |name: &str| FileFilter { name_begins: Some(name.to_owned()), ..FileFilter::default() };
        assert_eq!(found(&test.db, by_pair("new", "pair")).await, 1, "{}", test.engine);
        assert_eq!(found(&test.db, by_pair("a", "b")).await, 0, "{}", test.engine);
        assert_eq!(found(&test.db, by_name("other")).await, 1, "{}", test.engine);
        assert_eq!(found(&test.db, by_name("film")).await, 0, "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_changes_to_one_version_one_is_made() {
    for test in both_engines().await {
        let file = a_file();
        insert(&test.db, &file).await;
        let changes: Vec<File> = (0..8)
            .map(|n| File {
                filename: format!("{n}"),
                metadata: metadata(&[("n", "1"), ("m", "2")]),
                version: 2,
                ..file.clone()
            })
            .collect();
        let made = futures_util::future::join_all(changes.iter().map(|file| change(&test.db, file))).await;
        assert_eq!(made.iter().filter(|made| **made).count(), 1, "{}", test.engine);
    }
}
