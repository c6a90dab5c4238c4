//! `GET|HEAD /api/files/{id}/content`: whole, in part, under conditions, and under which name.

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::harness::{Answer, TestApp, TestUpload, bytes};

async fn range(app: &TestApp, file: &TestUpload, range: &str) -> Answer {
    app.get_with(&file.content_path(), &[("range", range)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_content_comes_with_all_its_headers() {
    let app = TestApp::start().await;
    let file = app.file_with(bytes(3_000_000), json!({ "content_type": "video/mp4" })).await;
    let answer = app.get(&file.content_path()).await.expect(200);
    assert_eq!(answer.body, file.bytes);
    assert_eq!(answer.header("content-length"), "3000000");
    assert_eq!(answer.header("content-type"), "video/mp4");
    assert_eq!(answer.header("etag"), format!("\"{}\"", file.id));
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("content-disposition"), "inline; filename=\"a.bin\"");
    let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&file.bytes)));
    assert_eq!(answer.header("repr-digest"), digest);
    assert!(httpdate::parse_http_date(answer.header("last-modified")).is_ok());

    let head = app.send(Method::HEAD, &file.content_path(), &[("range", "bytes=0-1")], "").await.expect(200);
    assert!(head.body.is_empty());
    for name in ["content-length", "content-type", "etag", "accept-ranges", "last-modified", "repr-digest"] {
        assert_eq!(head.header(name), answer.header(name));
    }
    app.get(&format!("{}?inline=1", file.content_path())).await.problem(400, "invalid-request");
    app.get(&format!("{}?download=1", file.content_path())).await.problem(400, "invalid-request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_ranges_are_exact() {
    let app = TestApp::start().await;
    let file = app.file(bytes(1_000_000)).await;
    for (asked, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, 999_999),
        ("bytes=1-2", 1, 2),
        ("bytes=499999-700000", 499_999, 700_000),
        ("bytes=999999-", 999_999, 999_999),
        ("bytes=999998-2000000", 999_998, 999_999),
        ("bytes=0-99999999999999999999999", 0, 999_999),
        ("bytes=-1", 999_999, 999_999),
        ("bytes=-1000", 999_000, 999_999),
        ("bytes=-2000000", 0, 999_999),
        ("Bytes=5-6", 5, 6),
    ] {
        let answer = range(&app, &file, asked).await.expect(206);
        assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/1000000"), "{asked}");
        assert_eq!(answer.header("content-length"), (last - first + 1).to_string(), "{asked}");
        assert!(answer.body == file.bytes[first..=last], "{asked}");
        assert_eq!(answer.header("etag"), format!("\"{}\"", file.id));
        let whole = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&file.bytes)));
        assert_eq!(answer.header("repr-digest"), whole, "of the whole file");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_outside_of_the_file_is_refused_with_its_size() {
    let app = TestApp::start().await;
    let file = app.file(bytes(100)).await;
    for asked in ["bytes=100-", "bytes=100-200", "bytes=99999999999999999999-", "bytes=-0"] {
        let answer = range(&app, &file, asked).await;
        assert_eq!(answer.problem(416, "range-not-satisfiable")["size"], 100, "{asked}");
        assert_eq!(answer.header("content-range"), "bytes */100", "{asked}");
    }
    let empty = app.file(Vec::new()).await;
    let answer = range(&app, &empty, "bytes=0-0").await;
    answer.problem(416, "range-not-satisfiable");
    assert_eq!(answer.header("content-range"), "bytes */0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_that_is_not_understood_is_ignored() {
    let app = TestApp::start().await;
    let file = app.file(bytes(100)).await;
    for asked in
        ["bytes=5-4", "bytes=a-b", "bytes=", "bytes=-", "lines=1-2", "bytes", "bytes=+1-2", "bytes=1--2"]
    {
        let answer = range(&app, &file, asked).await.expect(200);
        assert_eq!((answer.body.len(), answer.find("content-range")), (100, None), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_are_weighed_in_their_order() {
    let app = TestApp::start().await;
    let file = app.file(bytes(100)).await;
    let path = file.content_path();
    let etag = format!("\"{}\"", file.id);
    let (weak, listed) = (format!("W/{etag}"), format!("\"a\" , {etag}"));
    let modified = app.get(&path).await.header("last-modified").to_owned();
    let (before, after) = ("Thu, 01 Jan 2015 00:00:00 GMT", "Thu, 01 Jan 2099 00:00:00 GMT");
    for (conditions, status) in [
        (vec![("if-none-match", etag.as_str())], 304),
        (vec![("if-none-match", weak.as_str())], 304),
        (vec![("if-none-match", listed.as_str())], 304),
        (vec![("if-none-match", "*")], 304),
        (vec![("if-none-match", "\"other\"")], 200),
        (vec![("if-modified-since", modified.as_str())], 304),
        (vec![("if-modified-since", after)], 304),
        (vec![("if-modified-since", before)], 200),
        (vec![("if-modified-since", "nonsense")], 200),
        (vec![("if-none-match", "\"other\""), ("if-modified-since", modified.as_str())], 200),
        (vec![("if-match", etag.as_str())], 200),
        (vec![("if-match", "*")], 200),
        (vec![("if-match", weak.as_str())], 412),
        (vec![("if-match", "\"other\"")], 412),
        (vec![("if-unmodified-since", modified.as_str())], 200),
        (vec![("if-unmodified-since", before)], 412),
        (vec![("if-match", etag.as_str()), ("if-unmodified-since", before)], 200),
        (vec![("if-match", etag.as_str()), ("if-none-match", etag.as_str())], 304),
        (vec![("if-match", "\"other\""), ("range", "bytes=0-0")], 412),
        (vec![("if-none-match", etag.as_str()), ("range", "bytes=200-")], 304),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let answer = app.send(method.clone(), &path, &conditions, "").await;
            assert_eq!(answer.status, status, "{method} {conditions:?}");
            if status == 304 {
                assert!(answer.body.is_empty());
                assert_eq!(answer.header("etag"), etag);
            }
            if status == 412 && method == Method::GET {
                assert_eq!(answer.problem(412, "precondition-failed")["etag"], etag);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_goes_on_only_with_the_same_file() {
    let app = TestApp::start().await;
    let file = app.file(bytes(100)).await;
    let etag = format!("\"{}\"", file.id);
    let weak = format!("W/{etag}");
    let modified = app.get(&file.content_path()).await.header("last-modified").to_owned();
    for (if_range, status) in [
        (etag.as_str(), 206),
        (modified.as_str(), 206),
        ("\"other\"", 200),
        (weak.as_str(), 200),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 200),
        ("nonsense", 200),
    ] {
        let headers = [("range", "bytes=10-19"), ("if-range", if_range)];
        let answer = app.get_with(&file.content_path(), &headers).await;
        assert_eq!(answer.status, status, "{if_range}");
        assert_eq!(answer.body.len(), if status == 206 { 10 } else { 100 }, "{if_range}");
    }
    let headers = [("range", "bytes=200-"), ("if-range", "\"other\"")];
    app.get_with(&file.content_path(), &headers).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_browser_could_run_is_an_attachment() {
    let app = TestApp::start().await;
    for (content_type, shown) in [
        ("image/png", true),
        ("video/mp4", true),
        ("application/pdf", true),
        ("text/plain; charset=utf-8", true),
        ("text/html", false),
        ("TEXT/HTML; charset=utf-8", false),
        ("application/xhtml+xml", false),
        ("image/svg+xml", false),
        ("Image/SVG+XML", false),
        ("text/xml", false),
        ("application/javascript", false),
        ("application/octet-stream", false),
    ] {
        // Bytes that say nothing: the claim counts.
        let file = app.file_with(vec![0x9A, 0x01, 0xE7], json!({ "content_type": content_type })).await;
        let answer = app.get(&file.content_path()).await.expect(200);
        let kind = if shown { "inline" } else { "attachment" };
        assert_eq!(
            answer.header("content-disposition"),
            format!("{kind}; filename=\"a.bin\""),
            "{content_type}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let saved = app.get(&format!("{}?download=true", file.content_path())).await.expect(200);
        assert_eq!(saved.header("content-disposition"), "attachment; filename=\"a.bin\"");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_filenames_are_labels_and_nothing_else() {
    let app = TestApp::start().await;
    for (name, disposition) in [
        ("../../etc/passwd", "filename=\".._.._etc_passwd\""),
        (
            "a\"; filename=\"b.exe",
            "filename=\"a_; filename=_b.exe\"; filename*=UTF-8''a%22%3B%20filename%3D%22b.exe",
        ),
        ("back\\slash", "filename=\"back_slash\""),
        ("100%25.txt", "filename=\"100_25.txt\"; filename*=UTF-8''100%2525.txt"),
        ("Jörg.txt", "filename=\"J_rg.txt\"; filename*=UTF-8''J%C3%B6rg.txt"),
        ("x\u{202e}gnp.exe", "filename=\"x_gnp.exe\""),
        ("it's", "filename=\"it's\""),
    ] {
        let file = app.file_with(b"x".to_vec(), json!({ "filename": name })).await;
        let answer = app.get(&file.content_path()).await.expect(200);
        assert_eq!(answer.header("content-disposition"), format!("attachment; {disposition}"), "{name}");
        assert_eq!(app.get(&file.file_path()).await.json()["filename"], name);
    }
    let names = app.blobs().await;
    assert!(names.iter().all(|name| !name.contains("passwd") && !name.contains("exe")), "{names:?}");
}
