//! Files that are not what they were: staging files, the database, the store's folder. Nothing wrong is published,
//! the client is asked again or the operator is told what to do, and others go on.
//!
//! What is not promised: bytes that change on the disk *after* they were acknowledged and hashed, in the same run
//! of the kernel, are not read once more at finalize (it would cost a pass over the file). The file's digests are
//! then those of the bytes that were sent, so that whoever verifies a download notices.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use crate::client::cifra;
use crate::harness::api::{CHUNK, chunk, sha256};
use crate::harness::process::Server;
use crate::suites::bytes;

const SIZE: usize = 6 * CHUNK + 100;

#[derive(Debug, Clone, Copy)]
enum Damage {
    Cut,
    Gone,
    Flipped,
}

fn damage(server: &Server, damage: Damage) {
    let path = server.staged();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    match damage {
        Damage::Cut => file.set_len(3 * CHUNK as u64 + 1).unwrap(),
        Damage::Gone => fs::remove_file(&path).unwrap(),
        Damage::Flipped => file.write_all_at(b"flipped", 2 * CHUNK as u64 + 5).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_staging_file_is_never_published() {
    let cases: &[(Damage, &str, bool, &[usize])] = &[
        (Damage::Cut, "auto", true, &[3, 4, 5, 6]),
        (Damage::Cut, "auto", false, &[3, 4, 5, 6]),
        (Damage::Cut, "crc64nvme", true, &[3, 4, 5, 6]),
        (Damage::Gone, "auto", true, &[0, 1, 2, 3, 4, 5, 6]),
        (Damage::Gone, "auto", false, &[0, 1, 2, 3, 4, 5, 6]),
        (Damage::Gone, "crc64nvme", false, &[0, 1, 2, 3, 4, 5, 6]),
        // The SHA-256 goes over the bytes again after a restart, up to the first checkpoint.
        (Damage::Flipped, "auto", true, &[2]),
    ];
    for (what, checksum, restart, missing) in cases {
        let case = format!("{what:?}, {checksum}, restart: {restart}");
        let mut server = Server::start_with(&[("file_upload.checksum", checksum)]).await;
        let (content, other) = (bytes(SIZE, 1), bytes(SIZE, 2));
        let id = server.api.create(SIZE).await;
        server.api.fill(&id, &content).await;
        if *restart {
            server.kill9();
            damage(&server, *what);
            server.begin(None).await;
        } else {
            damage(&server, *what);
        }
        let bystander = server.api.create(SIZE).await;
        server.api.fill(&bystander, &other).await;

        let told = server.api.finalize(&id).await.unwrap();
        assert_eq!(told.problem(), (409, "upload-incomplete"), "{case}: {told:?}");
        assert_eq!(server.api.content(&id).await, None, "{case}");
        assert_eq!(server.api.missing(&id).await, *missing, "{case}");
        server.api.finish(&bystander, &other).await;
        server.api.fill(&id, &content).await;
        server.api.finish(&id, &content).await;
        server.settled(2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_flip_after_they_were_hashed_are_noticed_by_who_downloads() {
    let server = Server::start().await;
    let content = bytes(SIZE, 3);
    let id = server.api.create(SIZE).await;
    // In order: hashed on their way in.
    server.api.fill(&id, &content).await;
    damage(&server, Damage::Flipped);
    let done = server.api.finalize(&id).await.unwrap();
    assert_eq!((done.status, &done.json["checksum"]), (201, &sha256(&content).into()));
    let mut download = cifra();
    download.current_dir(server.beside("")).args([
        "download",
        &id,
        "-o",
        "out",
        "--server",
        server.api.url(),
    ]);
    let output = tokio::task::spawn_blocking(move || download.output().unwrap()).await.unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert!(!server.beside("out").exists(), "a file with wrong bytes was left under its name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_of_the_database_costs_what_is_on_it() {
    const PAGE: usize = 4096;
    let mut server = Server::start().await;
    let content = bytes(SIZE, 4);
    let mut uploads = Vec::new();
    for _ in 0..4 {
        let id = server.api.create(SIZE).await;
        server.api.put(&id, 0, chunk(&content, 0)).await.unwrap();
        uploads.push(id);
    }
    let (status, _) = server.stop().await;
    assert!(status.success());
    let sound = fs::read(server.database()).unwrap();
    let (mut refusals, mut starts) = (0, 0);
    for page in 0..sound.len() / PAGE {
        let mut damaged = sound.clone();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0xA5);
        for name in ["cifra.db-wal", "cifra.db-shm"] {
            let _ = fs::remove_file(server.data().join(name));
        }
        fs::write(server.database(), damaged).unwrap();
        server.launch(None);
        if !server.is_up().await {
            let status = server.ended().await;
            assert_eq!(status.code(), Some(1), "page {page}: {status}");
            let log = server.log();
            assert!(log.contains("damaged") && !log.contains("panicked"), "page {page}: {log}");
            refusals += 1;
            continue;
        }
        for id in &uploads {
            let answer = server.api.upload(id).await.unwrap();
            assert!(matches!(answer.status, 200 | 404 | 500 | 503), "page {page}: {answer:?}");
        }
        let created =
            server.api.create_as(&serde_json::json!({ "filename": "a", "total_size": 1 })).await.unwrap();
        if created.status == 201 {
            let id = created.json["upload_id"].as_str().unwrap();
            starts += i32::from(server.api.put(id, 0, b"a").await.unwrap().status == 200);
        }
        assert_eq!(server.api.get("/healthz").await.unwrap().status, 200);
        assert!(!server.log().contains("panicked"), "page {page}: {}", server.log());
        server.kill9();
    }
    assert!(refusals > 0 && starts > 0, "{refusals} refused to start, {starts} took uploads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_none_is_refused_with_words() {
    let mut server = Server::start().await;
    let id = server.api.create(SIZE).await;
    server.api.put(&id, 0, &bytes(CHUNK, 1)).await.unwrap();
    server.stop().await;
    let staged = server.staged();

    fs::write(server.database(), bytes(100_000, 9)).unwrap();
    assert!(server.refuses().contains("is damaged and was left as it is"));
    assert_eq!(fs::read(server.database()).unwrap(), bytes(100_000, 9));

    // Empty, as on a volume that is not mounted: what is staged belongs to the one that is missing.
    for empty in [true, false] {
        fs::remove_file(server.database()).unwrap();
        if empty {
            fs::write(server.database(), "").unwrap();
        }
        assert!(server.refuses().contains("belongs to another database"));
        assert!(staged.exists(), "the bytes of an upload were removed on a hunch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_is_refused() {
    let mut server = Server::start().await;
    let content = bytes(SIZE, 5);
    let id = server.api.create(SIZE).await;
    server.api.fill(&id, &content).await;
    server.api.finish(&id, &content).await;
    server.stop().await;
    let (folder, away) = (server.data().join("blobs"), server.beside("unmounted"));
    fs::rename(&folder, &away).unwrap();
    assert!(server.refuses().contains("is a volume not mounted?"));
    fs::create_dir_all(&folder).unwrap();
    assert!(server.refuses().contains("is a volume not mounted?"));

    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    server.begin(None).await;
    server.api.finish(&id, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_data_is_refused() {
    let server = Server::start().await;
    let content = bytes(SIZE, 6);
    let id = server.api.create(SIZE).await;
    server.api.put(&id, 0, chunk(&content, 0)).await.unwrap();
    assert!(server.refuses().contains("is in use by another process"));
    server.api.fill(&id, &content).await;
    server.api.finish(&id, &content).await;
}
