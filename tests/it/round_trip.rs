//! The program against itself: `cifra serve` as one process, `cifra upload` and `download` as others, and what
//! happens when either is killed in the middle.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::cifra;

/// 512 chunks of the smallest size there is, and a short one.
const CHUNKS: u64 = 513;
const SIZE: usize = 512 * 65_536 + 1_000;

/// A running `cifra serve`, with a data folder of its own; killed when it is dropped.
struct Serve {
    folder: PathBuf,
    address: String,
    child: Child,
}

impl Serve {
    fn start(folder: &Path) -> Self {
        // Free now, and not given out again soon; a restarted service needs the same one.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        Self { child: Self::spawn(folder, &address), folder: folder.to_owned(), address }.ready()
    }

    fn spawn(folder: &Path, address: &str) -> Child {
        let mut command = cifra();
        command.current_dir(folder).args(["serve"]).env("CIFRA__SERVER__LISTEN", address);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn ready(self) -> Self {
        until("the service answers", || self.get("/healthz").is_some_and(|answer| answer.contains("200 OK")));
        self
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(mut self) -> Self {
        self.child = Self::spawn(&self.folder, &self.address);
        self.ready()
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// How many chunks this process has answered.
    fn chunks_received(&self) -> u64 {
        let metrics = self.get("/metrics").unwrap_or_default();
        let chunks = metrics.lines().filter(|line| {
            line.starts_with("cifra_http_requests_total{method=\"PUT\"") && line.contains("chunks")
        });
        chunks.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    fn client(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = cifra();
        command.current_dir(folder).args(arguments).env("CIFRA_SERVER", format!("http://{}", self.address));
        command
    }

    /// Runs what must succeed and returns what it printed.
    fn done(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.client(folder, arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Uploads `a.bin` one chunk after the other, in the background, until some chunks are there.
    fn begin_upload(&self, folder: &Path) -> Child {
        let mut upload =
            self.client(folder, &["upload", "a.bin", "--chunk-size", "64KiB", "--parallel", "1"]);
        let child = upload.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("some chunks are sent", || self.chunks_received() >= 20);
        child
    }

    /// Downloads the file whose upload printed `line` and compares.
    fn expect_content(&self, folder: &Path, line: &str, content: &[u8]) {
        let id = line.split(' ').next().unwrap();
        self.done(folder, &["download", id, "-o", "came-back", "--force"]);
        assert!(fs::read(folder.join("came-back")).unwrap() == content, "other bytes came back");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}: did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A folder with `a.bin` in it, and a service beside it.
fn home() -> (tempfile::TempDir, Serve, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..=250).cycle().take(SIZE).collect();
    fs::write(folder.path().join("a.bin"), &content).unwrap();
    fs::create_dir(folder.path().join("service")).unwrap();
    let serve = Serve::start(&folder.path().join("service"));
    (folder, serve, content)
}

#[test]
fn a_folder_goes_up_and_comes_back_byte_for_byte() {
    let (folder, serve, content) = home();
    let photos = folder.path().join("photos/2024");
    fs::create_dir_all(&photos).unwrap();
    fs::rename(folder.path().join("a.bin"), photos.join("large.bin")).unwrap();
    fs::write(photos.join("small"), "small").unwrap();
    fs::write(folder.path().join("photos/empty"), "").unwrap();
    let printed = serve.done(folder.path(), &["upload", "--json", "photos"]);
    let mut records: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    records.sort_by_key(|record| record["metadata"]["path"].as_str().unwrap().to_owned());
    let expected = [("2024/large.bin", &content[..]), ("2024/small", b"small"), ("empty", b"")];
    assert_eq!(records.len(), expected.len());
    for (record, (path, content)) in records.iter().zip(expected) {
        assert_eq!(record["metadata"]["path"], path);
        serve.expect_content(folder.path(), record["id"].as_str().unwrap(), content);
    }
}

#[test]
fn a_killed_client_sends_only_the_rest() {
    let (folder, serve, content) = home();
    let mut child = serve.begin_upload(folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let printed = serve.done(folder.path(), &["upload", "a.bin"]);
    // The chunk that was on its way when the client died may have come twice, or once without being answered.
    let sent = serve.chunks_received();
    assert!((CHUNKS - 1..=CHUNKS + 1).contains(&sent), "{sent} chunks were answered, the file has {CHUNKS}");
    serve.expect_content(folder.path(), &printed, &content);
}

#[test]
fn an_upload_survives_a_killed_server() {
    let (folder, mut serve, content) = home();
    let child = serve.begin_upload(folder.path());
    serve.kill();
    let serve = serve.restart();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // What the first process had acknowledged was not sent to the second.
    let sent = serve.chunks_received();
    assert!(sent <= CHUNKS - 19, "{sent} chunks were sent after the restart");
    serve.expect_content(folder.path(), &String::from_utf8(output.stdout).unwrap(), &content);
}

#[test]
fn a_file_edited_during_its_upload_is_not_stored() {
    let (folder, serve, mut content) = home();
    let child = serve.begin_upload(folder.path());
    content[0] ^= 1;
    fs::write(folder.path().join("a.bin"), &content).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{complaint}");
    assert!(complaint.contains("changed during the upload"), "{complaint}");
    let printed = serve.done(folder.path(), &["upload", "a.bin"]);
    serve.expect_content(folder.path(), &printed, &content);
}
