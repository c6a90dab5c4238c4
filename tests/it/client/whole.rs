//! `cifra upload` of small files: one request each, against the fake server.

use std::fs;

use axum::http::StatusCode;
use serde_json::Value;

use super::fake::{Fake, Fault};
use super::{bytes, done, fails};

/// A file that is small enough.
const SMALL: &[&str] = &["upload", "--chunked-above", "10000"];

fn with<'a>(first: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [first, more].concat()
}

/// What came, as `METHOD path`.
fn seen(fake: &Fake) -> Vec<String> {
    fake.world().seen.iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
}

fn contents(fake: &Fake) -> Vec<Vec<u8>> {
    fake.world().sessions.values().map(|session| session.content.to_vec()).collect()
}

#[test]
fn a_small_file_goes_up_in_one_request_with_its_path_and_digest() {
    let (fake, folder, content) = (Fake::start(), tempfile::tempdir().unwrap(), bytes(9_500));
    fs::create_dir(folder.path().join("photos")).unwrap();
    fs::write(folder.path().join("photos/a b.jpg"), &content).unwrap();
    fs::write(folder.path().join("photos/empty"), "").unwrap();
    let printed = done(&fake, folder.path(), &with(SMALL, &["--json", "photos"]));
    let records: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |name: &str| records.iter().find(|record| record["filename"] == name).unwrap();
    assert_eq!((told("a b.jpg")["size"].as_u64(), told("empty")["size"].as_u64()), (Some(9_500), Some(0)));
    assert_eq!(told("a b.jpg")["metadata"]["path"], "a b.jpg");
    assert!(contents(&fake).contains(&content));
    let mut seen = seen(&fake);
    seen.sort_unstable();
    assert_eq!(seen, ["GET /api/files", "GET /api/files", "POST /api/files", "POST /api/files"]);
}

#[test]
fn larger_files_go_up_by_chunks() {
    let (fake, folder) = (Fake::start(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("a.bin"), bytes(10_001)).unwrap();
    done(&fake, folder.path(), &with(SMALL, &["a.bin"]));
    assert_eq!(fake.take_puts().len(), 11);
    fs::write(folder.path().join("b.bin"), bytes(2_000)).unwrap();
    done(&fake, folder.path(), &with(SMALL, &["--chunk-size", "64KiB", "b.bin"]));
    assert_eq!(fake.take_puts().len(), 2);
}

#[test]
fn a_lost_answer_makes_no_second_file() {
    let (fake, folder, content) = (Fake::start(), tempfile::tempdir().unwrap(), bytes(5_000));
    fs::write(folder.path().join("a.bin"), &content).unwrap();
    fake.fault("POST /api/files", Fault::DoAndCut);
    fake.fault("POST /api/files", Fault::Busy("0"));
    done(&fake, folder.path(), &with(SMALL, &["a.bin"]));
    assert_eq!(contents(&fake), [content]);
    let world = fake.world();
    let posts: Vec<_> = world.seen.iter().filter(|seen| seen.method == "POST").collect();
    assert_eq!(posts.len(), 3);
    assert!(posts.iter().all(|post| post.headers["idempotency-key"] == posts[0].headers["idempotency-key"]));
}

#[test]
fn a_file_that_is_there_is_not_sent_again_unless_it_changed() {
    let (fake, folder) = (Fake::start(), tempfile::tempdir().unwrap());
    let path = folder.path().join("a.bin");
    fs::write(&path, bytes(5_000)).unwrap();
    let first = done(&fake, folder.path(), &with(SMALL, &["a.bin"]));
    assert_eq!(done(&fake, folder.path(), &with(SMALL, &["a.bin"])), first);
    assert_eq!(contents(&fake).len(), 1);
    assert_ne!(done(&fake, folder.path(), &with(SMALL, &["--fresh", "a.bin"])), first);
    assert_eq!(contents(&fake).len(), 2);
    fs::write(&path, bytes(5_001)).unwrap();
    done(&fake, folder.path(), &with(SMALL, &["a.bin"]));
    assert_eq!(contents(&fake).len(), 3);
}

#[test]
fn what_arrived_garbled_is_sent_again_and_what_is_refused_is_told() {
    let (fake, folder, content) = (Fake::start(), tempfile::tempdir().unwrap(), bytes(5_000));
    fs::write(folder.path().join("a.bin"), &content).unwrap();
    let garbled = Fault::Problem(StatusCode::UNPROCESSABLE_ENTITY, "checksum-mismatch");
    fake.fault("POST /api/files", garbled);
    done(&fake, folder.path(), &with(SMALL, &["a.bin"]));
    assert_eq!(contents(&fake), [content]);

    fs::write(folder.path().join("b.bin"), bytes(100)).unwrap();
    fake.fault("POST /api/files", Fault::Problem(StatusCode::PAYLOAD_TOO_LARGE, "quota-exceeded"));
    assert!(fails(&fake, folder.path(), &with(SMALL, &["b.bin"]), 4).contains("quota-exceeded"));
}
