//! What README and the pages in docs tell to type, typed as it stands there; and the programs that they quote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cifra::config::DatabaseUrl;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::harness::pictures::jpeg;
use crate::harness::{TestApp, config};

fn in_clone(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(in_clone(path)).unwrap()
}

/// The shell blocks (`sh`) below a heading of a page, one after the other.
fn typed(page: &str, heading: &str) -> String {
    let page = read(page);
    let (_, section) = page.split_once(heading).unwrap();
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let script: String = blocks.collect();
    assert!(!script.is_empty(), "nothing to type below {heading}");
    script
}

/// The first block of a page in this language.
fn block(page: &str, language: &str) -> String {
    let page = read(page);
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Types `script` in `folder`, with `cifra` on the PATH; what it printed.
async fn typing(app: &TestApp, folder: &Path, script: String) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_cifra")).parent().unwrap().to_owned();
    let path = format!("{}:{}", program.display(), std::env::var_os("PATH").unwrap().to_str().unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).current_dir(folder).env("PATH", path);
    bash.env("CIFRA_SERVER", format!("http://{}", app.address));
    let output = tokio::task::spawn_blocking(move || bash.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "it broke off: {}\n{said}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_works_when_it_is_typed() {
    let app = TestApp::start().await;
    let folder = tempfile::tempdir().unwrap();
    let told = "export CIFRA_SERVER=http://127.0.0.1:8080";
    let script = typed("README.md", "## Five minutes");
    assert!(script.contains(told), "the tour's first line tells where the service is");
    let script = script.replace(told, "");
    let said = typing(&app, folder.path(), script).await;

    let compact: String = said.split_whitespace().collect();
    assert!(compact.contains("[[1,1]]"), "one chunk is missing before it is sent: {said}");
    assert!(said.lines().any(|line| line == "100"), "the range has a hundred bytes: {said}");
    assert!(
        said.contains("\"code\": \"chunk-out-of-range\""),
        "its last request is told what is wrong: {said}"
    );
    let [sent, came_back] =
        ["holiday.mov", "copy.mov"].map(|name| fs::read(folder.path().join(name)).unwrap());
    assert!(sent == came_back, "other bytes came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_lines_about_pictures_and_those_of_their_page_work_when_they_are_typed() {
    let app = TestApp::start().await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("photos")).unwrap();
    fs::write(folder.path().join("photos/dusk.jpg"), jpeg(1200, 900, 1)).unwrap();
    let said = typing(&app, folder.path(), typed("README.md", "## Pictures")).await;
    let small = fs::read(folder.path().join("small.jpg")).unwrap();
    let drawn = cifra::imaging::probe(&small).unwrap();
    assert_eq!((drawn.width, drawn.height), (150, 113));

    let id = said.split_whitespace().next().unwrap();
    let said =
        typing(&app, folder.path(), format!("id={id}\n{}", typed("docs/thumbnails.md", "# Thumbnails")))
            .await;
    assert!(said.contains("\"width\": 1200") && said.contains("\"status\": \"ready\""), "{said}");
    assert_eq!(fs::read(folder.path().join("small.jpg")).unwrap(), small);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ways_to_upload_work_when_they_are_typed() {
    let app = TestApp::start().await;
    let folder = tempfile::tempdir().unwrap();
    let said = typing(&app, folder.path(), typed("docs/uploading.md", "## One request")).await;
    let (id, of_the_form) = said.split_once('\n').unwrap();
    assert_eq!(of_the_form, "100000\n100000\n", "both files of the form are there");
    let path = format!("/api/files/{}", id.trim_matches('"'));
    let file = app.get(&path).await.expect(200).json();
    assert_eq!((&file["filename"], &file["metadata"]["album"]), (&"photo.jpg".into(), &"summer".into()));
    assert_eq!(file["size"], 100_000);

    let said = typing(&app, folder.path(), typed("docs/uploading.md", "## Without a key")).await;
    assert_eq!(said, "100000\n", "the link gave the same bytes, and the token took them again");

    let script =
        typed("docs/uploading.md", "## By chunks: four calls") + &typed("docs/uploading.md", "## Watching");
    let said = typing(&app, folder.path(), script).await;
    assert!(said.contains("\n20000000\n[]\n\"/api/files/"), "all counts, nothing is missing: {said}");
    assert!(said.contains("event: completed\n"), "the events tell its end: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_ones_own_is_read_as_the_page_on_caching_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cifra.db");
    let mut database =
        SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", file.display())).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(block("docs/caching.md", "sql"))).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    let yaml = block("docs/caching.md", "yaml");
    assert_eq!(yaml.lines().count(), 5);
    let entities = config::loaded(&yaml).entities;
    let app = TestApp::builder().with(|config| {
        config.database.url = DatabaseUrl::Sqlite(file.clone());
        config.entities = entities;
    });
    let app = Box::pin(app.start()).await;
    let said = typing(&app, folder.path(), typed("docs/caching.md", "## A table of your own")).await;
    let lines: Vec<&str> = said.lines().collect();
    let [name, list, source] = lines.as_slice() else { panic!("{said}") };
    let bob = r#"[{"id":2,"tenant":"default","name":"Bob","stage":"new"}]"#;
    assert_eq!((*name, *list), ("Ann", bob));
    assert!(source.starts_with("x-cache: "), "{source}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cache_saves_is_shown_as_the_page_on_caching_says() {
    let app = TestApp::start().await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("report.pdf"), "%PDF-1.7 nothing").unwrap();
    let said = typing(&app, folder.path(), typed("docs/caching.md", "## What it saves")).await;
    let lines: Vec<&str> = said.lines().collect();
    let counts: Value = serde_json::from_str(lines[2]).unwrap();
    assert!(counts["hits"].as_u64().unwrap() >= 490, "all but the first of 500: {said}");
    assert!(said.contains("hit rate"), "{said}");
    let [off, bypass, on] = lines.last_chunk::<3>().unwrap();
    assert!(off.starts_with("the cache is off") && on.starts_with("the cache is on"), "{said}");
    assert_eq!(bypass.to_lowercase().trim(), "x-cache: bypass");
}

#[test]
fn the_pages_quote_the_examples_as_they_are() {
    let pages = ["docs/uploading.md", "docs/operating.md"].map(read);
    for entry in fs::read_dir(in_clone("docs/examples")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            continue; // what a page uses and does not quote
        }
        let name = entry.file_name().into_string().unwrap();
        let text = read(&format!("docs/examples/{name}"));
        let linked = |page: &&String| page.contains(&format!("(examples/{name})"));
        let page = pages.iter().find(linked).unwrap_or_else(|| panic!("no page links {name}"));
        assert!(page.contains(&format!("\n{text}```\n")), "the page has another {name}");
    }
}
