//! `cifra db` with the real program, on both engines.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::cifra;
use crate::harness::postgres;
use crate::harness::process::Server;

/// The program, with the database in `url`.
fn program(folder: &TempDir, url: &str, arguments: &[&str]) -> Output {
    let mut command: Command = cifra();
    command.current_dir(folder.path()).env("DATABASE_URL", url).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_says_what_it_applied_and_the_second_time_nothing() {
    let postgres = postgres::server().new_database().await;
    for url in ["sqlite://x.db", &postgres] {
        let folder = tempfile::tempdir().unwrap();
        let first = program(&folder, url, &["db", "migrate", "--json"]);
        assert!(first.status.success(), "{}", text(&first.stderr));
        let steps: Vec<Value> =
            text(&first.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(steps[0], serde_json::json!({ "number": 1, "name": "uploads and files" }));
        let numbers: Vec<i64> = steps.iter().map(|step| step["number"].as_i64().unwrap()).collect();
        assert!(numbers.len() >= 6 && numbers.is_sorted(), "{numbers:?}");

        let again = program(&folder, url, &["db", "migrate"]);
        assert!(again.status.success() && again.stdout.is_empty(), "{again:?}");
        assert!(text(&again.stderr).contains("up to date"), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_of_a_database_is_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let url = "postgres://me:hidden@127.0.0.1:1/cifra?sslmode=disable";
    let shown = program(&folder, url, &["config", "show"]);
    assert!(text(&shown.stdout).contains("postgres://me:…@127.0.0.1:1/cifra?sslmode=disable"), "{shown:?}");
    let away = program(&folder, url, &["db", "migrate"]);
    assert_eq!(away.status.code(), Some(6), "{away:?}");
    let refused = program(&folder, "postgres://me:hid#den@db", &["config", "check"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    for output in [shown, away, refused] {
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(!said.contains("hid"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_a_sqlite_database_is_refused_whatever_its_store() {
    let server = Server::start().await;
    let mut second = Server::new();
    second.set("database.url", &format!("sqlite://{}", server.database().display()));
    let said = second.refuses();
    assert!(said.contains("is in use by another process (pid"), "{said}");
    assert!(said.contains("cifra.db"), "{said}");
}
