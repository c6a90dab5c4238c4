//! `cifra ls` and `cifra rm` against the real service.

use std::process::Output;

use serde_json::{Value, json};

use crate::client::cifra;
use crate::harness::pictures::jpeg;
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
async fn info_tells_what_a_picture_is_and_where_its_thumbnails_are() {
    let app = TestApp::start().await;
    let file = app.picture(jpeg(400, 200, 0)).await;
    let record = app.settled(&file).await;
    let shown = lines(&app, &["info", &file.id]).await;
    let has = |name: &str, value: &str| {
        let wanted = [name, value];
        assert!(
            shown.iter().any(|line| line
                .split("  ")
                .filter(|word| !word.is_empty())
                .map(str::trim)
                .eq(wanted)),
            "{shown:?}"
        );
    };
    has("image", "400 x 200, jpeg");
    let url = record["thumbnails"]["small"]["url"].as_str().unwrap();
    has("thumbnails.small", &format!("http://{}{url}", app.address));

    let broken = app.picture(jpeg(400, 200, 0)[..200].to_vec()).await;
    app.settled(&broken).await;
    let shown = lines(&app, &["info", &broken.id]).await;
    assert!(shown.iter().any(|line| line.ends_with("failed: corrupt")), "{shown:?}");
    assert!(!shown.iter().any(|line| line.starts_with("image ")), "{shown:?}");

    // In the order in which people list sizes.
    let text = app.get(&file.file_path()).await.expect(200).text();
    let at = |size: &str| text.find(&format!("\"{size}\":{{")).unwrap();
    assert!(at("small") < at("medium") && at("medium") < at("large"), "{text}");
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

/// Four files of different names, types and sizes, the oldest first.
async fn shelf(app: &TestApp) -> Vec<String> {
    let mut ids = Vec::new();
    for (filename, content_type, size) in [
        ("Holiday.mov", "video/quicktime", 5_000),
        ("notes.txt", "text/plain", 10),
        ("holidays.txt", "text/plain", 2_000_000),
        ("there.txt", "text/plain", 0),
    ] {
        let fields = json!({ "filename": filename, "content_type": content_type });
        ids.push(app.file_with(bytes(size), fields).await.id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn ls_lists_the_newest_first_and_filters_and_sorts() {
    let app = TestApp::start().await;
    let ids = shelf(&app).await;
    let listed = lines(&app, &["ls"]).await;
    let first_words: Vec<&str> = listed.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(first_words, [&ids[3], &ids[2], &ids[1], &ids[0]]);
    assert!(listed[1].contains("1.91 MiB") && listed[1].ends_with("holidays.txt"), "{}", listed[1]);
    let ids_of = async |arguments: &[&str]| -> Vec<String> {
        let listed = lines(&app, &[&["ls", "--json"], arguments].concat()).await;
        let files = listed.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        files.map(|file| file["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids_of(&["--query", "HOLI", "--sort", "size"]).await, [&*ids[0], &*ids[2]]);
    assert_eq!(ids_of(&["--query", "holi", "--sort", "-size"]).await, [&*ids[2], &*ids[0]]);
    assert_eq!(ids_of(&["--sort", "filename", "--query", "notes"]).await, [&*ids[1]]);
    assert!(ids_of(&["--type", "image/*"]).await.is_empty());
    assert_eq!(run(&app, &["ls", "--sort", "color"]).await.status.code(), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn ls_gives_a_page_or_all_pages_and_tells_when_there_is_more() {
    let app = TestApp::start().await;
    for index in 0..502 {
        let path = format!("/api/files?filename={index}");
        app.send(axum::http::Method::POST, &path, &[], "").await.expect(201);
    }
    for (arguments, count, more) in [
        (&["ls"][..], 50, true),
        (&["ls", "--limit", "501"], 501, true),
        (&["ls", "--limit", "502"], 502, false),
        (&["ls", "--all"], 502, false),
    ] {
        let output = run(&app, arguments).await;
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(stdout(&output).lines().count(), count, "{arguments:?}");
        assert_eq!(stderr(&output).contains("there are more"), more, "{arguments:?}");
    }
}
