//! `cifra thumbnails rebuild`: every picture gets its job once, in small steps, and an interrupted one goes on.

use std::process::Output;
use std::sync::Arc;

use cifra::base::principal::Actor;
use cifra::base::thumbnail::{NamedSize, SpecVersion, ThumbnailSpec};
use cifra::base::{BlobKey, Code, FileId, ManualClock, Principal, TenantId};
use cifra::db::files::{self, File};
use cifra::db::jobs::{self, JobUrgency};
use cifra::db::thumbnails::{self, Making, Outcome, Thumbnail};
use cifra::db::usage::Limits;
use cifra::db::{Db, stores};
use cifra::imaging::Reason;
use cifra::ops::rebuild::{Looked, Rebuild, Wish};
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::client::cifra;
use crate::db::{a_file, at, read, write};
use crate::harness::TestApp;
use crate::harness::databases::both_engines;
use crate::harness::pictures::jpeg;
use crate::harness::process::Server;

fn sizes() -> Vec<NamedSize> {
    let size = |name: &str, side| NamedSize { name: name.parse().unwrap(), spec: (side, side).into() };
    vec![size("small", 150), size("large", 800)]
}

fn operator() -> Principal {
    Principal::operator(TenantId::default_tenant(), Actor::CommandLine)
}

fn rebuild_of(db: &Db) -> Rebuild {
    Rebuild::new(db.clone(), Arc::new(ManualClock::at(at(100))), &sizes())
}

/// So many files of `tenant`, the first ones no pictures.
async fn insert_files(db: &Db, tenant: &str, others: u32, pictures: u32) -> Vec<FileId> {
    let tenant: TenantId = tenant.parse().unwrap();
    let files: Vec<File> = (0..others + pictures)
        .map(|number| {
            let id = FileId::new(at(9));
            let content_type = if number < others { "text/plain" } else { "image/png" }.to_owned();
            let (key, tenant) = (BlobKey::of_file(&tenant, id), tenant.clone());
            File { id, key, tenant, content_type, ..a_file() }
        })
        .collect();
    let inserted = files.clone();
    write(db, move |c| {
        let files = inserted.clone();
        Box::pin(async move {
            stores::remember(c, "default", Uuid::from_u128(1), "local", at(0)).await?;
            for file in &files {
                files::insert(c, file, &Limits::NONE).await?.require(&Limits::NONE)?;
            }
            Ok(())
        })
    })
    .await;
    files.iter().skip(others as usize).map(|file| file.id).collect()
}

