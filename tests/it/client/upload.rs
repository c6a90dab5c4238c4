//! `cifra upload` against the fake server.

use std::collections::BTreeMap;
use std::fs;

use axum::http::StatusCode;
use serde_json::Value;

use super::fake::{Fake, Fault};
use super::{bytes, cifra, command, done, fails, run};

/// 9 whole chunks and a short one.
const SIZE: usize = 9_500;

fn file_of_ten_chunks() -> (Fake, tempfile::TempDir, Vec<u8>) {
    let (fake, folder, content) = (Fake::start(), tempfile::tempdir().unwrap(), bytes(SIZE));
    fs::write(folder.path().join("a.bin"), &content).unwrap();
    (fake, folder, content)
}

/// The only file that the server has.
fn only_file(fake: &Fake) -> Vec<u8> {
    let world = fake.world();
    let completed: Vec<_> = world.sessions.values().filter(|session| session.state == "completed").collect();
    assert_eq!(completed.len(), 1);
    completed[0].content.to_vec()
}

fn states(fake: &Fake) -> Vec<&'static str> {
    fake.world().sessions.values().map(|session| session.state).collect()
}

#[test]
fn a_file_arrives_in_chunks_and_its_id_and_url_are_printed() {
    let (fake, folder, content) = file_of_ten_chunks();
    let printed = done(&fake, folder.path(), &["upload", "a.bin"]);
    assert_eq!(only_file(&fake), content);
    assert_eq!(fake.take_puts(), (0..10).collect::<Vec<_>>());
    let id = fake.world().sessions.keys().next().unwrap().clone();
    assert_eq!(printed, format!("{id}  {}/api/files/{id}/content  a.bin\n", fake.url));
}

#[test]
fn a_folder_keeps_its_paths_as_metadata_and_empty_files_are_files() {
    let (fake, folder) = (Fake::start(), tempfile::tempdir().unwrap());
    let inner = folder.path().join("photos/2024/may");
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("a.jpg"), bytes(2500)).unwrap();
    fs::write(folder.path().join("photos/empty"), "").unwrap();
    std::os::unix::fs::symlink(".", inner.join("loop")).unwrap();
    let output = run(&fake, folder.path(), &["upload", "--json", "photos"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("skipped photos/2024/may/loop"));
    let printed = String::from_utf8(output.stdout).unwrap();
    let records: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sizes: BTreeMap<_, _> = records
        .iter()
        .map(|record| {
            let path = record["metadata"]["path"].as_str().unwrap().to_owned();
            (path, (record["filename"].as_str().unwrap(), record["size"].as_u64().unwrap()))
        })
        .collect();
    let expected = [("2024/may/a.jpg".to_owned(), ("a.jpg", 2500)), ("empty".to_owned(), ("empty", 0))]
        .into_iter()
        .collect();
    assert_eq!(sizes, expected);
}

#[test]
fn a_killed_client_goes_on_with_the_chunks_that_are_missing() {
    let (fake, folder, content) = file_of_ten_chunks();
    fake.answer_chunks(6);
    let mut child = command(&fake, folder.path(), &["upload", "a.bin", "--parallel", "2"]).spawn().unwrap();
    fake.wait_until("six chunks are stored and two more wait", |world| {
        world.sessions.values().any(|session| session.chunks.len() == 6)
            && world.seen.iter().filter(|seen| seen.method == "PUT").count() == 8
    });
    child.kill().unwrap();
    child.wait().unwrap();
    fake.take_puts();
    fake.answer_chunks(usize::MAX);
    done(&fake, folder.path(), &["upload", "a.bin"]);
    // Of the four that were not acknowledged, the two that waited may have been taken all the same.
    let sent = fake.take_puts();
    assert!((2..=4).contains(&sent.len()), "sent again: {sent:?}");
    assert_eq!(only_file(&fake), content);
}

#[test]
fn a_file_that_is_there_is_printed_again_and_fresh_stores_it_anew() {
    let (fake, folder, _) = file_of_ten_chunks();
    let first = done(&fake, folder.path(), &["upload", "a.bin"]);
    fake.take_puts();
    assert_eq!(done(&fake, folder.path(), &["upload", "a.bin"]), first);
    assert_eq!(fake.take_puts(), Vec::<u32>::new());
    assert_ne!(done(&fake, folder.path(), &["upload", "--fresh", "a.bin"]), first);
    assert_eq!(states(&fake), ["completed", "completed"]);
}

