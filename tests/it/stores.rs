//! Several stores: new bytes go to one, what the others have stays readable, and each must be the one that the
//! database means by its name.

use std::fs;
use std::path::Path;

use crate::harness::api::{CHUNK, chunk, ranges};
use crate::harness::process::Server;
use crate::suites::bytes;

const SIZE: usize = 3 * CHUNK;

/// New bytes go to `folder` of the data from the next start on, into a store named `name`.
fn move_on(server: &mut Server, name: &str, folder: &str) {
    let root = server.data().join(folder);
    server.set("file_upload.storage.name", name);
    server.set("file_upload.storage.local.root", root.to_str().unwrap());
}

/// The store `name`, in `folder` of the data, keeps what it has.
fn keep(server: &mut Server, name: &str, folder: &str) {
    let root = server.data().join(folder);
    server.set(&format!("file_upload.other_stores.{name}.local.root"), root.to_str().unwrap());
}

async fn finished(server: &Server, seed: u64) -> (String, Vec<u8>) {
    let content = bytes(SIZE, seed).to_vec();
    let id = server.api.create(SIZE).await;
    server.api.fill(&id, &content).await;
    server.api.finish(&id, &content).await;
    (id, content)
}

fn visible(root: &Path) -> usize {
    let mut count = 0;
    let mut folders = vec![root.join("blobs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() { folders.push(entry.path()) } else { count += 1 }
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_a_store_moved_on_stays_and_sessions_go_on_where_they_began() {
    let mut server = Server::start().await;
    let (kept, kept_content) = finished(&server, 1).await;
    let (doomed, _) = finished(&server, 2).await;
    let content = bytes(SIZE, 3);
    let (going_on, given_up) = (server.api.create(SIZE).await, server.api.create(SIZE).await);
    for id in [&going_on, &given_up] {
        assert_eq!(server.api.put(id, 1, chunk(&content, 1)).await.unwrap().status, 200);
    }
    server.stop().await;

    move_on(&mut server, "new", "new");
    let said = server.refuses();
    assert!(said.contains("`local`") && said.contains("file_upload.other_stores.local"), "{said}");
    keep(&mut server, "local", "blobs");
    server.begin(None).await;
    let (old, new) = (server.data().join("blobs"), server.data().join("new"));
    assert!(server.api.content(&kept).await.unwrap() == kept_content);

    // A session of before: its status, its chunks and its end.
    let status = server.api.upload(&going_on).await.unwrap();
    assert_eq!(ranges(&status.json["missing"]), [0, 2]);
    server.api.fill(&going_on, &content).await;
    server.api.finish(&going_on, &content).await;
    assert_eq!((visible(&old), visible(&new)), (3, 0));
    assert_eq!(server.api.abort(&given_up).await.unwrap().status, 204);
    assert_eq!(server.api.delete_file(&doomed).await.unwrap().status, 204);

    // What is new goes to the new one, in one request too.
    let (fresh, fresh_content) = finished(&server, 4).await;
    let small = server.api.file(b"small").await;
    assert_eq!(visible(&new), 2);
    server.settled(2).await;

    server.restart().await;
    for (id, content) in [(kept, kept_content), (going_on, content.to_vec()), (fresh, fresh_content)] {
        assert!(server.api.content(&id).await.unwrap() == content);
    }
    assert!(server.api.content(&small).await.unwrap() == b"small"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_old_store_is_away_the_service_is_degraded_and_takes_new_files() {
    let mut server = Server::start().await;
    let (old, content) = finished(&server, 1).await;
    server.stop().await;
    move_on(&mut server, "new", "new");
    keep(&mut server, "local", "blobs");
    server.begin(None).await;
    assert_eq!(server.api.get("/readyz").await.unwrap().json["status"], "ok");

    let (folder, away) = (server.data().join("blobs"), server.data().join("away"));
    fs::rename(&folder, &away).unwrap();
    let ready = server.api.get("/readyz").await.unwrap();
    assert_eq!((ready.status, ready.json["status"].as_str().unwrap()), (200, "degraded"));
    assert_eq!(ready.json["checks"]["store:local"]["status"], "away");
    assert_eq!(ready.json["checks"]["store"]["status"], "ok");
    let gone = server.api.get(&format!("/api/files/{old}/content")).await.unwrap();
    assert_eq!(gone.problem(), (503, "unavailable"));
    assert_eq!(server.api.get(&format!("/api/files/{old}")).await.unwrap().status, 200);
    finished(&server, 2).await;

    fs::rename(&away, &folder).unwrap();
    assert_eq!(server.api.get("/readyz").await.unwrap().json["status"], "ok");
    assert!(server.api.content(&old).await.unwrap() == content);

    let new = server.data().join("new");
    fs::rename(&new, &away).unwrap();
    assert_eq!(server.api.get("/readyz").await.unwrap().status, 503);
    assert!(server.api.content(&old).await.unwrap() == content);
    fs::rename(&away, &new).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_not_what_the_database_means_is_refused_with_what_to_do() {
    let mut server = Server::start().await;
    finished(&server, 1).await;
    server.stop().await;
    move_on(&mut server, "new", "new");
    keep(&mut server, "local", "blobs");
    server.begin(None).await;
    finished(&server, 2).await;
    server.stop().await;

    // Two folders, each under the other's name.
    move_on(&mut server, "new", "blobs");
    keep(&mut server, "local", "new");
    let said = server.refuses();
    assert!(said.contains("is the one that the database knows as `local`; call it `local`"), "{said}");

    // Another place than before, and one that has things in it.
    move_on(&mut server, "new", "elsewhere");
    keep(&mut server, "local", "blobs");
    assert!(server.refuses().contains("but the database knows files in it; is a volume not mounted?"));
    move_on(&mut server, "newer", "foreign");
    keep(&mut server, "new", "new");
    let thing = server.data().join("foreign/blobs/things/of/others");
    fs::create_dir_all(thing.parent().unwrap()).unwrap();
    fs::write(&thing, "precious").unwrap();
    let said = server.refuses();
    assert!(said.contains("has things in it that are not cifra's"), "{said}");
    assert!(said.contains("name an empty place in file_upload.storage"), "{said}");
    assert_eq!(fs::read(&thing).unwrap(), b"precious");

    // A second database, whose first start would take what is another's.
    for folder in ["blobs", "new"] {
        let mut other = Server::new();
        other.set("file_upload.storage.local.root", server.data().join(folder).to_str().unwrap());
        assert!(other.refuses().contains("belongs to another database"));
    }
}