/// Notes of each size that there is none, as far as specs have a version.
async fn note_failures(db: &Db, file: FileId, reason: Reason, versions: &[(&'static str, SpecVersion)]) {
    let thumbnails = versions.iter().map(|(name, version)| Thumbnail {
        file,
        size: name.parse().unwrap(),
        version: version.clone(),
        outcome: Outcome::Without(reason),
        made_at: at(10),
    });
    let (tenant, announced_until) = (TenantId::default_tenant(), at(0));
    let thumbnails: Vec<_> = thumbnails.collect();
    let making = Making { tenant, file, image: None, thumbnails, announced_until, others: Vec::new() };
    write(db, move |c| {
        let making = making.clone();
        Box::pin(async move { thumbnails::put(c, &making, at(0), at(0)).await.map(drop) })
    })
    .await;
}

async fn versions_of(db: &Db, file: FileId) -> Vec<(String, SpecVersion)> {
    let rows = read(db, move |c| {
        Box::pin(async move { thumbnails::of_files(c, &TenantId::default_tenant(), &[file]).await })
    });
    let mut versions: Vec<_> =
        rows.await.into_iter().map(|row| (row.size.to_string(), row.version)).collect();
    versions.sort_by(|a, b| a.0.cmp(&b.0));
    versions
}

async fn waiting(db: &Db) -> u64 {
    read(db, |c| Box::pin(jobs::waiting(c, jobs::THUMBNAILS, JobUrgency::Rebuild))).await.jobs
}

#[tokio::test]
async fn every_picture_of_every_tenant_or_of_one_gets_a_job() {
    for test in both_engines().await {
        insert_files(&test.db, "alice", 3, 60).await;
        insert_files(&test.db, "bob", 0, 1).await;
        insert_files(&test.db, "carol", 2, 0).await;
        insert_files(&test.db, "dave", 1, 50).await;
        let rebuild = rebuild_of(&test.db);
        let dave = Wish { tenant: Some("dave".parse().unwrap()), ..Wish::default() };
        let looked = rebuild.add_jobs(&operator(), &dave, |_| {}).await.unwrap();
        assert_eq!(looked, Looked { pictures: 50, added: 50 }, "{}", test.engine);
        assert_eq!(waiting(&test.db).await, 50, "{}", test.engine);
        for _ in 0..2 {
            let looked = rebuild.add_jobs(&operator(), &Wish::default(), |_| {}).await.unwrap();
            assert_eq!(looked, Looked { pictures: 111, added: 111 }, "{}", test.engine);
            assert_eq!(waiting(&test.db).await, 111, "{}: a picture has one job", test.engine);
        }
        let unknown = Wish { size: Some("huge".parse().unwrap()), ..Wish::default() };
        let refused = rebuild.add_jobs(&operator(), &unknown, |_| {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{}", test.engine);
    }
}

#[tokio::test]
async fn missing_are_those_without_a_row_of_their_spec_and_the_others_stay_as_they_are() {
    let [small, large] = [(150, "small"), (800, "large")]
        .map(|(side, name)| (name, ThumbnailSpec::from((side, side)).version()));
    let other = ("large", ThumbnailSpec::from((801, 801)).version());
    for test in both_engines().await {
        let ids = insert_files(&test.db, "default", 0, 5).await;
        let [whole, partly, outdated, crashed, _nothing] = ids.as_slice() else { panic!("five pictures") };
        let both = [small.clone(), large.clone()];
        note_failures(&test.db, *whole, Reason::Corrupt, &both).await;
        note_failures(&test.db, *partly, Reason::Corrupt, std::slice::from_ref(&small)).await;
        note_failures(&test.db, *outdated, Reason::Corrupt, &[small.clone(), other.clone()]).await;
        // It may have been the machine's fault.
        note_failures(&test.db, *crashed, Reason::Crashed, &both).await;
        let rebuild = rebuild_of(&test.db);
        let before = versions_of(&test.db, *whole).await;
        for (size, added) in [(Some("small"), 2), (None, 4)] {
            let size = size.map(|name| name.parse().unwrap());
            let wish = Wish { only_missing: true, size, tenant: None };
            let looked = rebuild.add_jobs(&operator(), &wish, |_| {}).await.unwrap();
            assert_eq!(looked, Looked { pictures: 5, added }, "{}", test.engine);
        }
        assert_eq!(versions_of(&test.db, *whole).await, before, "{}", test.engine);

        let wish = Wish { size: Some("small".parse().unwrap()), ..Wish::default() };
        let looked = rebuild.add_jobs(&operator(), &wish, |_| {}).await.unwrap();
        assert_eq!(looked, Looked { pictures: 5, added: 5 }, "{}", test.engine);
        let after = versions_of(&test.db, *whole).await;
        assert_eq!((&after[0], after[1] == before[1]), (&before[0], false), "{}", test.engine);
    }
}

#[tokio::test]
async fn an_interrupted_one_goes_on_where_it_was() {
    for test in both_engines().await {
        insert_files(&test.db, "alice", 0, 120).await;
        insert_files(&test.db, "bob", 0, 120).await;
        let who = operator();
        let (rebuild, wish, interrupted) = (rebuild_of(&test.db), Wish::default(), Notify::new());
        tokio::select! {
            biased;
            () = interrupted.notified() => {}
            _ = rebuild.add_jobs(&who, &wish, |looked| {
                if looked.pictures >= 120 {
                    interrupted.notify_one();
                }
            }) => panic!("it came to its end"),
        }
        let mut first = None;
        let looked = rebuild.add_jobs(&who, &wish, |looked| first = first.or(Some(looked.pictures)));
        assert_eq!(looked.await.unwrap(), Looked { pictures: 240, added: 240 }, "{}", test.engine);
        assert!(first >= Some(120), "{}: it began anew: {first:?}", test.engine);
        assert_eq!(waiting(&test.db).await, 240, "{}", test.engine);
        // Given again while the jobs wait it adds nothing: what was made meanwhile stays made.
        let mut first = None;
        let looked = rebuild.add_jobs(&who, &wish, |looked| first = first.or(Some(looked.pictures)));
        assert_eq!((looked.await.unwrap().added, first), (240, Some(240)), "{}", test.engine);
        // When they are done the next one begins at the beginning.
        rebuild.forget_position(&wish).await.unwrap();
        let mut first = None;
        rebuild.add_jobs(&who, &wish, |looked| first = first.or(Some(looked.pictures))).await.unwrap();
        assert_eq!(first, Some(0), "{}", test.engine);
    }
}

fn rebuild(server: &Server, arguments: &[&str]) -> Output {
    let mut command = cifra();
    command.current_dir(server.data().parent().unwrap()).env("CIFRA__SERVER__DATA_DIR", server.data());
    // The machine's disk may be nearly full.
    command.env("CIFRA__FILE_UPLOAD__MIN_FREE", "0");
    command.args(["thumbnails", "rebuild"]).args(arguments).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_it_did_and_what_it_does_not_know() {
    let mut server = Server::start().await;
    server.api.file(b"no picture").await;
    for beside in [true, false] {
        let done = rebuild(&server, &["--missing", "--json"]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        let summary: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(summary, json!({ "kind": "summary", "pictures": 0, "rebuilt": 0 }));
        assert_eq!(said.contains("left to the process that has the data"), beside, "{said}");
        if beside {
            server.stop().await;
        }
    }
    assert_eq!(rebuild(&server, &["--size", "enormous"]).status.code(), Some(3));
    assert_eq!(rebuild(&server, &["--size", "Not A Size"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_service_it_does_the_work_itself_and_beside_one_it_leaves_it_to_it() {
    let mut server = Server::start_with(&[("thumbnails.eager", "false")]).await;
    let mut ids = Vec::new();
    for seed in 0..3 {
        let created = server.api.create_file("a.jpg", &jpeg(300, 200, seed)).await.unwrap();
        ids.push(created.json["id"].as_str().unwrap().to_owned());
    }
    server.stop().await;
    let made = |server: &Server, arguments: &[&str]| -> Value {
        let done = rebuild(server, &[arguments, &["--json"]].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    };
    let summary = |rebuilt| json!({ "kind": "summary", "pictures": 3, "rebuilt": rebuilt });
    assert_eq!(made(&server, &["--missing"]), summary(3));
    assert_eq!(made(&server, &["--missing"]), summary(0));
    // The three pictures and their thumbnails.
    assert_eq!(server.stored().len(), 12);
    server.begin(None).await;
    for id in &ids {
        let record = server.api.get(&format!("/api/files/{id}")).await.unwrap().json;
        assert_eq!(record["thumbnails"]["large"]["status"], "ready", "{record}");
    }
    let keys = |server: &Server| {
        let all = server.stored().into_iter().map(|path| path.display().to_string());
        let (small, others): (Vec<_>, Vec<_>) = all.partition(|path| path.contains(".small."));
        (small, others)
    };
    let (small, others) = keys(&server);
    assert_eq!(made(&server, &["--size", "small"]), summary(3));
    // The old ones' bytes go with the next round of the sweeper: at once after a start.
    server.restart().await;
    server.settled(12).await;
    let (new_small, same_others) = keys(&server);
    assert_eq!((same_others, new_small.len()), (others, 3));
    assert!(new_small.iter().all(|path| !small.contains(path)), "they were not made again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_again_serves_until_it_is() {
    let app = TestApp::start().await;
    let file = app.picture(jpeg(300, 200, 0)).await;
    let record = app.settled(&file).await;
    let before = app.thumbnail(&file, "small").await.expect(200);
    // As the command leaves it until somebody comes to it.
    let outdate = "UPDATE cifra_thumbnails SET spec_version = '~' || spec_version \
                   WHERE size_name = 'small' RETURNING width";
    assert_eq!(app.number_in_database(outdate).await, 150);
    assert_eq!(app.get(&file.file_path()).await.expect(200).json()["thumbnails"], record["thumbnails"]);
    let after = app.thumbnail(&file, "small").await.expect(200);
    assert_eq!((after.header("etag"), &after.body), (before.header("etag"), &before.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_what_keeps_it_from_the_files_and_what_could_not_be_made() {
    let mut server = Server::start_with(&[("thumbnails.eager", "false")]).await;
    server.api.create_file("a.jpg", &jpeg(300, 200, 0)).await.unwrap();
    server.stop().await;
    let said = |done: &Output| String::from_utf8_lossy(&done.stderr).into_owned();
    let blobs = server.data().join("blobs");
    let hidden = blobs.with_extension("hidden");
    std::fs::rename(&blobs, &hidden).unwrap();
    std::fs::write(&blobs, "no folder").unwrap();
    let done = rebuild(&server, &[]);
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    assert!(said(&done).contains("of store `local` cannot be used"), "{}", said(&done));
    std::fs::remove_file(&blobs).unwrap();
    std::fs::rename(&hidden, &blobs).unwrap();

    // Its bytes are lost.
    for path in server.stored() {
        std::fs::remove_file(path).unwrap();
    }
    let done = rebuild(&server, &[]);
    assert_eq!(done.status.code(), Some(6), "{}", said(&done));
    assert!(said(&done).contains("the thumbnails of 1 pictures could not be made"), "{}", said(&done));
}
