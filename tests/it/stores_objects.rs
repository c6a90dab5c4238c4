//! Stores that others could reach too: whose bucket it is, what nobody names in it, and downloads when it is away.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cifra::app::App;
use cifra::base::finding::Level;
use cifra::base::principal::Actor;
use cifra::base::{BlobKey, Clock, FileId, ManualClock, Principal, SystemClock, TenantId, stream};
use cifra::blob::object::{ObjectOptions, ObjectStore, PartBudget};
use cifra::blob::{BlobStore, PartStore};
use cifra::config::{Config, Storage};
use cifra::db::uploads::Upload;
use cifra::db::{DatabaseUrl, blob_deletions};
use cifra::ops;
use cifra::ops::orphans::{Orphans, Summary, Treatment};
use cifra::telemetry::Tasks;

use crate::db::{an_upload, at, insert, write};
use crate::harness::databases::TestDb;
use crate::harness::garage::{self, Garage};
use crate::harness::{TestApp, bytes};

/// As long as an upload lives by default.
const WEEK: std::time::Duration = std::time::Duration::from_hours(7 * 24);

fn open(storage: &Storage) -> ObjectStore {
    let options = ObjectOptions { budget: PartBudget::new(64 << 20), tasks: Tasks::default() };
    ObjectStore::open(storage, options).unwrap().unwrap()
}

fn a_key() -> BlobKey {
    BlobKey::of_file(&TenantId::default_tenant(), FileId::new(SystemClock::default().now()))
}

fn node(folder: &Path, url: &DatabaseUrl, storage: &Storage) -> Config {
    let mut config = Config::builtin(folder);
    config.database.url = url.clone();
    config.file_upload.storage = storage.clone();
    config
}

/// Starts a node; why it does not, if so.
async fn start(config: &Config) -> Result<App, String> {
    App::build(config, Arc::new(SystemClock::default())).await.map_err(|error| error.detail().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_on_a_new_bucket_agree_whose_it_is_and_others_are_refused() {
    let (test, folders) =
        (TestDb::postgres().await, [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let storage = garage::server().storage();
    let [first, second] = [&folders[0], &folders[1]].map(|folder| node(folder.path(), &test.url, &storage));
    let (one, other) = tokio::join!(start(&first), start(&second));
    drop((one.unwrap(), other.unwrap()));
    assert!(open(&storage).store_id().await.unwrap().is_some());
    drop(start(&first).await.unwrap());

    let stranger = TestDb::sqlite().await;
    let said = start(&node(folders[0].path(), &stranger.url, &storage)).await.unwrap_err();
    assert!(said.contains("belongs to another database"), "{said}");

    // From here on the database has something in the store, and it must be there.
    insert(&test.db, &Upload { store: "s3".to_owned(), ..an_upload(0) }).await;
    let elsewhere = garage::server().storage();
    let said = start(&node(folders[0].path(), &test.url, &elsewhere)).await.unwrap_err();
    assert!(said.contains("has no store_id, but the database knows files in it"), "{said}");
    assert_eq!(open(&elsewhere).store_id().await.unwrap(), None, "it was marked as ours");
    open(&elsewhere).put(&a_key(), stream::once("theirs"), Some(6)).await.unwrap();
    let said = start(&node(folders[0].path(), &TestDb::postgres().await.url, &elsewhere)).await.unwrap_err();
    assert!(said.contains("has things in it that are not cifra's"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_parts_that_no_row_names_are_orphans_and_a_blob_of_that_name_is_not() {
    let test = TestDb::sqlite().await;
    let store = open(&garage::server().storage());
    let named = Upload { key: a_key(), ..an_upload(0) };
    // First: Garage drops what was begun before a blob of that name.
    store.put(&named.key, stream::once("whole"), Some(5)).await.unwrap();
    let parts = store.begin(&named.key, Some(20 << 20)).await.unwrap();
    insert(&test.db, &Upload { parts, ..named.clone() }).await;
    // A second beginning of the same, whose answer was lost; and one of nobody.
    store.begin(&named.key, Some(20 << 20)).await.unwrap();
    store.begin(&a_key(), Some(20 << 20)).await.unwrap();
    // A file in one request, on its way for longer than a day: its key is announced.
    let announced = a_key();
    store.begin(&announced, Some(20 << 20)).await.unwrap();
    write(&test.db, move |c| {
        let key = announced.clone();
        Box::pin(async move { blob_deletions::insert(c, "default", &key, at(99), at(0)).await })
    })
    .await;
    // The row's id is that of the blob.
    let row = Upload { id: named.key.file().unwrap().1.upload(), key: named.key.clone(), ..an_upload(0) };
    insert(&test.db, &row).await;

    let look = async |age: Duration, treatment| {
        let clock = Arc::new(ManualClock::at(SystemClock::default().now().plus(age)));
        let orphans = Orphans::new(test.db.clone(), "default".to_owned(), Arc::new(store.clone()), clock);
        let who = Principal::operator(TenantId::default_tenant(), Actor::CommandLine);
        orphans.look(&who, treatment, |_| {}).await.unwrap()
    };
    let found = |unfinished, removed| Summary { looked_at: 1, unfinished, removed, ..Summary::default() };
    let (day, hour) = (Duration::from_hours(25), Duration::from_hours(1));
    assert_eq!(look(hour, Treatment::Remove).await, found(0, 0));
    assert_eq!(look(day, Treatment::Report).await, found(2, 0));
    assert_eq!(look(day, Treatment::Remove).await, found(2, 2));
    assert_eq!(look(day, Treatment::Report).await, found(0, 0));
    assert!(store.head(&named.key).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_is_refused_in_time_or_cut_when_the_store_goes_away() {
    let garage = Garage::start();
    let storage = garage.storage();
    let app = TestApp::builder().with(|config| config.file_upload.storage = storage).start().await;
    let file = app.file(bytes(32 << 20)).await;
    let part = app.get_with(&file.content_path(), &[("range", "bytes=20000000-20000009")]).await;
    assert_eq!(part.expect(206).body, &file.bytes[20_000_000..20_000_010]);

    let mut body = app.begin_to_get(&file.content_path()).await;
    let mut got = body.chunk().await.unwrap().unwrap().len();
    garage.pause();
    let broke = loop {
        match body.chunk().await {
            Ok(Some(frame)) => got += frame.len(),
            end => break end,
        }
    };
    assert!(broke.is_err(), "the download ended cleanly after {got} of {} bytes", file.bytes.len());

    let asked = Instant::now();
    let refused = app.get(&file.content_path()).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    refused.problem(503, "unavailable");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    app.get(&file.file_path()).await.expect(200);
    app.get("/readyz").await.expect(503);
    garage.go_on();
    assert_eq!(app.get(&file.content_path()).await.expect(200).body, file.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tries_the_rights_in_a_bucket_and_leaves_nothing_there() {
    let garage = garage::server();
    let storage = garage.storage();
    let right = ops::doctor::examine_store("s3", &open(&storage), WEEK).await;
    assert_eq!((right[0].check, right[0].status), ("store.rights", Level::Ok), "{right:?}");
    assert_eq!(right[1].check, "store.forgotten_parts", "{right:?}");
    assert!(open(&storage).is_empty().await.unwrap());

    // A bucket that is not there.
    let wrong = ops::doctor::examine_store("s3", &open(&garage.storage_in("nowhere", "p")), WEEK).await;
    assert_eq!((wrong.len(), wrong[0].status), (1, Level::Fail), "{wrong:?}");
    assert!(wrong[0].detail.contains("cannot put objects"), "{wrong:?}");
}
