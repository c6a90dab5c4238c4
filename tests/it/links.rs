//! Links: whoever has one reads the file for a while, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use cifra::base::{ManualClock, Timestamp};
use serde_json::{Value, json};

use crate::harness::{OPERATOR, TestApp, TestUpload};

const DAY: u64 = 86_400;

impl TestApp {
    /// Issues a link and answers its URL.
    async fn link(&self, file: &TestUpload, wanted: Value) -> String {
        let issued = self.post(&format!("{}/links", file.file_path()), &wanted).await.expect(201);
        issued.json()["url"].as_str().unwrap().to_owned()
    }
}

async fn app_at(clock: &Arc<ManualClock>) -> (TestApp, String) {
    let app = TestApp::builder().keys().clock(clock).start().await;
    let key = app.key("default", "write").await;
    app.act_as(&key);
    (app, key)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_its_file_for_whoever_has_it_until_it_ends() {
    let clock = clock();
    let (app, _) = app_at(&clock).await;
    let file = app.file_with(b"hello".to_vec(), json!({ "content_type": "text/plain" })).await;
    let url = app.link(&file, json!({ "expires_in_seconds": 60 })).await;
    app.act_as_nobody();
    let answer = app.get(&url).await.expect(200);
    assert_eq!(answer.body, b"hello");
    assert!(answer.header("content-disposition").starts_with("inline"));
    assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin", "any page may show it");
    assert_eq!(app.get_with(&url, &[("range", "bytes=1-2")]).await.expect(206).body, b"el");
    app.send(Method::HEAD, &url, &[], "").await.expect(200);
    clock.advance(Duration::from_secs(59));
    app.get(&url).await.expect(200);
    clock.advance(Duration::from_secs(1));
    app.get(&url).await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_save_is_answered_as_an_attachment_and_as_nothing_else() {
    let (app, _) = app_at(&clock()).await;
    let file = app.file_with(b"hello".to_vec(), json!({ "content_type": "text/plain" })).await;
    let save = app.link(&file, json!({ "expires_in_seconds": 60, "download": true })).await;
    let show = app.link(&file, json!({ "expires_in_seconds": 60, "download": false })).await;
    app.act_as_nobody();
    let answer = app.get(&save).await.expect(200);
    assert!(answer.header("content-disposition").starts_with("attachment"));
    app.get(&save.replace("download=true&", "")).await.problem(401, "unauthenticated");
    app.get(&format!("{show}&download=true")).await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_was_changed_or_is_for_something_else_opens_nothing() {
    let (app, _) = app_at(&clock()).await;
    let [file, other] = [app.file(vec![1]).await, app.file(vec![2]).await];
    let url = app.link(&file, json!({ "expires_in_seconds": 60 })).await;
    let token =
        app.post("/api/upload-tokens", &json!({ "max_size": 1, "expires_in_seconds": 60 })).await.expect(201);
    let token = token.json()["token"].as_str().unwrap().to_owned();
    let signed = url.split("link=").nth(1).unwrap();
    let (claims, mac) = signed.split_once('.').unwrap();
    app.act_as_nobody();
    let content = file.content_path();
    for link in [
        String::new(),
        ".".to_owned(),
        claims.to_owned(),
        format!("{claims}."),
        format!(".{mac}"),
        format!("{claims}.{}", &mac[1..]),
        format!("{}.{mac}", &claims[4..]),
        format!("{claims}.{claims}"),
        format!("{claims}.{mac}A"),
        // A token is signed by the same key, and is no link.
        token.strip_prefix("cifra_upload_").unwrap().to_owned(),
        "x".repeat(20_000),
    ] {
        app.get(&format!("{content}?link={link}")).await.problem(401, "unauthenticated");
    }
    app.get(&format!("{}?link={signed}", other.content_path())).await.problem(401, "unauthenticated");
    app.get(&format!("{content}?link={signed}&link={signed}")).await.problem(400, "invalid-request");
    // It is for the content: nothing else takes the parameter, and without it nobody is asked in.
    app.get(&format!("{}?link={signed}", file.file_path())).await.problem(400, "invalid-request");
    app.get(&file.file_path()).await.problem(401, "unauthenticated");
    app.delete(&file.file_path()).await.problem(401, "unauthenticated");
    app.get(&url).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_with_the_key_that_issued_it_and_with_its_file() {
    let clock = clock();
    let (app, key) = app_at(&clock).await;
    let [file, deleted] = [app.file(vec![1]).await, app.file(vec![2]).await];
    let url = app.link(&file, json!({ "expires_in_seconds": 60 })).await;
    let gone = app.link(&deleted, json!({ "expires_in_seconds": 60 })).await;
    app.delete(&deleted.file_path()).await.expect(204);
    app.get(&gone).await.problem(404, "file-not-found");
    app.revoke(&key).await;
    app.act_as_nobody();
    clock.advance(Duration::from_secs(1));
    app.get(&url).await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_keys_change_and_what_an_older_one_signed_still_opens() {
    let clock = clock();
    let (app, _) = app_at(&clock).await;
    let file = app.file(vec![1]).await;
    app.link(&file, json!({ "expires_in_seconds": 1 })).await;
    clock.advance(Duration::from_secs(30 * DAY - 1));
    let late = app.link(&file, json!({ "expires_in_seconds": 7 * DAY })).await;
    let keys = "SELECT COUNT(*) FROM cifra_signing_keys";
    assert_eq!(app.number_in_database(keys).await, 1);
    clock.advance(Duration::from_secs(DAY));
    app.link(&file, json!({ "expires_in_seconds": 1 })).await;
    assert_eq!(app.number_in_database(keys).await, 2);
    clock.advance(Duration::from_secs(5 * DAY));
    app.sweep().await;
    app.get(&late).await.expect(200);
    clock.advance(Duration::from_secs(2 * DAY));
    app.sweep().await;
    assert_eq!(app.number_in_database(keys).await, 1, "the first one signed nothing that still lives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_lives_at_most_seven_days_and_is_noted() {
    let (app, _) = app_at(&clock()).await;
    let file = app.file(vec![1]).await;
    let links = format!("{}/links", file.file_path());
    for (wanted, pointer) in [
        (json!({}), "/expires_in_seconds"),
        (json!({ "expires_in_seconds": 0 }), "/expires_in_seconds"),
        (json!({ "expires_in_seconds": 7 * DAY + 1 }), "/expires_in_seconds"),
        (json!({ "expires_in_seconds": 1, "download": "yes" }), "/download"),
        (json!({ "expires_in_seconds": 1, "thumbnail": 5 }), "/thumbnail"),
    ] {
        assert_eq!(app.post(&links, &wanted).await.pointers(), [pointer], "{wanted}");
    }
    app.link(&file, json!({ "expires_in_seconds": 7 * DAY })).await;
    app.act_as(OPERATOR);
    let noted = "SELECT COUNT(*) FROM cifra_audit WHERE action = 'link-issued'";
    assert_eq!(app.number_in_database(noted).await, 1);
    let nobody = "/api/files/0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c/links";
    app.post(nobody, &json!({ "expires_in_seconds": 1 })).await.problem(404, "file-not-found");
}
