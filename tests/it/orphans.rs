//! `cifra storage orphans`: what no row names is told, and removed only when that was asked for; everything else stays.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use cifra::base::principal::Actor;
use cifra::base::thumbnail::ThumbnailSpec;
use cifra::base::{BlobKey, Clock, FileId, ManualClock, Principal, SystemClock, TenantId, Timestamp, stream};
use cifra::blob::BlobStore;
use cifra::blob::object::{ObjectOptions, ObjectStore, PartBudget};
use cifra::db::uploads::Upload;
use cifra::db::{DatabaseUrl, Db, blob_deletions, stores};
use cifra::ops::orphans::{Orphan, Orphans, Summary, Treatment};
use cifra::telemetry::Tasks;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::client::cifra;
use crate::db::{an_upload, at, insert, write};
use crate::harness::api::CHUNK;
use crate::harness::databases::{both_engines, options};
use crate::harness::process::Server;
use crate::suites::bytes;

const MORE_THAN_A_DAY: Duration = Duration::from_hours(25);

fn orphans(server: &Server, arguments: &[&str]) -> Output {
    let mut command = cifra();
    command.current_dir(server.data().parent().unwrap()).env("CIFRA__SERVER__DATA_DIR", server.data());
    command.args(["storage", "orphans"]).args(arguments).output().unwrap()
}

