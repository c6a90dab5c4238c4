//! How often files are read: what counts, what does not, and what outlives the process that counted it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use cifra::base::{Clock, ManualClock, Timestamp};
use serde_json::{Value, json};

use crate::client::cifra;
use crate::harness::process::{Server, until};
use crate::harness::{NOBODY, TestApp, TestUpload, bytes};

/// From the queue to the row; `crash_points` holds this table complete.
pub(crate) const POINTS: [&str; 2] = ["write_behind.after_queue", "write_behind.before_commit"];

/// What is known when the read at `last` counts: all before it then do, too.
async fn reads_up_to(app: &TestApp, file: &TestUpload, last: Timestamp) -> Value {
    until("the last read counts", async || {
        let shown = app.get(&format!("{}/reads", file.file_path())).await.expect(200).json();
        (shown["last_read_at"] == json!(last)).then_some(shown)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_counts_once_when_its_first_byte_is_sent() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
    let app = TestApp::builder().clock(&clock).start().await;
    let (file, other) = (app.file(bytes(1000)).await, app.file(Vec::new()).await);
    let (content, reads) = (file.content_path(), format!("{}/reads", file.file_path()));
    let never = json!({ "reads": 0, "last_read_at": null });
    assert_eq!(app.get(&reads).await.expect(200).json(), never);

    // None of these begins a download.
    app.get(&file.file_path()).await.expect(200);
    app.send(Method::HEAD, &content, &[], "").await.expect(200);
    app.get_with(&content, &[("if-none-match", &format!("\"{}\"", file.id))]).await.expect(304);
    app.get_with(&content, &[("range", "bytes=2000-")]).await.expect(416);
    for range in ["bytes=1-", "bytes=-10", "bytes=500-600", "bytes=10-20,30-40"] {
        app.get_with(&content, &[("range", range)]).await.expect(206);
    }
    clock.advance(Duration::from_secs(1));
    for range in ["bytes=0-0", "bytes=0-9,20-29"] {
        app.get_with(&content, &[("range", range)]).await.expect(206);
    }
    clock.advance(Duration::from_secs(1));
    app.get(&format!("{content}?download=true")).await.expect(200);
    let shown = reads_up_to(&app, &file, clock.now()).await;
    assert_eq!(shown["reads"], 3, "{shown}");

    // Nor is there anything of a file but its own reads.
    app.get(&other.content_path()).await.expect(200);
    assert_eq!(reads_up_to(&app, &other, clock.now()).await["reads"], 1);
    let record: Value = app.get(&file.file_path()).await.expect(200).json();
    assert_eq!((&record["version"], &record["updated_at"]), (&json!(1), &record["created_at"]));
    app.get(&format!("/api/files/{NOBODY}/reads")).await.problem(404, "file-not-found");
    app.delete(&file.file_path()).await.expect(204);
    app.get(&reads).await.problem(404, "file-not-found");
    assert_eq!(app.number_in_database("SELECT COUNT(*) FROM cifra_file_access").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_may_read_a_file_sees_how_often_it_was_read() {
    let app = TestApp::builder().keys().start().await;
    app.tenant("alice").await;
    app.tenant("bob").await;
    app.act_as(&app.key("alice", "read,write").await);
    let file = app.file(bytes(10)).await;
    let reads = format!("{}/reads", file.file_path());
    app.get(&reads).await.expect(200);
    app.act_as(&app.key("bob", "read").await);
    app.get(&reads).await.problem(404, "file-not-found");
    app.act_as_nobody();
    app.get(&reads).await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn info_tells_how_often_a_file_was_read() {
    let app = TestApp::start().await;
    let file = app.file(bytes(10)).await;
    app.get(&file.content_path()).await.expect(200);
    let reads = format!("{}/reads", file.file_path());
    until("it counts", async || (app.get(&reads).await.json()["reads"] == 1).then_some(())).await;
    let mut command = cifra();
    command.args(["info", &file.id, "--json", "--server", &format!("http://{}", app.address)]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["id"], &shown["reads"]), (&json!(file.id), &json!(1)));
    assert!(shown["last_read_at"].is_string(), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_queued_counts_once_wherever_the_process_is_killed() {
    let mut server = Server::start().await;
    let id = server.api.file(&bytes(1000)).await;
    let reads = format!("/api/files/{id}/reads");
    for (before, point) in (0..).zip(POINTS) {
        server.kill9();
        server.begin(Some(&format!("{point}=kill"))).await;
        assert_eq!(server.api.get(&reads).await.unwrap().json["reads"], before, "{point}");
        assert!(server.api.content(&id).await.is_some());
        server.died().await;
        assert_eq!(server.count("SELECT COUNT(*) FROM cifra_write_behind").await, 1, "{point}");
        server.begin(None).await;
        until("it is applied", async || {
            (server.count("SELECT COUNT(*) FROM cifra_write_behind").await == 0).then_some(())
        })
        .await;
        assert_eq!(server.api.get(&reads).await.unwrap().json["reads"], before + 1, "{point}");
    }
    // And one that is stopped in order counts to its end.
    assert!(server.api.content(&id).await.is_some());
    server.stop().await;
    server.begin(None).await;
    until("it is applied", async || (server.api.get(&reads).await.unwrap().json["reads"] == 3).then_some(()))
        .await;
}
