//! README's five-minute tour, typed as it stands there.

use std::path::Path;
use std::process::Command;

use crate::harness::TestApp;

/// The shell blocks below the heading of the tour, one after the other.
fn tour() -> String {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, section) = readme.split_once("## Five minutes").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    blocks.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_works_when_it_is_typed() {
    let app = TestApp::start().await;
    let folder = tempfile::tempdir().unwrap();
    let told = "export CIFRA_SERVER=http://127.0.0.1:8080";
    let script = tour();
    assert!(script.contains(told), "the tour's first line tells where the service is");
    let script = script.replace(told, &format!("export CIFRA_SERVER=http://{}", app.address));
    let program = Path::new(env!("CARGO_BIN_EXE_cifra")).parent().unwrap().to_owned();
    let path = format!("{}:{}", program.display(), std::env::var_os("PATH").unwrap().to_str().unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).current_dir(folder.path()).env("PATH", path);
    let output = tokio::task::spawn_blocking(move || bash.output()).await.unwrap().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "it broke off: {complained}\n{said}");

    let compact: String = said.split_whitespace().collect();
    assert!(compact.contains("[[1,1]]"), "one chunk is missing before it is sent: {said}");
    assert!(said.lines().any(|line| line == "100"), "the range has a hundred bytes: {said}");
    assert!(
        said.contains("\"code\": \"chunk-out-of-range\""),
        "its last request is told what is wrong: {said}"
    );
    let [sent, came_back] =
        ["holiday.mov", "copy.mov"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    assert!(sent == came_back, "other bytes came back");
}
