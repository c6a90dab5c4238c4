//! A disk that is full while the service runs on it: a tmpfs of its own, for the data and the database, in a mount
//! namespace that goes away with the child process that runs the test.

use std::fs;
use std::path::Path;

use rustix::fs::statvfs;
use serde_json::json;

use crate::child;
use crate::harness::api::{Answer, CHUNK, chunk};
use crate::harness::process::Server;
use crate::suites::bytes;

const DISK_BYTES: usize = 24 << 20;

/// Runs `scenario` in a child process, with an empty small disk.
fn on_a_small_disk(name: &str, scenario: impl AsyncFnOnce(&Path)) {
    if let Some(disk) = child::role() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(scenario(Path::new(&disk)));
    }
    let folder = tempfile::tempdir().unwrap();
    let namespace = if rustix::process::geteuid().is_root() { "-m" } else { "-Urm" };
    let mount = format!("mount -t tmpfs -o size={DISK_BYTES} cifra-test \"$CIFRA_TEST_ROLE\" && exec \"$@\"");
    let wrapper = ["unshare", namespace, "sh", "-c", &mount, "sh"];
    let output = child::again(&format!("full_disk::{name}"), folder.path().to_str().unwrap(), &wrapper);
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success() && said(&output.stdout).contains("1 passed"),
        "this test mounts a tmpfs: it needs root, or user namespaces (`unshare -Urm`)\n{}\n{}",
        said(&output.stdout),
        said(&output.stderr)
    );
}

fn free(disk: &Path) -> usize {
    let stat = statvfs(disk).unwrap();
    usize::try_from(stat.f_bavail * stat.f_frsize).unwrap()
}

/// Leaves `bytes` free for others.
fn fill_up(disk: &Path, bytes: usize) -> impl Fn() {
    let filler = disk.join("filler");
    fs::write(&filler, vec![1; free(disk).saturating_sub(bytes)]).unwrap();
    move || fs::remove_file(&filler).unwrap()
}

fn is_full(answer: &Answer) {
    assert_eq!(answer.problem(), (507, "storage-full"), "{answer:?}");
    assert!(answer.retry_after.is_some(), "{answer:?}");
}

#[test]
fn a_full_disk_refuses_chunks_and_takes_them_when_there_is_room() {
    on_a_small_disk("a_full_disk_refuses_chunks_and_takes_them_when_there_is_room", async |disk| {
        let mut server = Server::on(disk);
        server.set("file_upload.min_free", "2MiB"); // what the database lives on when the disk is full
        server.begin(None).await;
        let api = &server.api;
        let (content, small) = (bytes(60 * CHUNK, 1), bytes(2 * CHUNK, 2));
        let file = api.create(small.len()).await;
        api.fill(&file, &small).await;
        api.finish(&file, &small).await;
        let open = api.create(small.len()).await;
        assert_eq!(api.put(&open, 0, chunk(&small, 0)).await.unwrap().status, 200);
        let id = api.create(content.len()).await;

        let free_again = fill_up(disk, (2 << 20) + CHUNK / 2);
        for _ in 0..3 {
            is_full(&api.put(&id, 0, chunk(&content, 0)).await.unwrap());
        }
        is_full(&api.create_as(&json!({ "filename": "a", "total_size": 1 << 20 })).await.unwrap());
        let upload = api.upload(&id).await.unwrap().json;
        assert_eq!((&upload["received_bytes"], &upload["received_chunks"]), (&0.into(), &0.into()));
        assert_eq!(api.get("/readyz").await.unwrap().status, 200);
        assert!(api.content(&file).await.unwrap() == small);
        // Its room was taken with its first chunk.
        api.fill(&open, &small).await;
        api.finish(&open, &small).await;

        free_again();
        api.fill(&id, &content).await;
        api.finish(&id, &content).await;
        server.settled(3).await;
    });
}

#[test]
fn a_disk_without_room_for_the_database_loses_nothing() {
    on_a_small_disk("a_disk_without_room_for_the_database_loses_nothing", async |disk| {
        let mut server = Server::on(disk);
        server.begin(None).await;
        let api = server.api.clone();
        let content = bytes(40 * CHUNK, 1);
        let id = api.create(content.len()).await;
        assert_eq!(api.put(&id, 0, chunk(&content, 0)).await.unwrap().status, 200);
        let free_again = fill_up(disk, 0);
        let mut taken = vec![0];
        let mut refused = 0;
        for index in 1..40 {
            let answer = api.put(&id, index, chunk(&content, index)).await.unwrap();
            if answer.status == 200 {
                taken.push(index);
            } else {
                is_full(&answer);
                refused += 1;
            }
        }
        assert!(refused > 0, "the disk was not full");
        let missing: Vec<_> = (0..40).filter(|index| !taken.contains(index)).collect();
        assert_eq!(api.missing(&id).await, missing);
        // That needs no room.
        assert_eq!(api.finalize(&id).await.unwrap().problem(), (409, "upload-incomplete"));
        free_again();
        api.fill(&id, &content).await;
        api.finish(&id, &content).await;
        server.restart().await;
        server.api.finish(&id, &content).await;
        server.settled(1).await;
    });
}

#[test]
fn uploads_that_would_not_fit_beside_the_others_are_not_begun() {
    on_a_small_disk("uploads_that_would_not_fit_beside_the_others_are_not_begun", async |disk| {
        let mut server = Server::on(disk);
        server.set("file_upload.min_free", "4MiB");
        server.begin(None).await;
        let api = &server.api;
        let of = |size: usize| json!({ "filename": "a", "total_size": size });
        is_full(&api.create_as(&of(DISK_BYTES)).await.unwrap());
        let first = api.create(12 << 20).await;
        is_full(&api.create_as(&of(10 << 20)).await.unwrap());
        let second = api.create(4 << 20).await;
        // What has come is not promised any more, but it is on the disk.
        let content = bytes(12 << 20, 1);
        api.fill(&first, &content).await;
        is_full(&api.create_as(&of(4 << 20)).await.unwrap());
        assert_eq!(api.abort(&second).await.unwrap().status, 204);
        assert_eq!(api.create_as(&of(4 << 20)).await.unwrap().status, 201);
        api.finish(&first, &content).await;
    });
}
