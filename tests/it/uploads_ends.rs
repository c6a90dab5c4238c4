//! How uploads end without a file: deleted, expired; what their clients are told, for how long; the clock.

use std::sync::Arc;
use std::time::Duration;

use cifra::base::{Clock, ManualClock, Timestamp};
use serde_json::{Value, json};

use crate::harness::{NOBODY, Raw, TestApp, TestUpload};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const MINUTE: Duration = Duration::from_mins(1);

/// 2026-01-01T00:00:00Z.
fn new_year() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_micros(1_767_225_600_000_000)))
}

async fn app_at(clock: &Arc<ManualClock>) -> TestApp {
    TestApp::builder().clock(clock).start().await
}

/// Everything that can be asked of an upload is refused in the same way.
async fn all_refuse(app: &TestApp, upload: &TestUpload, status: u16, code: &str, state: &Value) {
    let answers = [
        app.get(&upload.path).await,
        app.put_chunk(upload, 0).await,
        app.put_chunk(upload, 1).await,
        app.put(&format!("{}?replace=true", upload.chunk_path(0)), upload.chunk(0)).await,
        app.finalize(upload).await,
    ];
    for answer in answers {
        assert_eq!(&answer.problem(status, code)["state"], state);
    }
    app.get(&upload.file_path()).await.problem(404, "file-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_upload_is_gone_for_a_day_then_unknown() {
    let clock = new_year();
    let app = app_at(&clock).await;
    let upload = app.upload_of_chunks(3).await;
    app.put_chunk(&upload, 0).await.expect(200);
    assert!(app.staged().is_none_or(|staged| staged == 1));
    let deleted = app.delete(&upload.path).await.expect(204);
    assert!(deleted.body.is_empty());
    assert!(app.staged().is_none_or(|staged| staged == 0), "its bytes are removed");
    app.delete(&upload.path).await.expect(204);
    all_refuse(&app, &upload, 410, "upload-gone", &json!("aborted")).await;

    clock.advance(23 * HOUR + 59 * MINUTE);
    app.sweep().await;
    all_refuse(&app, &upload, 410, "upload-gone", &json!("aborted")).await;
    app.delete(&upload.path).await.expect(204);
    clock.advance(2 * MINUTE);
    app.sweep().await;
    all_refuse(&app, &upload, 404, "upload-not-found", &Value::Null).await;
    app.delete(&upload.path).await.problem(404, "upload-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_nothing_has_does_not_end() {
    let app = TestApp::start().await;
    app.delete(&format!("/api/uploads/{NOBODY}")).await.problem(404, "upload-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completed_upload_is_not_deleted_its_file_is() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_all(&upload).await;
    app.finalize(&upload).await.expect(201);
    app.delete(&upload.path).await.problem(409, "upload-finalized");
    assert_eq!(app.get(&upload.content_path()).await.expect(200).body, upload.bytes);
    app.delete(&upload.file_path()).await.expect(204);
    app.get(&upload.path).await.problem(404, "upload-not-found");
    app.finalize(&upload).await.problem(404, "upload-not-found");
    app.delete(&upload.path).await.problem(404, "upload-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_on_its_way_ends_when_its_upload_is_deleted() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let mut raw = Raw::to(&app).await;
    let length = format!("Content-Length: {}", upload.chunk_size);
    raw.head(&format!("PUT {}", upload.chunk_path(0)), &[&length, "Expect: 100-continue"]).await;
    assert_eq!(raw.answer().await.unwrap().status, 100);
    raw.send(&upload.chunk(0)[..1000]).await;

    app.delete(&upload.path).await.expect(204);
    let problem = raw.answer().await.unwrap().problem(410, "upload-gone");
    assert_eq!(problem["state"], "aborted");
    assert!(app.staged().is_none_or(|staged| staged == 0), "no bytes stay behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_upload_expires_and_is_gone_before_the_sweeper_comes() {
    let clock = new_year();
    let app = app_at(&clock).await;
    let upload = app.upload_of_chunks(2).await;
    assert_eq!(app.status(&upload).await["expires_at"], "2026-01-02T00:00:00.000000Z");
    app.put_chunk(&upload, 0).await.expect(200);
    clock.advance(23 * HOUR + 59 * MINUTE);
    assert_eq!(app.status(&upload).await["state"], "receiving");
    clock.advance(MINUTE);
    all_refuse(&app, &upload, 410, "upload-gone", &json!("expired")).await;
    assert!(app.staged().is_none_or(|staged| staged == 1), "nobody has swept yet");
    app.sweep().await;
    all_refuse(&app, &upload, 410, "upload-gone", &json!("expired")).await;
    assert!(app.staged().is_none_or(|staged| staged == 0));
    app.delete(&upload.path).await.expect(204);

    clock.advance(DAY + MINUTE);
    app.sweep().await;
    all_refuse(&app, &upload, 404, "upload-not-found", &Value::Null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_upload_is_not_listed_as_receiving_before_the_sweeper_comes() {
    let clock = new_year();
    let app = app_at(&clock).await;
    let upload = app.upload_of_chunks(2).await;
    app.sweep().await;
    clock.advance(DAY);
    let count = async |state: &str| {
        let list = app.get(&format!("/api/uploads?state={state}")).await.expect(200).json();
        let items = list["items"].as_array().unwrap();
        items.iter().filter(|item| item["upload_id"] == upload.id.as_str()).count()
    };
    assert_eq!(count("receiving").await, 0);
    app.sweep().await;
    assert_eq!((count("receiving").await, count("expired").await), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_receipt_gives_more_time_up_to_the_greatest_age() {
    let clock = new_year();
    let app = TestApp::builder()
        .clock(&clock)
        .with(|config| {
            config.file_upload.session_idle_ttl = HOUR;
            config.file_upload.session_max_age = 2 * HOUR + HOUR / 2;
        })
        .start()
        .await;
    let upload = app.upload_of_chunks(4).await;
    for (index, minutes, expires) in [(0, 50, "01:50:00"), (1, 30, "02:20:00"), (2, 50, "02:30:00")] {
        clock.advance(minutes * MINUTE);
        app.put_chunk(&upload, index).await.expect(200);
        app.sweep().await;
        assert_eq!(app.status(&upload).await["expires_at"], format!("2026-01-01T{expires}.000000Z"));
    }
    clock.advance(20 * MINUTE);
    all_refuse(&app, &upload, 410, "upload-gone", &json!("expired")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_on_its_way_keeps_its_upload_alive() {
    let clock = new_year();
    let app = app_at(&clock).await;
    let upload = app.upload_of_chunks(2).await;
    let mut raw = Raw::to(&app).await;
    let length = format!("Content-Length: {}", upload.chunk_size);
    raw.head(&format!("PUT {}", upload.chunk_path(0)), &[&length, "Expect: 100-continue"]).await;
    assert_eq!(raw.answer().await.unwrap().status, 100);
    clock.advance(DAY + HOUR);
    app.sweep().await;
    raw.send(upload.chunk(0)).await;
    raw.answer().await.unwrap().expect(200);
    app.put_chunk(&upload, 1).await.expect(200);
    app.finalize(&upload).await.expect(201);
    assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_never_ends_does_not_keep_its_upload_for_ever() {
    let clock = new_year();
    let app = app_at(&clock).await;
    let upload = app.upload_of_chunks(2).await;
    let mut raw = Raw::to(&app).await;
    let length = format!("Content-Length: {}", upload.chunk_size);
    raw.head(&format!("PUT {}", upload.chunk_path(0)), &[&length, "Expect: 100-continue"]).await;
    assert_eq!(raw.answer().await.unwrap().status, 100);
    raw.send(&upload.chunk(0)[..100]).await;
    clock.advance(7 * DAY);
    app.sweep().await;
    raw.answer().await.unwrap().problem(410, "upload-gone");
    assert!(app.staged().is_none_or(|staged| staged == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_forward_ends_no_upload_at_once() {
    let clock = new_year();
    let app = app_at(&clock).await;
    let upload = app.upload_of_chunks(2).await;
    app.put_chunk(&upload, 0).await.expect(200);
    app.sweep().await;

    clock.set(clock.now().plus(2 * DAY));
    app.sweep().await;
    clock.advance(59 * MINUTE);
    app.sweep().await;
    assert!(app.staged().is_none_or(|staged| staged == 1), "no bytes were removed");
    // The clock was wrong, and is set right again: the upload lives on.
    clock.set(clock.now().minus(2 * DAY));
    app.sweep().await;
    app.put_chunk(&upload, 1).await.expect(200);
    app.finalize(&upload).await.expect(201);
    assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_stays_forward_is_believed_after_an_hour() {
    let clock = new_year();
    let app = app_at(&clock).await;
    let upload = app.upload_of_chunks(2).await;
    app.put_chunk(&upload, 0).await.expect(200);
    app.sweep().await;
    clock.set(clock.now().plus(2 * DAY));
    app.sweep().await;
    clock.advance(HOUR);
    app.sweep().await;
    all_refuse(&app, &upload, 410, "upload-gone", &json!("expired")).await;
    assert!(app.staged().is_none_or(|staged| staged == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_back_ends_nothing() {
    let clock = new_year();
    let app = app_at(&clock).await;
    let upload = app.upload_of_chunks(2).await;
    app.put_chunk(&upload, 0).await.expect(200);
    app.sweep().await;
    clock.set(clock.now().minus(DAY));
    app.sweep().await;
    app.put_chunk(&upload, 1).await.expect(200);
    app.finalize(&upload).await.expect(201);
}
