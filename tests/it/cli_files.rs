//! `cifra ls` and `cifra rm` against the real service.

use std::process::Output;

use serde_json::{Value, json};

use crate::client::cifra;
use crate::harness::{NOBODY, TestApp, bytes};

async fn run(app: &TestApp, arguments: &[&str]) -> Output {
    let mut command = cifra();
    command.env("CIFRA_SERVER", format!("http://{}", app.address)).args(arguments);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

/// Runs what must succeed; the lines that it printed.
async fn lines(app: &TestApp, arguments: &[&str]) -> Vec<String> {
    let output = run(app, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output).lines().map(str::to_owned).collect()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rm_deletes_what_is_there_and_tells_what_is_not() {
    let app = TestApp::start().await;
    let (a, b, c) = (app.file(bytes(10)).await, app.file(bytes(20)).await, app.file(bytes(30)).await);
    let output = run(&app, &["rm", &a.id, NOBODY, &b.id]).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(stdout(&output), format!("{}\n{}\n", a.id, b.id));
    assert!(
        stderr(&output).contains(NOBODY) && stderr(&output).contains("1 of 3 files"),
        "{}",
        stderr(&output)
    );
    app.get(&a.file_path()).await.problem(404, "file-not-found");
    app.get(&b.file_path()).await.problem(404, "file-not-found");

    let deleted = lines(&app, &["rm", "--json", &c.id]).await;
    let deleted: Value = serde_json::from_str(&deleted[0]).unwrap();
    assert_eq!(deleted, json!({ "id": c.id, "deleted": true }));
    app.get(&c.file_path()).await.problem(404, "file-not-found");
    assert_eq!(run(&app, &["rm", &c.id]).await.status.code(), Some(3));
}
