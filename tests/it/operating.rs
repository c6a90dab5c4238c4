//! What docs/operating.md tells operators to do, done to a running service.

use std::fs;
use std::future::ready;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cifra::base::crc;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use uuid::Uuid;

use crate::harness::api::{Api, CHUNK, chunk};
use crate::harness::nginx::Nginx;
use crate::harness::process::{Server, until};
use crate::suites::bytes;

/// Makes small files and deletes most of them again, until it is told to stop.
async fn busy(api: Api, seed: u64, ends: Arc<AtomicBool>, made: Arc<AtomicUsize>) {
    let mut kept = Vec::new();
    for round in 0.. {
        if ends.load(Ordering::Relaxed) {
            return;
        }
        let content = bytes(1000, seed * 1_000_000 + round);
        let id = api.create(content.len()).await;
        while api.put(&id, 0, &content).await.unwrap().status != 200 {}
        while !matches!(api.finalize(&id).await.unwrap().status, 200 | 201) {}
        made.fetch_add(1, Ordering::Relaxed);
        kept.push(id);
        if kept.len() > 3 {
            let oldest = kept.remove(0);
            while !matches!(api.delete_file(&oldest).await.unwrap().status, 204 | 404) {}
        }
    }
}

/// Id and CRC64NVME of every file that a database has.
async fn files_in(database: &Path) -> Vec<(String, u64)> {
    let mut connection = SqliteConnectOptions::new().filename(database).connect().await.unwrap();
    let rows: Vec<(Vec<u8>, i64)> =
        sqlx::query_as("SELECT id, crc64 FROM cifra_files").fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let file = |(id, crc): (Vec<u8>, i64)| (Uuid::from_slice(&id).unwrap().to_string(), crc.cast_unsigned());
    rows.into_iter().map(file).collect()
}

async fn back_up(data: &Path, target: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/backup.py");
    let mut python = Command::new("python3");
    python.arg(script).arg(data).arg(target);
    let output = tokio::task::spawn_blocking(move || python.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the test's own clients, which it waits for")]
async fn a_backup_of_a_busy_service_has_every_byte_that_its_database_knows() {
    let server = Server::start().await;
    let (ends, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let client = |seed| busy(server.api.clone(), seed, Arc::clone(&ends), Arc::clone(&made));
    let clients: Vec<_> = (1..=4).map(|seed| tokio::spawn(client(seed))).collect();
    let content = bytes(2 * CHUNK, 7);
    let unfinished = server.api.create(content.len()).await;
    assert_eq!(server.api.put(&unfinished, 1, chunk(&content, 1)).await.unwrap().status, 200);

    let disk = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let before = made.load(Ordering::Relaxed);
        until("files come and go", async || (made.load(Ordering::Relaxed) > before + 10).then_some(())).await;
        let target = disk.path().join(format!("{round}"));
        fs::create_dir(&target).unwrap();
        back_up(server.data(), &target.join("data")).await;
    }
    ends.store(true, Ordering::Relaxed);
    assert!(join_all(clients).await.iter().all(Result::is_ok));
    assert!(!server.data().join("backup.links").exists());

    for round in 0..5 {
        let mut copy = Server::on(&disk.path().join(format!("{round}")));
        let files = files_in(&copy.database()).await;
        assert!(!files.is_empty());
        copy.begin(None).await;
        for (id, crc) in files {
            let there = copy.api.content(&id).await.unwrap_or_else(|| panic!("no file {id} in copy {round}"));
            assert_eq!(crc::of(&there).value(), crc, "{id} in copy {round}");
        }
        // What was on its way is asked for again, at the latest when it is to be finished.
        copy.api.fill(&unfinished, &content).await;
        assert_eq!(copy.api.finalize(&unfinished).await.unwrap().problem(), (409, "upload-incomplete"));
        copy.api.fill(&unfinished, &content).await;
        copy.api.finish(&unfinished, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_as_documented_passes_bodies_on_as_they_come() {
    let server = Server::start().await;
    let upstream = server.api.url().strip_prefix("http://").unwrap().parse().unwrap();
    let nginx = Nginx::as_documented(upstream);
    let through = Api::new(nginx.url());
    // More than nginx takes by default, and more than it keeps in memory.
    let content = bytes(4 << 20, 1);
    let wanted = json!({ "filename": "a.bin", "total_size": content.len(), "chunk_size": 2 << 20 });
    let created = through.create_as(&wanted).await.unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.json["upload_id"].as_str().unwrap().to_owned();

    // Half of a chunk has come: were it kept in nginx, the service would not know of the request yet.
    let (more, rest) = tokio::sync::oneshot::channel();
    let first = content.slice(..1 << 20);
    let second = content.slice(1 << 20..2 << 20);
    let body = stream::once(ready(Ok(first))).chain(stream::once(async move {
        let _ = rest.await;
        Ok(second)
    }));
    let slow = through.put_stream(&id, 0, "", body);
    let other = async {
        until("the service has the request, and ours", async || {
            let metrics = server.api.text("/metrics").await.unwrap();
            metrics.contains("\ncifra_http_requests_in_flight 2\n").then_some(())
        })
        .await;
        more.send(()).unwrap();
    };
    let (slow, ()) = tokio::join!(slow, other);
    assert_eq!(slow.unwrap().status, 200);
    let put = through.put(&id, 1, &content[2 << 20..]).await.unwrap();
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(through.finalize(&id).await.unwrap().status, 201);
    assert!(through.content(&id).await.unwrap() == content);
    assert_eq!(nginx.log(), "", "nginx complained");
}
