//! schemathesis tries the real binary by the document at `/openapi.json`: every operation, with what the document
//! allows and with what it does not. What is checked, and what is not and why: `tests/schemathesis/schemathesis.toml`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::process::Server;

/// It is done in a minute; on a machine that does much else besides it takes longer.
const PATIENCE: Duration = Duration::from_mins(5);

const ADMIN_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Where `scripts/setup.sh` puts it.
fn program() -> PathBuf {
    let cache = std::env::var_os("CIFRA_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/cifra"));
    let program = cache.join("tools/schemathesis/bin/schemathesis");
    assert!(program.exists(), "{} is not there: run scripts/setup.sh test", program.display());
    program
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing() {
    let mut server = Server::new();
    server.set("auth.mode", "keys");
    server.env("CIFRA_ADMIN_KEY", ADMIN_KEY);
    server.begin(None).await;
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis/schemathesis.toml");
    let told = server.beside("schemathesis");
    let output = File::create(&told).unwrap();
    let mut run = Command::new(program())
        .arg("--config-file")
        .arg(config)
        .args(["run", &format!("{}/openapi.json", server.api.url())])
        .args(["--header", &format!("Authorization: Bearer {ADMIN_KEY}")])
        .current_dir(server.data())
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = run.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            run.kill().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let told = std::fs::read_to_string(told).unwrap();
    assert!(status.success(), "{told}\n{status}");
    let summary = told.lines().find(|line| line.trim_start().starts_with("Tested:")).unwrap_or_default();
    assert!(!told.contains("Errored:") && !summary.is_empty(), "{told}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
