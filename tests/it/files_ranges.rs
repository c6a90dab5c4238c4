//! Several ranges of a file at once, what guards a browser, and readers or bytes that go away in the middle.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Answer, TestApp, TestUpload, bytes};

/// The parts of a multipart answer: their `Content-Range`, and their bytes.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let boundary = answer.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    let (open, close) = (format!("\r\n--{boundary}\r\n"), format!("\r\n--{boundary}--\r\n"));
    let mut rest = answer.body.strip_suffix(close.as_bytes()).expect("the last boundary");
    let mut parts = Vec::new();
    while let Some(after) = rest.strip_prefix(open.as_bytes()) {
        let end = after.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&after[..end]).unwrap();
        let (kind, range) = head.split_once("\r\n").unwrap();
        assert_eq!(kind, "Content-Type: video/mp4");
        let range = range.strip_prefix("Content-Range: ").unwrap().to_owned();
        let (first, last) = range["bytes ".len()..].split_once('/').unwrap().0.split_once('-').unwrap();
        let len = last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1;
        parts.push((range, after[end + 4..end + 4 + len].to_vec()));
        rest = &after[end + 4 + len..];
    }
    assert!(rest.is_empty(), "{rest:?}");
    parts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ranges_come_in_one_answer_in_their_order() {
    let app = TestApp::start().await;
    let file = app.file_with(bytes(1_000_000), json!({ "content_type": "video/mp4" })).await;
    let etag = format!("\"{}\"", file.id);
    for (asked, expected) in [
        ("bytes=0-9,500-509", vec![(0, 9), (500, 509)]),
        ("bytes=-10 , 0-0", vec![(999_990, 999_999), (0, 0)]),
        ("bytes=400000-899999,0-9,2000000-", vec![(400_000, 899_999), (0, 9)]),
        ("bytes=0-299999,100000-399999,600000-", vec![(0, 399_999), (600_000, 999_999)]),
    ] {
        let answer =
            app.get_with(&file.content_path(), &[("range", asked), ("if-range", &etag)]).await.expect(206);
        assert_eq!(answer.find("content-range"), None, "RFC 9110 15.3.7.2: only in the parts");
        assert_eq!(answer.header("etag"), etag);
        assert!(answer.find("repr-digest").is_some());
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(first, last)| (format!("bytes {first}-{last}/1000000"), file.bytes[first..=last].to_vec()))
            .collect();
        assert!(parts(&answer) == expected, "{asked}");
    }
    let ask = async || app.get_with(&file.content_path(), &[("range", "bytes=0-0,900-900")]).await;
    let (one, other) = (ask().await, ask().await);
    assert_ne!(one.header("content-type"), other.header("content-type"), "a boundary is nobody's to guess");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_never_make_more_bytes_than_the_file_has() {
    let app = TestApp::start().await;
    let file = app.file_with(bytes(100_000), json!({ "content_type": "video/mp4" })).await;
    let overlapping = format!("bytes={}", vec!["0-"; 32].join(","));
    let answer = app.get_with(&file.content_path(), &[("range", &overlapping)]).await.expect(206);
    assert_eq!(answer.header("content-range"), "bytes 0-99999/100000", "they are one");
    let single = |count: usize| {
        let specs: Vec<_> = (0..count).map(|n| format!("{0}-{0}", n * 1000)).collect();
        format!("bytes={}", specs.join(","))
    };
    let answer = app.get_with(&file.content_path(), &[("range", &single(32))]).await.expect(206);
    assert_eq!(parts(&answer).len(), 32);
    let answer = app.get_with(&file.content_path(), &[("range", &single(33))]).await.expect(200);
    assert!(answer.body == file.bytes, "too many are ignored");
    app.get_with(&file.content_path(), &[("range", "bytes=200000-,-0")])
        .await
        .problem(416, "range-not-satisfiable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_runs_nothing_and_other_sites_draw_nothing() {
    let app = TestApp::start().await;
    for (content_type, sandboxed) in [
        ("text/html", true),
        ("image/svg+xml", true),
        ("image/png", true),
        ("video/mp4", true),
        ("application/pdf", false), // its viewer does not start in one
    ] {
        let file = app.file_with(bytes(9), json!({ "content_type": content_type })).await;
        for headers in [vec![], vec![("range", "bytes=0-0")]] {
            let answer = app.get_with(&file.content_path(), &headers).await;
            let policy = answer.find("content-security-policy");
            assert_eq!(policy.is_some_and(|it| it.starts_with("sandbox; default-src 'none'")), sandboxed);
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{content_type}");
            assert_eq!(answer.header("cross-origin-resource-policy"), "same-site", "{content_type}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_harmless_wherever_they_are_saved() {
    let app = TestApp::start().await;
    let long = "ü".repeat(512);
    let encoded = "%C3%BC".repeat(512);
    for (filename, expected) in [
        ("plain name.txt", "filename=\"plain name.txt\"".to_owned()),
        ("a\"b;c.txt", "filename=\"a_b;c.txt\"; filename*=UTF-8''a%22b%3Bc.txt".to_owned()),
        ("100%41.txt", "filename=\"100_41.txt\"; filename*=UTF-8''100%2541.txt".to_owned()),
        ("../../etc/passwd", "filename=\".._.._etc_passwd\"".to_owned()),
        ("C:\\a.txt", "filename=\"C:_a.txt\"".to_owned()),
        ("gpj\u{202e}.exe", "filename=\"gpj_.exe\"".to_owned()),
        (&long, format!("filename=\"{}\"; filename*=UTF-8''{encoded}", "_".repeat(512))),
    ] {
        let fields = json!({ "filename": filename, "content_type": "application/zip" });
        let file = app.file_with(b"PK".to_vec(), fields).await;
        let answer = app.get(&file.content_path()).await.expect(200);
        assert_eq!(answer.header("content-disposition"), format!("attachment; {expected}"), "{filename}");
    }
}

/// Where the file's bytes are.
fn blob(app: &TestApp, file: &TestUpload) -> PathBuf {
    let mut folders = vec![app.folder().join("blobs/blobs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap().to_str().unwrap().contains(&file.id) {
                return path;
            }
        }
    }
    panic!("no blob of {}", file.id);
}

/// Asks for the file and reads what comes first.
async fn begin_reading(app: &TestApp, file: &TestUpload, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n", file.content_path());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = vec![0; 1000];
    stream.read_exact(&mut first).await.unwrap();
    assert!(first.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&first));
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_lost_while_they_are_read_break_the_connection() {
    let app = TestApp::start().await;
    if !app.on_a_folder() {
        return; // nobody can take them away from outside
    }
    for headers in ["", "Range: bytes=0-29999999,31000000-31999999\r\n"] {
        let file = app.file(bytes(32_000_000)).await;
        let mut stream = begin_reading(&app, &file, headers).await;
        let blob = std::fs::OpenOptions::new().write(true).open(blob(&app, &file)).unwrap();
        blob.set_len(10_000_000).unwrap();
        let (mut rest, mut buffer) = (1000, vec![0; 1 << 20]);
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            rest += count;
        }
        assert!(rest < 20_000_000, "{rest} bytes came of what is not there");
    }
}

/// How many descriptors of this process are open on files below `folder`.
fn open_below(folder: &std::path::Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter_map(|link| std::fs::read_link(link.ok()?.path()).ok())
        .filter(|path| path.starts_with(folder))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_leave_leave_nothing_open() {
    let app = TestApp::start().await;
    if !app.on_a_folder() {
        return; // no file is open
    }
    let file = app.file(bytes(32_000_000)).await;
    let folder = app.folder().join("blobs/blobs");
    let before = open_below(&folder); // the folder itself
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(begin_reading(&app, &file, "").await);
        readers.push(begin_reading(&app, &file, "Range: bytes=0-15000000,16000000-\r\n").await);
    }
    assert_eq!(open_below(&folder), before + 40, "each reads from one descriptor");
    drop(readers);
    let patience = Instant::now() + Duration::from_secs(20);
    while open_below(&folder) > before {
        assert!(Instant::now() < patience, "{} are still open", open_below(&folder));
        tokio::task::yield_now().await;
    }
}
