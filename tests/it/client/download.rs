//! `cifra download` and `info` against the fake server.

use std::fs;
use std::path::Path;

use axum::http::StatusCode;
use serde_json::Value;

use super::fake::{Fake, Fault};
use super::{bytes, done, fails, run};

const SIZE: usize = 300_000;

/// A server with one file, an empty folder, the file's id and its bytes.
fn one_file(name: &str) -> (Fake, tempfile::TempDir, String, Vec<u8>) {
    let (fake, folder, content) = (Fake::start(), tempfile::tempdir().unwrap(), bytes(SIZE));
    fs::write(folder.path().join("original"), &content).unwrap();
    done(&fake, folder.path(), &["upload", "original"]);
    fs::remove_file(folder.path().join("original")).unwrap();
    let id = {
        let mut world = fake.world();
        world.seen.clear();
        let (id, session) = world.sessions.iter_mut().next().unwrap();
        name.clone_into(&mut session.filename);
        id.clone()
    };
    (fake, folder, id, content)
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn ranges(fake: &Fake) -> Vec<Option<String>> {
    let world = fake.world();
    let contents = world.seen.iter().filter(|seen| seen.path.ends_with("/content"));
    contents.map(|seen| seen.headers.get("range").map(|range| range.to_str().unwrap().to_owned())).collect()
}

#[test]
fn a_file_is_saved_under_a_harmless_form_of_its_name() {
    let (fake, folder, id, content) = one_file("../../.profile");
    assert_eq!(done(&fake, folder.path(), &["download", &id]), "profile\n");
    assert_eq!(fs::read(folder.path().join("profile")).unwrap(), content);
    assert_eq!(names(folder.path()), ["profile"]);
}

#[test]
fn it_goes_to_a_file_a_folder_or_standard_output() {
    let (fake, folder, id, content) = one_file("a.bin");
    fs::create_dir(folder.path().join("inner")).unwrap();
    done(&fake, folder.path(), &["download", &id, "-o", "b.bin"]);
    done(&fake, folder.path(), &["download", &id, "-o", "inner"]);
    assert_eq!(fs::read(folder.path().join("b.bin")).unwrap(), content);
    assert_eq!(fs::read(folder.path().join("inner/a.bin")).unwrap(), content);
    let output = run(&fake, folder.path(), &["download", &id, "-o", "-"]);
    assert!(output.status.success());
    assert_eq!(output.stdout, content);
}

#[test]
fn a_cut_download_goes_on_where_it_broke_off() {
    let (fake, folder, id, content) = one_file("a.bin");
    fake.fault("content", Fault::CutAfter(100_000));
    fake.fault("content", Fault::Problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    done(&fake, folder.path(), &["download", &id]);
    assert_eq!(fs::read(folder.path().join("a.bin")).unwrap(), content);
    let resumed = Some("bytes=100000-".to_owned());
    assert_eq!(ranges(&fake), [None, resumed.clone(), resumed]);
}

#[test]
fn the_next_run_goes_on_with_the_part_file() {
    let (fake, folder, id, content) = one_file("a.bin");
    fs::write(folder.path().join("a.bin.part"), &content[..250_000]).unwrap();
    done(&fake, folder.path(), &["download", &id]);
    assert_eq!(fs::read(folder.path().join("a.bin")).unwrap(), content);
    assert_eq!(ranges(&fake), [Some("bytes=250000-".to_owned())]);
    assert_eq!(names(folder.path()), ["a.bin"]);
}

#[test]
fn a_part_of_another_file_is_found_out_and_fetched_anew() {
    let (fake, folder, id, content) = one_file("a.bin");
    fs::write(folder.path().join("a.bin.part"), vec![7; 1000]).unwrap();
    let output = run(&fake, folder.path(), &["download", &id]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("starting over"));
    assert_eq!(fs::read(folder.path().join("a.bin")).unwrap(), content);
    fs::write(folder.path().join("a.bin.part"), vec![7; SIZE + 1]).unwrap();
    done(&fake, folder.path(), &["download", &id, "--force"]);
    assert_eq!(fs::read(folder.path().join("a.bin")).unwrap(), content);
}

#[test]
fn wrong_bytes_are_never_given_the_name() {
    let (fake, folder, id, mut content) = one_file("a.bin");
    content[SIZE / 2] ^= 1;
    fake.fault("content", Fault::Instead(content.into()));
    let complaint = fails(&fake, folder.path(), &["download", &id], 1);
    assert!(complaint.contains("they were not kept"), "{complaint}");
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn a_file_that_is_there_is_kept_unless_forced() {
    let (fake, folder, id, content) = one_file("a.bin");
    fs::write(folder.path().join("a.bin"), "mine").unwrap();
    let complaint = fails(&fake, folder.path(), &["download", &id], 5);
    assert!(complaint.contains("--force replaces it"), "{complaint}");
    assert_eq!(fs::read(folder.path().join("a.bin")).unwrap(), b"mine");
    done(&fake, folder.path(), &["download", &id, "--force"]);
    assert_eq!(fs::read(folder.path().join("a.bin")).unwrap(), content);
}

#[test]
fn what_is_not_a_file_is_never_replaced() {
    let (fake, folder, id, _) = one_file("a.bin");
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("a.bin")).unwrap();
    fails(&fake, folder.path(), &["download", &id, "--force"], 5);
    assert_eq!(names(folder.path()), ["a.bin"]);
}

#[test]
fn two_downloads_do_not_write_one_part_file() {
    let (fake, folder, id, _) = one_file("a.bin");
    let part = fs::File::create(folder.path().join("a.bin.part")).unwrap();
    part.lock().unwrap();
    let complaint = fails(&fake, folder.path(), &["download", &id], 5);
    assert!(complaint.contains("being written by another download"), "{complaint}");
}

#[test]
fn info_shows_files_and_uploads() {
    let (fake, folder, id, _) = one_file("a\u{1b}[2J.bin");
    let text = done(&fake, folder.path(), &["info", &id]);
    let size = text.lines().find(|line| line.starts_with("size ")).unwrap();
    assert!(size.ends_with(" 300000"), "{text}");
    assert!(!text.contains('\u{1b}'), "control characters reach the terminal: {text:?}");
    let json: Value = serde_json::from_str(&done(&fake, folder.path(), &["info", &id, "--json"])).unwrap();
    assert_eq!(json["id"], id.as_str());
    fake.world().sessions.get_mut(&id).unwrap().state = "receiving";
    assert!(done(&fake, folder.path(), &["info", &id]).contains("receiving"));
    let unknown = "0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c";
    fails(&fake, folder.path(), &["info", unknown], 3);
    fails(&fake, folder.path(), &["download", unknown], 3);
}
