//! Nodes are started again one after the other, behind nginx, while `cifra upload` sends files by it: no client fails.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::client::cifra;
use crate::harness::api::CHUNK;
use crate::harness::cluster::Cluster;
use crate::harness::nginx::Nginx;
use crate::suites::bytes;

/// Clients at once.
const CLIENTS: usize = 3;
/// Each node is started again so many times.
const ROUNDS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_client() {
    let mut world = Cluster::start(2).await;
    let nodes: Vec<SocketAddr> =
        world.apis().iter().map(|api| api.url().strip_prefix("http://").unwrap().parse().unwrap()).collect();
    let proxy = Nginx::balancing(&nodes);
    let folder = tempfile::tempdir().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (url, folder, stop) = (proxy.url(), folder.path().to_owned(), Arc::clone(&stop));
            tokio::task::spawn_blocking(move || send_files(&url, &folder, client, &stop))
        })
        .collect();
    for _ in 0..ROUNDS {
        for node in &mut world.nodes {
            tokio::time::sleep(Duration::from_millis(500)).await; // all is well for a while
            let (status, _) = node.stop().await;
            assert!(status.success(), "{status}:\n{}", node.log());
            node.begin(None).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut files = Vec::new();
    for client in clients {
        files.extend(client.await.unwrap());
    }
    assert!(files.len() >= 2 * CLIENTS, "hardly anything was sent: {}", files.len());
    assert_eq!(
        world.rows.count("SELECT COUNT(*) FROM cifra_files").await,
        i64::try_from(files.len()).unwrap()
    );
    world.ends_empty(&files).await;
}

/// One file after the other; ids and bytes.
fn send_files(url: &str, folder: &Path, client: usize, stop: &AtomicBool) -> Vec<(String, Bytes)> {
    let mut files = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let name = format!("{client}-{}.bin", files.len());
        let content = bytes(20 * CHUNK - 3, (client * 1_000 + files.len()) as u64);
        let path: PathBuf = folder.join(&name);
        std::fs::write(&path, &content).unwrap();
        let mut command = cifra();
        command.current_dir(folder).env("CIFRA_SERVER", url).env("XDG_STATE_HOME", folder);
        let output = command.args(["upload", &name, "--chunk-size", "64KiB", "--json"]).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {}: {complaint}", output.status);
        let file: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        files.push((file["id"].as_str().unwrap().to_owned(), content));
    }
    files
}