#[test]
fn fresh_ends_what_an_interrupted_upload_left() {
    let (fake, folder, content) = file_of_ten_chunks();
    fake.fault("PUT", Fault::Problem(StatusCode::FORBIDDEN, "forbidden"));
    fails(&fake, folder.path(), &["upload", "a.bin"], 4);
    done(&fake, folder.path(), &["upload", "--fresh", "a.bin"]);
    assert_eq!(states(&fake), ["aborted", "completed"]);
    assert_eq!(only_file(&fake), content);
}

#[test]
fn a_file_edited_during_its_upload_is_caught_and_its_session_ended() {
    let (fake, folder, mut content) = file_of_ten_chunks();
    fake.answer_chunks(5);
    let mut child = command(&fake, folder.path(), &["upload", "a.bin", "--parallel", "1"]);
    let child = child.stderr(std::process::Stdio::piped()).spawn().unwrap();
    fake.wait_until("five chunks are stored", |world| {
        world.sessions.values().any(|session| session.chunks.len() == 5)
    });
    content[0] ^= 1;
    fs::write(folder.path().join("a.bin"), &content).unwrap();
    fake.answer_chunks(usize::MAX);
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{complaint}");
    assert!(complaint.contains("a.bin changed during the upload"), "{complaint}");
    assert_eq!(states(&fake), ["aborted"]);
    done(&fake, folder.path(), &["upload", "a.bin"]);
    assert_eq!(only_file(&fake), content);
}

#[test]
fn an_edit_that_keeps_size_and_time_is_caught_by_the_checksum() {
    let (fake, folder, mut content) = file_of_ten_chunks();
    let path = folder.path().join("a.bin");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    fake.fault("chunks/9", Fault::Problem(StatusCode::FORBIDDEN, "forbidden"));
    fails(&fake, folder.path(), &["upload", "--parallel", "1", "a.bin"], 4);
    content[0] ^= 1;
    fs::write(&path, &content).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    let complaint = fails(&fake, folder.path(), &["upload", "a.bin"], 5);
    assert!(complaint.contains("changed during the upload"), "{complaint}");
    done(&fake, folder.path(), &["upload", "a.bin"]);
    assert_eq!(only_file(&fake), content);
}

#[test]
fn an_edit_without_a_trace_after_the_upload_is_another_file() {
    let (fake, folder, mut content) = file_of_ten_chunks();
    let path = folder.path().join("a.bin");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let first = done(&fake, folder.path(), &["upload", "a.bin"]);
    content[0] ^= 1;
    fs::write(&path, &content).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    let second = done(&fake, folder.path(), &["upload", "a.bin"]);
    assert_ne!(second, first);
    let id = second.split(' ').next().unwrap();
    assert_eq!(fake.world().sessions[id].content, content);
}

#[test]
fn ctrl_c_keeps_the_session_and_says_how_to_go_on() {
    let (fake, folder, content) = file_of_ten_chunks();
    fake.answer_chunks(3);
    let mut child = command(&fake, folder.path(), &["upload", "a.bin"]);
    let child = child.stderr(std::process::Stdio::piped()).spawn().unwrap();
    fake.wait_until("three chunks are stored", |world| {
        world.sessions.values().any(|session| session.chunks.len() == 3)
    });
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("run the same command again"));
    fake.answer_chunks(usize::MAX);
    done(&fake, folder.path(), &["upload", "a.bin"]);
    assert_eq!(only_file(&fake), content);
    assert_eq!(states(&fake).len(), 1);
}

#[test]
fn a_server_that_asks_for_more_patience_than_there_is_ends_it_at_once() {
    let (fake, folder, _) = file_of_ten_chunks();
    fake.fault("PUT", Fault::Busy("0"));
    fake.fault("PUT", Fault::Busy("86400"));
    fails(&fake, folder.path(), &["upload", "--parallel", "1", "a.bin"], 6);
    assert_eq!(fake.take_puts(), [0, 0]);
}

