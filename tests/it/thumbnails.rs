//! Thumbnails as a client gets them: from a picture that became a file to bytes that may be kept for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use cifra::base::{ManualClock, Timestamp};
use serde_json::{Value, json};

use crate::harness::pictures::jpeg;
use crate::harness::{NOBODY, TestApp};

const SIZES: [(&str, u32); 3] = [("small", 150), ("medium", 300), ("large", 800)];

async fn lazy() -> TestApp {
    TestApp::builder().with(|config| config.thumbnails.eager = false).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_has_all_its_thumbnails_soon_after_it_became_a_file() {
    let app = TestApp::start().await;
    let file = app.picture(jpeg(1600, 800, 0)).await;
    let record = app.settled(&file).await;
    let image = &record["image"];
    assert_eq!(
        (&image["width"], &image["height"], &image["format"]),
        (&json!(1600), &json!(800), &json!("jpeg"))
    );
    assert_eq!(
        (&image["orientation"], &image["has_alpha"], &image["frames"]),
        (&json!(1), &json!(false), &json!(1))
    );
    assert!(image["thumbhash"].as_str().is_some_and(|text| text.len() >= 8), "{image}");
    assert!(
        image["average_color"].as_str().is_some_and(|text| text.len() == 7 && text.starts_with('#')),
        "{image}"
    );
    for (size, side) in SIZES {
        let told = &record["thumbnails"][size];
        let answer = app.get(told["url"].as_str().unwrap()).await.expect(200);
        let drawn = answer.drawn();
        assert_eq!((drawn.width, drawn.height), (side, side / 2));
        assert_eq!((&told["status"], &told["reason"]), (&json!("ready"), &Value::Null));
        assert_eq!((&told["width"], &told["height"]), (&json!(drawn.width), &json!(drawn.height)));
        assert_eq!((&told["size"], &told["content_type"]), (&json!(answer.body.len()), &json!("image/jpeg")));
        assert_eq!(answer.header("content-type"), "image/jpeg");
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        assert_eq!(answer.header("cache-control"), "private, max-age=31536000, immutable");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-site");
    }
    // A list tells the same, with files beside that are no pictures.
    let other = app.file(vec![1, 2, 3]).await;
    let list = app.get("/api/files?sort=created_at").await.expect(200).json();
    assert_eq!(list["items"][0], record);
    assert_eq!((&list["items"][1]["id"], &list["items"][1]["image"]), (&json!(other.id), &Value::Null));
    assert_eq!(list["items"][1]["thumbnails"], json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_has_another_tag_once_its_thumbnails_are_there() {
    let app = lazy().await;
    let file = app.picture(jpeg(40, 30, 0)).await;
    let before = app.get(&file.file_path()).await.expect(200);
    for (size, _) in SIZES {
        let told = &before.json()["thumbnails"][size];
        assert_eq!(
            (&told["status"], &told["width"], &told["size"]),
            (&json!("pending"), &Value::Null, &Value::Null)
        );
    }
    assert_eq!(before.json()["image"], Value::Null);
    let know = |answer: &crate::harness::Answer| answer.header("etag").to_owned();
    let path = file.file_path();
    app.get_with(&path, &[("if-none-match", &know(&before))]).await.expect(304);
    app.thumbnail(&file, "small").await.expect(200);
    let after = app.get_with(&path, &[("if-none-match", &know(&before))]).await.expect(200);
    // One request for one size made them all, and the record changed once.
    assert_eq!(know(&after), "\"1.1\"");
    assert!(
        SIZES.iter().all(|(size, _)| after.json()["thumbnails"][size]["status"] == "ready"),
        "{}",
        after.text()
    );
    let change = [("if-match", know(&before)), ("content-type", "application/json".to_owned())];
    let change = change.each_ref().map(|(name, value)| (*name, value.as_str()));
    app.send(Method::PATCH, &path, &change, r#"{"filename":"b"}"#).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_picture_is_not_enlarged() {
    let app = lazy().await;
    let file = app.picture(jpeg(100, 50, 0)).await;
    for (size, _) in SIZES {
        let drawn = app.thumbnail(&file, size).await.drawn();
        assert_eq!((drawn.width, drawn.height), (100, 50), "{size}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_has_it_does_not_get_again() {
    let app = lazy().await;
    let file = app.picture(jpeg(200, 200, 0)).await;
    let url = app.thumbnail_url(&file, "small").await;
    let answer = app.get(&url).await.expect(200);
    let etag = answer.header("etag");
    for tags in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let same = app.get_with(&url, &[("if-none-match", &tags)]).await.expect(304);
        assert_eq!((same.header("etag"), same.body.len()), (etag, 0));
        assert_eq!(same.header("cache-control"), "private, max-age=31536000, immutable");
    }
    app.get_with(&url, &[("if-none-match", "\"other\"")]).await.expect(200);
    // There is no time to compare with: such a condition says nothing.
    app.get_with(&url, &[("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")]).await.expect(200);
    app.get_with(&url, &[("if-match", etag)]).await.expect(200);
    app.get_with(&url, &[("if-match", "\"other\"")]).await.problem(412, "precondition-failed");
    let head = app.send(Method::HEAD, &url, &[], "").await.expect(200);
    assert_eq!((head.header("etag"), head.body.len()), (etag, 0));
    assert_eq!(head.header("content-length"), answer.body.len().to_string());
    assert_eq!(head.header("content-type"), "image/jpeg");
    app.send(Method::HEAD, &url, &[("if-none-match", etag)], "").await.expect(304);
    app.post(&url, &json!({})).await.problem(405, "method-not-allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_address_with_the_right_version_may_be_kept() {
    let app = lazy().await;
    let file = app.picture(jpeg(200, 200, 0)).await;
    let plain = file.thumbnail_path("small");
    for path in [plain.clone(), format!("{plain}?v="), format!("{plain}?v=000000000000")] {
        let answer = app.get(&path).await.expect(200);
        assert_eq!(answer.header("cache-control"), "private, no-cache", "{path}");
    }
    assert_eq!(app.get(&format!("{plain}?w=1")).await.pointers(), ["?w"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_with_the_same_content_have_the_same_thumbnails_and_others_have_others() {
    let app = lazy().await;
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        let file = app.picture(jpeg(400, 300, seed)).await;
        let answer = app.thumbnail(&file, "medium").await.expect(200);
        seen.push((answer.header("etag").to_owned(), answer.body));
    }
    assert!(seen[0] == seen[1]);
    assert!(seen[1].0 != seen[2].0 && seen[1].1 != seen[2].1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_told_apart() {
    let app = lazy().await;
    let file = app.picture(jpeg(50, 50, 0)).await;
    let problem = app.thumbnail(&file, "huge").await.problem(404, "unknown-thumbnail-size");
    assert_eq!(problem["sizes"], json!(["small", "medium", "large"]));
    app.get(&format!("/api/files/{NOBODY}/thumbnails/small")).await.problem(404, "file-not-found");
    app.get("/api/files/nothing/thumbnails/small").await.problem(400, "invalid-request");
    app.tenant("other").await;
    let other = [("x-cifra-tenant", "other")];
    app.get_with(&file.thumbnail_path("small"), &other).await.problem(404, "file-not-found");
    app.thumbnail(&file, "small").await.expect(200);
    app.get_with(&file.thumbnail_path("small"), &other).await.problem(404, "file-not-found");
    app.delete(&file.file_path()).await.expect(204);
    app.thumbnail(&file, "small").await.problem(404, "file-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_read_gets_no_thumbnail() {
    let app = TestApp::builder().keys().start().await;
    app.act_as(&app.key("default", "write").await);
    let file = app.picture(jpeg(50, 50, 0)).await;
    app.thumbnail(&file, "small").await.expect(200);
    app.act_as_nobody();
    app.thumbnail(&file, "small").await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_picture_has_none_and_says_so() {
    let app = TestApp::start().await;
    let text = app.file_with(b"hello".to_vec(), json!({ "content_type": "text/plain" })).await;
    let problem = app.thumbnail(&text, "small").await.problem(415, "not-an-image");
    assert_eq!(problem["reason"], "not_an_image");
    // One that only says that it is a picture is found out.
    let claims = app.file_with(vec![0, 1, 2, 3], json!({ "content_type": "image/x-hello" })).await;
    let record = app.settled(&claims).await;
    assert_eq!((&record["content_type"], &record["image"]), (&json!("image/x-hello"), &Value::Null));
    for (size, _) in SIZES {
        let told = &record["thumbnails"][size];
        assert_eq!((&told["status"], &told["reason"]), (&json!("skipped"), &json!("not_an_image")));
    }
    app.thumbnail(&claims, "small").await.problem(415, "not-an-image");
    // A drawing is a picture, of a kind that is not decoded here.
    let svg =
        br#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>"#;
    let svg = app.file_with(svg.to_vec(), json!({ "content_type": "image/svg+xml" })).await;
    let record = app.settled(&svg).await;
    assert_eq!(record["thumbnails"]["small"]["status"], "skipped");
    let problem = app.thumbnail(&svg, "small").await.problem(415, "not-an-image");
    assert_eq!(
        (&problem["reason"], &record["thumbnails"]["small"]["reason"]),
        (&json!("unsupported_format"), &json!("unsupported_format"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_is_gone_from_memory_and_from_the_store_at_once() {
    let app = TestApp::builder().clock(&clock()).start().await;
    let file = app.picture(jpeg(300, 300, 0)).await;
    app.settled(&file).await;
    app.thumbnail(&file, "small").await.expect(200);
    assert_eq!(app.blobs().await.len(), 4);
    app.delete(&file.file_path()).await.expect(204);
    // The time stands still: what is in memory would be believed.
    app.thumbnail(&file, "small").await.problem(404, "file-not-found");
    app.get(&file.file_path()).await.problem(404, "file-not-found");
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_a_thumbnail_opens_it_and_nothing_else() {
    let clock = clock();
    let app = TestApp::builder().keys().clock(&clock).start().await;
    app.act_as(&app.key("default", "write").await);
    let file = app.picture(jpeg(300, 200, 0)).await;
    let links = format!("{}/links", file.file_path());
    let issue = async |wanted: Value| app.post(&links, &wanted).await;
    let issued = issue(json!({ "expires_in_seconds": 60, "thumbnail": "small" })).await.expect(201);
    let url = issued.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(
        issue(json!({ "expires_in_seconds": 60, "thumbnail": "small", "download": true })).await.pointers(),
        ["/download"]
    );
    assert_eq!(issue(json!({ "expires_in_seconds": 60, "thumbnail": 1 })).await.pointers(), ["/thumbnail"]);
    let unknown = issue(json!({ "expires_in_seconds": 60, "thumbnail": "huge" })).await;
    assert_eq!(unknown.problem(404, "unknown-thumbnail-size")["sizes"], json!(["small", "medium", "large"]));
    let text = app.file(vec![0; 9]).await;
    let links = format!("{}/links", text.file_path());
    let wanted = json!({ "expires_in_seconds": 1, "thumbnail": "small" });
    app.post(&links, &wanted).await.problem(415, "not-an-image");
    app.act_as_nobody();
    clock.advance(Duration::from_secs(20));
    let answer = app.get(&url).await.expect(200);
    assert_eq!((answer.drawn().width, answer.drawn().height), (150, 100));
    assert_eq!(
        answer.header("cache-control"),
        "public, max-age=40, immutable",
        "no longer than the link lives"
    );
    assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
    let (path, query) = url.split_once('?').unwrap();
    let link = query.split('&').find(|part| part.starts_with("link=")).unwrap();
    assert_eq!(
        app.get(&format!("{path}?{link}")).await.expect(200).header("cache-control"),
        "public, no-cache"
    );
    app.send(Method::HEAD, &url, &[], "").await.expect(200);
    for other in [file.thumbnail_path("medium"), file.content_path()] {
        app.get(&format!("{other}?{link}")).await.problem(401, "unauthenticated");
    }
    clock.advance(Duration::from_secs(40));
    app.get(&url).await.problem(401, "unauthenticated");
}
