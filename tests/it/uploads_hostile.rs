//! Names, pairs and ids that mean something elsewhere mean nothing here: labels are kept as they are, ids are ids.

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::harness::{NOBODY, TestApp};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_and_pairs_are_labels_from_beginning_to_file() {
    let app = TestApp::start().await;
    let texts = [
        "../../../etc/passwd",
        "..\\..\\windows\\system32",
        "/dev/null",
        "C:\\con.txt",
        "photo\u{202e}gpj.exe",
        "a\u{200b}b\u{feff}",
        "%2e%2e%2f%00.txt",
        "\"; filename=\"evil.html",
        "<script>alert(1)</script>.png",
        "' OR 1=1; DROP TABLE cifra_uploads; --",
        "${jndi:ldap://x}{{7*7}}",
        "\u{1f9d1}\u{200d}\u{1f680}\u{0301}",
        ".",
        "..",
        " ",
    ];
    let mut pairs: Map<String, Value> = texts.iter().map(|text| ((*text).to_owned(), json!(text))).collect();
    for key in ["__proto__", "constructor", "metadata.", "a\nb\r\nX-Evil: 1", "state"] {
        pairs.insert(key.to_owned(), json!("\u{1}\t\r\n"));
    }
    for name in texts {
        let fields = json!({ "filename": name, "metadata": pairs });
        let upload = app.upload_with(1, fields).await;
        let status = app.status(&upload).await;
        assert_eq!((&status["filename"], &status["metadata"]), (&json!(name), &json!(pairs)));
        let mut events = app.watch(&upload.path, &[]).await.unwrap();
        assert_eq!(events.expect("progress").await["filename"], name);
        app.put_all(&upload).await;
        let file = app.finalize(&upload).await.expect(201).json();
        assert_eq!((&file["filename"], &file["metadata"]), (&json!(name), &json!(pairs)));
        // It asks for its pair, percent-encoded, among those of the others.
        let pair = form_urlencoded::Serializer::new(String::new())
            .append_pair(&format!("metadata.{name}"), name)
            .append_pair("metadata.__proto__", "\u{1}\t\r\n")
            .finish();
        let found = app.get(&format!("/api/uploads?state=completed&limit=1&{pair}")).await.expect(200).json();
        assert_eq!(found["items"][0]["upload_id"], upload.id.as_str(), "{name}");
    }
    // No name has become one in the store.
    let stored = app.blobs().await;
    assert_eq!(stored.len(), texts.len());
    let safe =
        |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    assert!(stored.iter().all(safe), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_an_id_on_every_route_of_uploads() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_chunk(&upload, 0).await.expect(200);
    let (before, stored) = (app.status(&upload).await, (app.blobs().await, app.staged()));
    let id = &upload.id;
    let wrong = [
        "..%2f..%2f..%2fetc%2fpasswd".to_owned(),
        "%2e%2e%2f".to_owned() + id,
        format!("..%2fuploads%2f{id}"),
        format!("http:%2f%2fother.example%2fapi%2fuploads%2f{id}"),
        format!("{id}%00"),
        format!("{id}%0d%0aX-Evil:1"),
        format!("{id}%20"),
        format!("%20{id}"),
        format!("%7B{id}%7D"),
        format!("urn:uuid:{id}"),
        id.to_uppercase(),
        id.replace('-', ""),
        id.replace('-', "%2d%2d"),
        "%ff%fe".to_owned(),
        "*".to_owned(),
        "-1".to_owned(),
        "9".repeat(2_000),
    ];
    let routes = |id: &str| {
        [
            (Method::GET, format!("/api/uploads/{id}")),
            (Method::DELETE, format!("/api/uploads/{id}")),
            (Method::PUT, format!("/api/uploads/{id}/chunks/1")),
            (Method::POST, format!("/api/uploads/{id}/finalize")),
            (Method::GET, format!("/api/uploads/{id}/events")),
        ]
    };
    for wrong in &wrong {
        for (method, path) in routes(wrong) {
            let answer = app.send(method.clone(), &path, &[], "").await;
            assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
            answer.problem(400, "invalid-request");
            assert_eq!(answer.find("x-evil"), None);
        }
    }
    for (method, path) in routes(NOBODY) {
        app.send(method, &path, &[], "").await.problem(404, "upload-not-found");
    }
    for index in ["..%2f0", "%30%00", "01", "+1", "0x1", "4294967296", "\u{ff11}", "-0", "1.0"] {
        let answer = app.put(&format!("{}/chunks/{index}", upload.path), upload.chunk(1)).await;
        assert_eq!(answer.status, 400, "{index}: {}", answer.text());
    }
    assert_eq!((app.status(&upload).await, (app.blobs().await, app.staged())), (before, stored));
}