fn lines(server: &Server, arguments: &[&str]) -> Vec<Value> {
    let output = orphans(server, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn a_key() -> BlobKey {
    BlobKey::of_file(&TenantId::default_tenant(), FileId::new(SystemClock::default().now()))
}

/// Puts a file into the store behind the service's back.
fn plant(server: &Server, name: &str) -> PathBuf {
    let path = server.data().join("blobs/blobs").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "planted").unwrap();
    path
}

fn grow_old(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemClock::default().now().minus(MORE_THAN_A_DAY).to_system_time()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_service_only_what_no_row_names_for_a_day_is_told_and_removed() {
    let mut server = Server::start().await;
    let content = bytes(3 * CHUNK, 1);
    let (small, whole) = (server.api.file(b"small").await, server.api.create(content.len()).await);
    server.api.fill(&whole, &content).await;
    server.api.finish(&whole, &content).await;
    let going_on = server.api.create(content.len()).await;
    server.api.put(&going_on, 0, &content[..CHUNK]).await.unwrap();
    server.stop().await;
    // One that waits to be deleted is the service's to remove.
    server
        .sql(
            "INSERT INTO cifra_blob_deletions (store, blob_key, purge_after, created_at)
             VALUES ('local', 'default/7c/0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c', 9000000000000000, 0)",
        )
        .await;
    server.begin(None).await;
    plant(&server, "default/7c/0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c");
    let foreign = plant(&server, "things/of/others");
    let key = a_key();
    let orphan = plant(&server, key.as_str());
    server.stored().iter().for_each(|path| grow_old(path));
    let young = plant(&server, a_key().as_str());
    let before = server.stored();

    let told = lines(&server, &["--json"]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((&told[0]["kind"], &told[0]["key"]), (&json!("blob"), &json!(key.as_str())));
    assert_eq!((&told[0]["size"], &told[0]["removed"]), (&json!(7), &json!(false)));
    let summary = |removed| {
        json!({ "kind": "summary", "store": "local", "looked_at": 6, "blobs": 1, "bytes": 7, "unfinished": 0,
                "foreign": 1, "removed": removed })
    };
    assert_eq!(told[1], summary(0));
    assert_eq!(server.stored(), before, "something was removed that nobody confirmed");
    let text = String::from_utf8(orphans(&server, &[]).stdout).unwrap();
    assert!(text.contains(key.as_str()) && text.contains("--confirm removes them"), "{text}");

    let told = lines(&server, &["--json", "--confirm"]);
    assert_eq!((&told[0]["removed"], &told[1]), (&json!(true), &summary(1)));
    assert!(!orphan.exists() && foreign.exists() && young.exists());
    assert_eq!(server.stored().len(), before.len() - 1);
    let noted = "SELECT COUNT(*) FROM cifra_audit WHERE action = 'orphans-removed' AND target = 'local' \
                 AND tenant_id IS NULL AND actor = 'command-line'";
    assert_eq!(server.count(noted).await, 1);
    assert_eq!(lines(&server, &["--json", "--confirm"]).len(), 1);
    assert_eq!(server.count(noted).await, 1, "nothing was removed, and that was noted");

    assert!(server.api.content(&small).await.unwrap() == b"small"[..]);
    assert!(server.api.content(&whole).await.unwrap() == content);
    server.api.fill(&going_on, &content).await;
    server.api.finish(&going_on, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_the_databases_is_never_looked_through() {
    let mut server = Server::start().await;
    server.api.file(b"kept").await;
    server.stop().await;
    assert_eq!(orphans(&server, &["--store", "other"]).status.code(), Some(3));

    // Another database, for which everything here would be an orphan.
    let mut other = Server::new();
    other.begin(None).await;
    other.stop().await;
    let root = server.data().join("blobs");
    let mut command = cifra();
    command.current_dir(server.data()).env("CIFRA__SERVER__DATA_DIR", other.data());
    command.env("CIFRA__FILE_UPLOAD__STORAGE__LOCAL__ROOT", root);
    let output = command.args(["storage", "orphans", "--confirm"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("belongs to another database"), "{said}");
    assert_eq!(server.stored().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gets_a_row_while_the_store_is_looked_through_stays() {
    let tenant = TenantId::default_tenant();
    for test in both_engines().await {
        let now = SystemClock::default().now();
        write(&test.db, move |c| Box::pin(stores::remember(c, "default", Uuid::from_u128(1), "memory", now)))
            .await;
        let budget = PartBudget::new(64 << 20);
        let options = ObjectOptions { budget, tasks: Tasks::default() };
        let store = ObjectStore::memory(options).unwrap();
        let mut keys = Vec::new();
        for _ in 0..2 * stores::LOOKED_UP_MAX {
            let key = a_key();
            store.put(&key, stream::once("bytes"), Some(5)).await.unwrap();
            keys.push(key);
        }
        let clock = ManualClock::at(now.plus(MORE_THAN_A_DAY));
        let orphans =
            Orphans::new(test.db.clone(), "default".to_owned(), Arc::new(store.clone()), Arc::new(clock));
        let who = Principal::operator(tenant.clone(), Actor::CommandLine);

        // As soon as the first is gone each of the others has a row: of an upload, or of a deletion.
        let mut gone = Vec::new();
        let summary = orphans.look(&who, Treatment::Remove, |orphan| {
            let Orphan::Blob(meta) = orphan else { panic!("{orphan:?}") };
            if gone.is_empty() {
                let others = keys.iter().filter(|key| **key != meta.key);
                tokio::task::block_in_place(|| Handle::current().block_on(name_all(&test.db, others)));
            }
            gone.push(meta.key.clone());
        });
        let summary = summary.await.unwrap();
        let looked_at = keys.len() as u64;
        let expected = Summary { looked_at, blobs: 1, bytes: 5, removed: 1, ..Summary::default() };
        assert_eq!(summary, expected, "{}", test.engine);
        for key in &keys {
            assert_eq!(store.head(key).await.unwrap().is_some(), !gone.contains(key), "{}", test.engine);
        }
    }
}

async fn name_all(db: &Db, keys: impl Iterator<Item = &BlobKey>) {
    for (place, key) in keys.enumerate() {
        let key = key.clone();
        if place % 2 == 0 {
            let far = Timestamp::from_micros(i64::MAX);
            write(db, move |c| {
                let key = key.clone();
                Box::pin(async move { blob_deletions::insert(c, "default", &key, far, at(0)).await })
            })
            .await;
        } else {
            let id = key.file().unwrap().1.upload();
            let upload = Upload { id, key, ..an_upload(0) };
            insert(db, &upload).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_is_an_orphan_when_no_row_names_it_though_its_file_is_there() {
    let mut server = Server::start().await;
    let id = server.api.file(b"small").await;
    server.stop().await;
    let file: FileId = id.parse().unwrap();
    let (size, version) = ("small".parse().unwrap(), ThumbnailSpec::inside(150, 150).version());
    let key = || BlobKey::of_thumbnail(&TenantId::default_tenant(), file, &size, &version, Uuid::new_v4());
    let (named, noted, unknown) = (key(), key(), key());
    let database = DatabaseUrl::Sqlite(server.database());
    let db = Db::connect(&database, &options(), &Tasks::default()).await.unwrap();
    let (made, waits) = (named.clone(), noted.clone());
    write(&db, move |c| {
        let (made, waits) = (made.clone(), waits.clone());
        Box::pin(async move {
            const MADE: &str = "
                INSERT INTO cifra_thumbnails (file_id, size_name, tenant_id, spec_version, status, store, blob_key,
                    width, height, bytes, content_type, made_at)
                VALUES ($1, 'small', 'default', '', 'ready', 'local', $2, 1, 1, 7, 'image/png', 0)
            ";
            let cifra::db::Conn::Sqlite(one) = &mut *c else { unreachable!() };
            sqlx::query(MADE).bind(file).bind(&made).execute(&mut **one).await?;
            let far = Timestamp::from_micros(i64::MAX);
            blob_deletions::insert(c, "local", &waits, far, at(0)).await
        })
    })
    .await;
    db.close().await;
    for key in [&named, &noted, &unknown] {
        grow_old(&plant(&server, key.as_str()));
    }
    let told = lines(&server, &["--json", "--confirm"]);
    assert_eq!((told.len(), &told[0]["key"]), (2, &json!(unknown.as_str())), "{told:?}");
    assert_eq!((&told[1]["looked_at"], &told[1]["foreign"]), (&json!(4), &json!(0)));
    assert_eq!(server.stored().len(), 3);
}
