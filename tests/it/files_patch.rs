//! `PATCH /api/files/{id}`: what changes, under which condition, and that no change is lost.

use axum::http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, NOBODY, TestApp, bytes};

async fn patch(app: &TestApp, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    app.send(Method::PATCH, path, &all, body.to_string()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_and_metadata_change_and_nothing_else() {
    let app = TestApp::start().await;
    let file = app.file_with(bytes(9), json!({ "metadata": { "a": "1", "b": "2" } })).await;
    let path = file.file_path();
    let before = app.get(&path).await.json();

    let answer = patch(&app, &path, &[], &json!({ "filename": "Ü.txt" })).await.expect(200);
    assert_eq!(answer.header("etag"), "\"2.0\"");
    let renamed = answer.json();
    assert_eq!((&renamed["filename"], &renamed["version"]), (&json!("Ü.txt"), &json!(2)));
    assert_eq!(renamed["metadata"], before["metadata"]);
    let listed = app.get("/api/files?q=%C3%BC").await.json();
    assert_eq!(listed["items"][0], renamed, "it is found under its new name");
    assert_eq!(app.get("/api/files?q=a").await.json()["items"], json!([]));

    let answer = patch(&app, &path, &[], &json!({ "metadata": { "c": "3" } })).await.expect(200).json();
    assert_eq!((&answer["metadata"], &answer["version"]), (&json!({ "c": "3" }), &json!(3)));
    assert_eq!(app.get("/api/files?metadata.c=3").await.json()["items"][0], answer);
    assert_eq!(app.get("/api/files?metadata.a=1").await.json()["items"], json!([]));
    let answer = patch(&app, &path, &[], &json!({ "metadata": {} })).await.expect(200).json();
    assert_eq!(answer["metadata"], json!({}));

    let noted = "SELECT COUNT(*) FROM cifra_audit WHERE action = 'file-changed'";
    assert_eq!(app.number_in_database(noted).await, 3);
    let now = app.get(&path).await.json();
    assert_eq!(now, answer);
    assert!(now["updated_at"].as_str() > before["updated_at"].as_str());
    for same in ["id", "size", "content_type", "checksum", "crc64nvme", "created_at", "content_url"] {
        assert_eq!(now[same], before[same], "{same}");
    }
    let content = app.get(&file.content_path()).await.expect(200);
    assert_eq!(content.header("etag"), format!("\"{}\"", file.id), "the bytes are the same");
    assert!(content.header("content-disposition").contains("%C3%9C.txt"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_changes_nothing_leaves_the_version() {
    let app = TestApp::start().await;
    let file = app.file_with(bytes(9), json!({ "filename": "a", "metadata": { "a": "1" } })).await;
    let before = app.get(&file.file_path()).await.json();
    for body in [
        json!({}),
        json!({ "filename": null, "metadata": null }),
        json!({ "filename": "a" }),
        json!({ "filename": "a", "metadata": { "a": "1" } }),
    ] {
        let answer = patch(&app, &file.file_path(), &[("if-match", "\"1.0\"")], &body).await.expect(200);
        assert_eq!((answer.header("etag"), answer.json()), ("\"1.0\"", before.clone()), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_match_compares_the_version() {
    let app = TestApp::start().await;
    let file = app.file(bytes(9)).await;
    let mut version = 1;
    for (condition, holds) in [
        ("\"V.0\"", true),
        ("\"V.7\"", true), // what is made from the file may have changed meanwhile
        ("*", true),
        ("\"x\", \"9.9\" , \"V.0\"", true),
        ("W/\"V.0\"", false),
        ("\"0.0\"", false),
        ("\"V\"", false),
        ("V.0", false),
        ("\"V.\"", false),
        ("\"other\"", false),
        ("", false),
    ] {
        let condition = condition.replace('V', &version.to_string());
        let name = json!({ "filename": format!("for {condition}").replace('*', "any") });
        let answer = patch(&app, &file.file_path(), &[("if-match", &condition)], &name).await;
        if holds {
            version += 1;
            assert_eq!(answer.expect(200).json()["version"], version, "{condition}");
        } else {
            let problem = answer.problem(412, "precondition-failed");
            assert_eq!(problem["etag"], format!("\"{version}.0\""), "{condition}");
        }
    }
    assert_eq!(app.get(&file.file_path()).await.json()["version"], version);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_lost() {
    let app = TestApp::start().await;
    let file = app.file(bytes(9)).await;
    // Each reads, adds one, and writes under the condition that it read the newest; again where it did not.
    let add = async |_: usize| {
        loop {
            let seen = app.get(&file.file_path()).await.expect(200);
            let count: u32 = seen.json()["metadata"]["n"].as_str().map_or(0, |n| n.parse().unwrap());
            let body = json!({ "metadata": { "n": (count + 1).to_string() } });
            let answer = patch(&app, &file.file_path(), &[("if-match", seen.header("etag"))], &body).await;
            if answer.status != 412 {
                return drop(answer.expect(200));
            }
        }
    };
    futures_util::future::join_all((0..8).map(add)).await;
    assert_eq!(app.get(&file.file_path()).await.json()["metadata"]["n"], "8");

    // Without a condition both halves of two changes at once are there.
    let (name, pairs) = (json!({ "filename": "both" }), json!({ "metadata": { "both": "1" } }));
    for answer in [patch(&app, &file.file_path(), &[], &name), patch(&app, &file.file_path(), &[], &pairs)] {
        answer.await.expect(200);
    }
    let path = file.file_path();
    let (one, other) = (json!({ "filename": "x" }), json!({ "metadata": { "y": "1" } }));
    let (one, other) = tokio::join!(patch(&app, &path, &[], &one), patch(&app, &path, &[], &other));
    one.expect(200);
    other.expect(200);
    let now = app.get(&path).await.json();
    assert_eq!((&now["filename"], &now["metadata"]), (&json!("x"), &json!({ "y": "1" })));
    assert_eq!(now["version"], 1 + 8 + 2 + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_changes_are_refused_and_change_nothing() {
    let app = TestApp::start().await;
    let file = app.file(bytes(9)).await;
    let path = file.file_path();
    let wrong = json!({ "filename": 1, "metadata": [], "size": 3, "content_type": "a/b" });
    let pointers = patch(&app, &path, &[], &wrong).await.pointers();
    assert_eq!(pointers, ["/filename", "/metadata", "/content_type", "/size"]);
    for body in [
        json!({ "filename": "" }),
        json!({ "filename": "a\u{0}b" }),
        json!({ "filename": "x".repeat(1025) }),
        json!({ "metadata": { "": "x" } }),
        json!({ "metadata": { "a": "\u{0}" } }),
        json!({ "metadata": { "a": "x".repeat(9000) } }),
        json!([]),
    ] {
        patch(&app, &path, &[], &body).await.problem(400, "invalid-request");
    }
    app.send(Method::PATCH, &path, &[("content-type", "text/plain")], "x").await.expect(415);
    patch(&app, &format!("/api/files/{NOBODY}"), &[], &json!({})).await.problem(404, "file-not-found");
    assert_eq!(app.get(&path).await.json()["version"], 1);
    app.delete(&path).await.expect(204);
    patch(&app, &path, &[("if-match", "*")], &json!({})).await.problem(404, "file-not-found");
}
