//! The command line where no server is needed: help, usage errors, configuration, a server that is not there.

use std::fs;
use std::net::TcpListener;
use std::process::Output;

use serde_json::Value;

use crate::client::cifra;
use crate::client::fake::Fake;

const ID: &str = "0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c";

fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    cifra().current_dir(folder.path()).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The address of a port where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn every_command_explains_itself_with_examples() {
    let help = stdout(&run(&["--help"]));
    for command in ["serve", "upload", "download", "ls", "info", "rm", "health", "config", "doctor", "db"] {
        assert!(help.contains(command), "{command} is not in the help");
        let output = run(&[command, "--help"]);
        assert!(output.status.success());
        assert!(stdout(&output).contains("Examples:\n  cifra "), "no examples for {command}");
    }
    for action in ["check", "show", "default"] {
        assert!(run(&["config", action, "--help"]).status.success());
    }
    assert!(help.contains("6  unavailable"), "the help does not tell the exit codes");
    assert!(stdout(&run(&["--version"])).starts_with("cifra "));
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &[][..],
        &["sing"],
        &["upload"],
        &["upload", "--parallel", "0", "x"],
        &["upload", "--parallel", "65", "x"],
        &["upload", "--retry-for", "soon", "x"],
        &["upload", "--chunk-size", "8Mib", "x"],
        &["download", "../../etc/passwd"],
        &["download", "0198C5F0-7C1E-7D2A-9B3F-2F1D0E5A6B7C-1"],
        &["info", "1"],
        &["rm"],
        &["rm", ID, "1"],
        &["ls", "--limit", "0"],
        &["ls", "--limit", "7", "--all"],
        &["config"],
        &["info", ID, "--server", "ftp://example.com"],
        &["info", ID, "--server", "example.com:80"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?} printed a result");
    }
    let wrong = stderr(&run(&["upload", "--chunk-size", "8Mib", "x"]));
    assert!(wrong.contains("expected a size such as"), "{wrong}");
}

#[test]
fn a_server_that_is_not_there_exits_with_6() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a");
    fs::write(&file, "a").unwrap();
    let server = nobody();
    for arguments in [
        &["info", ID][..],
        &["ls"],
        &["rm", ID],
        &["health"],
        &["download", ID, "--retry-for", "0"],
        &["upload", file.to_str().unwrap(), "--retry-for", "0"],
    ] {
        let output = cifra().env("CIFRA_SERVER", &server).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("refused"), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_file_that_is_not_here_is_named() {
    let output = run(&["upload", "no-such-file"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no-such-file: No such file"), "{}", stderr(&output));
}

#[test]
fn the_documented_default_configuration_loads_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |arguments: &[&str]| {
        let output = cifra().current_dir(folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    };
    let values = |shown: &str| -> Vec<String> {
        shown.lines().map(|line| line.split('#').next().unwrap().trim_end().to_owned()).collect()
    };
    let built_in = in_folder(&["config", "show"]);
    fs::write(folder.path().join("cifra.yaml"), in_folder(&["config", "default"])).unwrap();
    assert!(in_folder(&["config", "check"]).contains("cifra.yaml"));
    assert_eq!(values(&in_folder(&["config", "show"])), values(&built_in));
    let json: Value = serde_json::from_str(&in_folder(&["config", "check", "--json"])).unwrap();
    assert_eq!(json["faults"], serde_json::json!([]));
}

#[test]
fn every_fault_of_a_configuration_is_told_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("my.yaml"),
        "server: { listen: nowhere }\nfile_upload: { chunk_sice: 8MiB }\n",
    )
    .unwrap();
    for command in [&["config", "check"][..], &["config", "show"], &["serve"], &["health"]] {
        let output =
            cifra().current_dir(folder.path()).args(command).args(["--config", "my.yaml"]).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {told}");
        assert!(told.contains("server.listen") && told.contains("chunk_sice"), "{command:?}: {told}");
    }
}

#[test]
fn health_finds_the_server_that_the_configuration_describes() {
    let fake = Fake::start();
    let port = fake.url.rsplit(':').next().unwrap();
    let listen = format!("127.0.0.1:{port}");
    let output = cifra().env("CIFRA__SERVER__LISTEN", &listen).arg("health").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), format!("http://{listen} is up\n"));
}

#[test]
fn an_https_address_is_spoken_to_with_tls() {
    // A server that speaks no TLS: what matters is that the client tries to, and does not fall back.
    let fake = Fake::start();
    let server = fake.url.replace("http://", "https://");
    let output = cifra().args(["info", ID, "--server", &server]).output().unwrap();
    assert!(!output.status.success());
    assert!(fake.world().seen.is_empty(), "a request was sent without TLS");
}