#[test]
fn what_passes_is_tried_again() {
    let (fake, folder, content) = file_of_ten_chunks();
    for (on, status, code) in [
        ("GET /api/uploads", StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        ("POST /api/uploads", StatusCode::TOO_MANY_REQUESTS, "rate-limited"),
        ("PUT", StatusCode::CONFLICT, "chunk-busy"),
        ("PUT", StatusCode::REQUEST_TIMEOUT, "request-timeout"),
        ("PUT", StatusCode::BAD_GATEWAY, ""),
    ] {
        fake.fault(on, Fault::Problem(status, code));
    }
    fake.fault("PUT", Fault::DoAndCut);
    fake.fault("finalize", Fault::DoAndCut);
    done(&fake, folder.path(), &["upload", "a.bin"]);
    assert_eq!(only_file(&fake), content);
    assert_eq!(fake.take_puts().len(), 14);
}

#[test]
fn a_chunk_garbled_on_its_way_is_sent_again() {
    let (fake, folder, content) = file_of_ten_chunks();
    fake.fault("PUT", Fault::Problem(StatusCode::UNPROCESSABLE_ENTITY, "checksum-mismatch"));
    done(&fake, folder.path(), &["upload", "a.bin"]);
    assert_eq!(only_file(&fake), content);
}

#[test]
fn a_session_that_ends_in_the_middle_is_begun_anew_once() {
    let (fake, folder, content) = file_of_ten_chunks();
    fake.fault("chunks/5", Fault::EndSessions);
    done(&fake, folder.path(), &["upload", "--parallel", "1", "a.bin"]);
    assert_eq!(only_file(&fake), content);
    assert_eq!(states(&fake), ["aborted", "completed"]);
}

#[test]
fn sessions_that_always_end_are_given_up() {
    let (fake, folder, _) = file_of_ten_chunks();
    for _ in 0..2 {
        fake.fault("chunks/5", Fault::Problem(StatusCode::NOT_FOUND, "upload-not-found"));
    }
    fails(&fake, folder.path(), &["upload", "--parallel", "1", "a.bin"], 3);
    assert_eq!(fake.world().faults.len(), 0);
}

#[test]
fn a_conflict_says_what_to_do() {
    let (fake, folder, _) = file_of_ten_chunks();
    fake.fault("PUT", Fault::Problem(StatusCode::CONFLICT, "chunk-conflict"));
    let complaint = fails(&fake, folder.path(), &["upload", "a.bin"], 5);
    assert!(complaint.contains("--fresh starts over"), "{complaint}");
}

#[test]
fn a_server_that_stays_away_is_told_with_how_to_go_on() {
    let (fake, folder, content) = file_of_ten_chunks();
    for _ in 0..50 {
        fake.fault("PUT", Fault::Problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    }
    let complaint = fails(&fake, folder.path(), &["upload", "--retry-for", "1s", "a.bin"], 6);
    assert!(complaint.contains("run the same command again"), "{complaint}");
    fake.world().faults.clear();
    done(&fake, folder.path(), &["upload", "a.bin"]);
    assert_eq!(only_file(&fake), content);
    assert_eq!(states(&fake).len(), 1);
}

#[test]
fn chunks_that_the_server_lost_are_sent_again() {
    let (fake, folder, content) = file_of_ten_chunks();
    fake.answer_chunks(9);
    let mut child = command(&fake, folder.path(), &["upload", "a.bin"]).spawn().unwrap();
    fake.wait_until("nine chunks are stored", |world| {
        world.sessions.values().any(|session| session.chunks.len() == 9)
    });
    // As after a power cut: receipts that were not synced are withdrawn.
    fake.world().sessions.values_mut().next().unwrap().chunks.remove(&0);
    fake.answer_chunks(usize::MAX);
    assert!(child.wait().unwrap().success());
    assert_eq!(only_file(&fake), content);
}

#[test]
fn the_key_of_the_environment_is_sent_as_a_bearer_token() {
    let (fake, folder, _) = file_of_ten_chunks();
    let key_file = folder.path().join("key");
    fs::write(&key_file, "secret\n").unwrap();
    let upload = |variables: &[(&str, &str)]| {
        let mut command = cifra();
        command.current_dir(folder.path()).args(["upload", "a.bin", "--server", &fake.url]);
        command.envs(variables.iter().copied()).output().unwrap()
    };
    assert!(upload(&[("CIFRA_API_KEY_FILE", key_file.to_str().unwrap())]).status.success());
    assert!(fake.world().seen.iter().all(|seen| seen.headers["authorization"] == "Bearer secret"));
    let both = upload(&[("CIFRA_API_KEY_FILE", "x"), ("CIFRA_API_KEY", "y")]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn one_bad_file_does_not_stop_the_others() {
    let (fake, folder, content) = file_of_ten_chunks();
    fs::write(folder.path().join("b.bin"), "b").unwrap();
    fake.fault("POST /api/uploads", Fault::Problem(StatusCode::PAYLOAD_TOO_LARGE, "file-too-large"));
    let complaint = fails(&fake, folder.path(), &["upload", "--parallel", "1", "b.bin", "a.bin"], 4);
    assert!(complaint.contains("b.bin: fake file-too-large"), "{complaint}");
    assert!(complaint.contains("1 of 2 files"), "{complaint}");
    assert_eq!(only_file(&fake), content);
}
