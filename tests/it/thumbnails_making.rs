//! How thumbnails come to be: when, how often, what stays when it fails, what happens when something is lost.

use std::sync::Arc;
use std::time::Duration;

use cifra::base::thumbnail::{Fit, ThumbnailSpec};
use cifra::base::{ManualClock, Timestamp};
use cifra::config::{ByteSize, Config};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::pictures::jpeg;
use crate::harness::process::until;
use crate::harness::{TestApp, TestUpload};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)))
}

async fn lazy(change: impl FnOnce(&mut Config)) -> TestApp {
    let lazy = TestApp::builder().with(|config| config.thumbnails.eager = false);
    lazy.with(change).start().await
}

impl TestApp {
    /// The store's keys of thumbnails.
    async fn thumbnails_stored(&self) -> Vec<String> {
        self.blobs().await.into_iter().filter(|key| key.contains('.')).collect()
    }

    /// When the newest row was made.
    async fn made_at(&self) -> i64 {
        self.number_in_database("SELECT MAX(made_at) FROM cifra_thumbnails").await
    }

    /// Every size of `file` says this.
    async fn expect_without(&self, file: &TestUpload, status: &str, reason: &str) -> Value {
        let record = self.settled(file).await;
        for (size, told) in record["thumbnails"].as_object().unwrap() {
            assert_eq!((&told["status"], &told["reason"]), (&json!(status), &json!(reason)), "{size}");
            assert_eq!((&told["width"], &told["size"]), (&Value::Null, &Value::Null), "{size}");
        }
        record
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_ask_at_once_for_what_is_not_there_all_get_it_and_it_is_made_once() {
    let app = lazy(|_| {}).await;
    let file = app.picture(jpeg(1000, 1000, 0)).await;
    let sizes = ["small", "medium", "large"];
    let answers = join_all((0..300).map(|n| app.thumbnail(&file, sizes[n % 3]))).await;
    for (n, answer) in answers.iter().enumerate() {
        assert!(answer.status == 200 && answer.body == answers[n % 3].body, "{n}: {}", answer.status);
    }
    assert_eq!(app.thumbnails_stored().await.len(), 3);
    assert_eq!(app.get(&file.file_path()).await.header("etag"), "\"1.1\"", "the record changed once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_come_in_one_request_have_theirs_too() {
    let app = TestApp::start().await;
    let created = app.send(axum::http::Method::POST, "/api/files?filename=a.jpg", &[], jpeg(90, 60, 0)).await;
    let created = created.expect(201).json();
    assert_eq!(created["thumbnails"]["small"]["status"], "pending");
    let id = created["id"].as_str().unwrap().to_owned();
    let file = TestUpload { path: format!("/api/uploads/{id}"), id, bytes: Vec::new(), chunk_size: 0 };
    let record = app.settled(&file).await;
    assert_eq!(
        (&record["image"]["width"], &record["thumbnails"]["small"]["status"]),
        (&json!(90), &json!("ready"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_picture_is_tried_once_and_remembered() {
    let clock = clock();
    let app = TestApp::builder().clock(&clock).start().await;
    // The headers of a picture, and nothing that they promise.
    let mut bytes = jpeg(640, 480, 0);
    let scan = bytes.windows(2).position(|marker| marker == [0xff, 0xda]).unwrap();
    bytes.truncate(scan);
    let file = app.picture(bytes).await;
    let record = app.expect_without(&file, "failed", "corrupt").await;
    assert_eq!(record["image"], Value::Null);
    let tried_at = app.made_at().await;
    clock.advance(Duration::from_mins(10));
    for _ in 0..3 {
        let problem = app.thumbnail(&file, "small").await.problem(422, "image-undecodable");
        assert_eq!(problem["reason"], "corrupt");
    }
    assert_eq!(app.made_at().await, tried_at, "nobody tried again");
    app.delete(&file.file_path()).await.expect(204);
    assert_eq!(app.number_in_database("SELECT COUNT(*) FROM cifra_thumbnails").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_whose_end_is_missing_has_thumbnails_that_say_so() {
    let app = TestApp::start().await;
    let mut bytes = jpeg(640, 480, 0);
    bytes.truncate(bytes.len() / 2);
    let file = app.picture(bytes).await;
    let record = app.settled(&file).await;
    let told = &record["thumbnails"]["small"];
    assert_eq!((&told["status"], &told["reason"]), (&json!("ready"), &json!("truncated")));
    assert_eq!(app.thumbnail(&file, "small").await.drawn().width, 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_of_too_many_pixels_is_left_alone_and_says_how_many() {
    let app = TestApp::builder().with(|config| config.thumbnails.max_pixels = 9_999).start().await;
    let [large, fits] = [app.picture(jpeg(100, 100, 0)).await, app.picture(jpeg(99, 100, 0)).await];
    app.expect_without(&large, "skipped", "too_large").await;
    let problem = app.thumbnail(&large, "small").await.problem(413, "image-too-large");
    assert_eq!((&problem["pixels"], &problem["max_pixels"]), (&json!(10_000), &json!(9_999)));
    app.thumbnail(&fits, "small").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_needs_more_memory_than_there_is_for_all_is_left_alone() {
    // Beside the source there is less than any decoder takes.
    let app = TestApp::builder().with(|config| config.thumbnails.memory = ByteSize(1 << 20)).start().await;
    let file = app.picture(jpeg(2000, 2000, 0)).await;
    app.expect_without(&file, "skipped", "too_large").await;
    let problem = app.thumbnail(&file, "small").await.problem(413, "image-too-large");
    assert_eq!(problem["pixels"], 4_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_would_fill_the_memory_is_not_drawn() {
    let app = lazy(|config| {
        let sizes = &mut config.thumbnails.sizes;
        sizes.truncate(1);
        sizes[0].spec = ThumbnailSpec { fit: Fit::Contain, ..ThumbnailSpec::inside(8192, 8192) };
        config.thumbnails.memory = ByteSize(256 << 20);
    });
    let app = app.await;
    let file = app.picture(jpeg(10, 10, 0)).await;
    app.thumbnail(&file, "small").await.problem(413, "image-too-large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_takes_too_long_is_given_up_and_remembered() {
    let app =
        TestApp::builder().with(|config| config.thumbnails.timeout = Duration::from_nanos(1)).start().await;
    let file = app.picture(jpeg(500, 500, 0)).await;
    app.expect_without(&file, "failed", "timed_out").await;
    let problem = app.thumbnail(&file, "small").await.problem(422, "image-undecodable");
    assert_eq!(problem["reason"], "timed_out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thumbnail_that_was_lost_from_its_store_is_made_again() {
    // Nothing stays in memory.
    let app = lazy(|config| config.thumbnails.hot = ByteSize(0)).await;
    let file = app.picture(jpeg(400, 400, 0)).await;
    let before = app.thumbnail(&file, "small").await.expect(200);
    let stored = app.thumbnails_stored().await;
    let lost = stored.iter().find(|key| key.contains(".small.")).unwrap();
    app.lose(lost).await;
    let after = app.thumbnail(&file, "small").await.expect(200);
    assert_eq!(after.header("etag"), before.header("etag"));
    assert!(after.body == before.body);
    let stored_now = app.thumbnails_stored().await;
    assert_eq!(stored_now.len(), 3);
    assert!(!stored_now.contains(lost), "it lives elsewhere");
    // The others were left where they are.
    assert_eq!(stored.iter().filter(|key| stored_now.contains(key)).count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_memory_is_answered_while_its_row_names_it() {
    let clock = clock();
    let app = TestApp::builder().clock(&clock).start().await;
    let file = app.picture(jpeg(400, 400, 0)).await;
    app.settled(&file).await;
    app.thumbnail(&file, "small").await.expect(200);
    // As if another node had made it anew: the row names another blob, which is not there.
    let moved =
        "UPDATE cifra_thumbnails SET blob_key = blob_key || 'x' WHERE size_name = 'small' RETURNING width";
    assert_eq!(app.number_in_database(moved).await, 150);
    let made_at = app.made_at().await;
    clock.advance(Duration::from_millis(1));
    until("it is found to be gone, and made again", async || {
        app.thumbnail(&file, "small").await.expect(200);
        (app.made_at().await > made_at).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_is_told_what_is_in_the_way() {
    let app = TestApp::builder()
        .with(|config| {
            config.thumbnails.eager = false;
            config.thumbnails.wait = Duration::from_mins(5);
        })
        .start()
        .await;
    let file = app.picture(jpeg(400, 300, 0)).await;
    for key in app.blobs().await {
        app.lose(&key).await;
    }
    app.thumbnail(&file, "small").await.expect(500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_deleted_file_stays_anywhere() {
    let app = TestApp::builder().with(|config| config.files.purge_delay = Some(Duration::ZERO)).start().await;
    let files = [app.picture(jpeg(300, 300, 0)).await, app.picture(jpeg(300, 300, 1)).await];
    for file in &files {
        app.settled(file).await;
    }
    assert_eq!(app.blobs().await.len(), 8);
    // One that is being made while its file goes.
    let third = app.picture(jpeg(900, 900, 2)).await;
    app.delete(&third.file_path()).await.expect(204);
    for file in &files {
        app.delete(&file.file_path()).await.expect(204);
    }
    crate::harness::process::until("no blob is left", async || {
        app.sweep().await;
        app.blobs().await.is_empty().then_some(())
    })
    .await;
    for left in [
        "SELECT COUNT(*) FROM cifra_thumbnails",
        "SELECT COUNT(*) FROM cifra_images",
        "SELECT COUNT(*) FROM cifra_blob_deletions",
    ] {
        assert_eq!(app.number_in_database(left).await, 0, "{left}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_sizes_there_are_no_thumbnails() {
    let app = TestApp::builder().with(|config| config.thumbnails.sizes.clear()).start().await;
    let file = app.picture(jpeg(30, 30, 0)).await;
    let record = app.get(&file.file_path()).await.expect(200).json();
    assert_eq!((&record["image"], &record["thumbnails"]), (&Value::Null, &json!({})));
    assert_eq!(
        app.thumbnail(&file, "small").await.problem(404, "unknown-thumbnail-size")["sizes"],
        json!([])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_as_they_are_configured() {
    let app = lazy(|config| {
        let sizes = &mut config.thumbnails.sizes;
        sizes.truncate(1);
        sizes[0].name = "wide".parse().unwrap();
        sizes[0].spec = ThumbnailSpec { fit: Fit::Cover, ..ThumbnailSpec::inside(64, 16) };
    })
    .await;
    let file = app.picture(jpeg(300, 300, 0)).await;
    let drawn = app.thumbnail(&file, "wide").await.drawn();
    assert_eq!((drawn.width, drawn.height), (64, 16));
    app.thumbnail(&file, "small").await.problem(404, "unknown-thumbnail-size");
}
