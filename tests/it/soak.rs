//! The long ones: hundreds of kills under load, and the story of a 10 GiB file whose client and server die on the
//! way. `make soak` runs them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::client::cifra;
use crate::harness::api::{Api, CHUNK, chunk};
use crate::harness::process::Server;
use crate::suites::bytes;

const KILLS: u64 = 300;
const CHUNKS: usize = 48;

/// What the clients share: where the server is, and which chunks it has acknowledged.
struct Shared {
    api: Mutex<Api>,
    acknowledged: Mutex<BTreeSet<usize>>,
}

impl Shared {
    fn api(&self) -> Api {
        self.api.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: hundreds of kills take minutes"]
async fn soak_hundreds_of_kills_lose_no_acknowledged_chunk() {
    let seed = uuid::Uuid::new_v4().as_u64_pair().0;
    eprintln!("seed {seed:#x}");
    let moments = bytes(8 * usize::try_from(KILLS).unwrap(), seed);
    let mut server = Server::start().await;
    let (mut kills, mut files) = (0, 0);
    while kills < KILLS {
        let content = bytes(CHUNKS * CHUNK - 7, seed ^ kills);
        let id = server.api.create(content.len()).await;
        let shared = Arc::new(Shared {
            api: Mutex::new(server.api.clone()),
            acknowledged: Mutex::new(BTreeSet::new()),
        });
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let (shared, id, content, stop) = (shared.clone(), id.clone(), content.clone(), stop.clone());
                tokio::runtime::Handle::current().spawn(async move {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        send_all(&shared, &id, &content, sender).await;
                    }
                })
            })
            .collect();
        for _ in 0..10 {
            let moment = u64::from(moments[usize::try_from(kills).unwrap() % moments.len()]);
            tokio::time::sleep(Duration::from_millis(moment)).await; // any moment is a good one to die
            server.kill9();
            kills += 1;
            let acknowledged = shared.acknowledged.lock().unwrap().clone();
            server.begin(None).await;
            *shared.api.lock().unwrap() = server.api.clone();
            let missing: BTreeSet<_> = server.api.missing(&id).await.into_iter().collect();
            let lost: Vec<_> = missing.intersection(&acknowledged).collect();
            assert!(lost.is_empty(), "after kill {kills} acknowledged chunks are lost: {lost:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for sender in senders {
            sender.await.unwrap();
        }
        server.api.fill(&id, &content).await;
        // The end is killed too, and repeated.
        let finishing = {
            let (api, id) = (server.api.clone(), id.clone());
            tokio::runtime::Handle::current().spawn(async move { api.finalize(&id).await })
        };
        tokio::time::sleep(Duration::from_micros(u64::from(moments[files % moments.len()]) * 60)).await;
        server.restart().await;
        kills += 1;
        drop(finishing.await.unwrap());
        server.api.finish(&id, &content).await;
        files += 1;
        server.settled(files).await;
    }
    eprintln!("{kills} kills, {files} files");
}

/// Sends every chunk once, in an order of its own; what fails is left to the next round.
async fn send_all(shared: &Shared, id: &str, content: &[u8], sender: usize) {
    for step in 0..CHUNKS {
        let index = (step * 5 + sender * 12) % CHUNKS;
        match shared.api().put(id, index, chunk(content, index)).await {
            Ok(answer) if answer.status == 200 => {
                shared.acknowledged.lock().unwrap().insert(index);
            }
            Ok(answer) => assert_eq!(answer.problem(), (409, "chunk-busy"), "{answer:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

const LARGE: u64 = 10 << 30;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: 10 GiB there and back, with 21 GiB of disk"]
async fn soak_ten_gibibytes_survive_the_deaths_of_client_and_server() {
    let mut server = Server::new();
    let stat = rustix::fs::statvfs(server.beside("")).unwrap();
    assert!(stat.f_bavail * stat.f_frsize > 2 * LARGE + (1 << 30), "21 GiB of disk are needed");
    let source = server.beside("large.bin");
    let digest = generate(&source);
    server.begin(None).await;
    server.keep_address();

    let mut client = Client::begin(&server, &["upload", "large.bin", "--json"]);
    received(&server, LARGE / 5).await;
    client.kill9();
    client = Client::begin(&server, &["upload", "large.bin", "--json"]);
    for part in [2, 3] {
        received(&server, LARGE / 5 * part).await;
        server.kill9();
        server.begin(None).await;
    }
    received(&server, LARGE / 5 * 4).await;
    client.kill9();
    server.restart().await;
    let uploads = server.api.get("/api/uploads").await.unwrap().json;
    assert_eq!(uploads["items"].as_array().unwrap().len(), 1, "it was resumed, not begun anew");
    let id = uploads["items"][0]["upload_id"].as_str().unwrap().to_owned();
    Client::begin(&server, &["upload", "large.bin", "--json"]).succeeds().await;
    let file = server.api.get(&format!("/api/files/{id}")).await.unwrap().json;
    assert_eq!((&file["size"], &file["checksum"]), (&LARGE.into(), &digest.as_str().into()));
    server.settled(1).await;
    fs::remove_file(&source).unwrap();

    let download = ["download", id.as_str(), "-o", "back.bin"];
    let mut client = Client::begin(&server, &download);
    arrived(&server, LARGE / 3).await;
    client.kill9();
    client = Client::begin(&server, &download);
    arrived(&server, LARGE / 2).await;
    server.restart().await;
    client.succeeds().await;
    let back = server.beside("back.bin");
    let read = tokio::task::spawn_blocking(move || digest_of(&back)).await.unwrap();
    assert_eq!(read, digest);
}

/// Waits until this many bytes of the one upload are acknowledged.
async fn received(server: &Server, wanted: u64) {
    for _ in 0..10 {
        let found = waits(async || {
            let uploads = server.api.get("/api/uploads").await.ok()?.json;
            (uploads["items"][0]["received_bytes"].as_u64()? >= wanted).then_some(())
        });
        if found.await {
            return;
        }
    }
    panic!("{wanted} bytes were not received in ten minutes");
}

/// Waits until this many bytes have come back.
async fn arrived(server: &Server, wanted: u64) {
    let part = server.beside("back.bin.part");
    let found = waits(async || (fs::metadata(&part).ok()?.len() >= wanted).then_some(()));
    assert!(found.await, "{wanted} bytes did not arrive");
}

/// Looks for a minute.
async fn waits(look: impl AsyncFn() -> Option<()>) -> bool {
    let looking = async {
        while look().await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), looking).await.is_ok()
}

/// `cifra` as somebody runs it; killed when dropped.
struct Client(Child);

impl Client {
    fn begin(server: &Server, arguments: &[&str]) -> Self {
        let mut command: Command = cifra();
        command.current_dir(server.beside("")).env("CIFRA_SERVER", server.api.url()).args(arguments);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn kill9(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    async fn succeeds(self) {
        let client = Mutex::new(self);
        for _ in 0..10 {
            let status = Mutex::new(None);
            let ended = waits(async || {
                let ended = client.lock().unwrap().0.try_wait().unwrap()?;
                *status.lock().unwrap() = Some(ended);
                Some(())
            });
            if ended.await {
                let status = status.into_inner().unwrap();
                assert!(status.is_some_and(|status| status.success()), "the client ended with {status:?}");
                return;
            }
        }
        panic!("the client was not done in ten minutes");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes the large file, and answers its SHA-256 as JSON has it. Each block is another one.
fn generate(path: &Path) -> String {
    let block = bytes(1 << 20, 1);
    let (mut file, mut hasher) = (File::create(path).unwrap(), Sha256::new());
    for number in 0..LARGE >> 20 {
        let mut block = block.to_vec();
        block[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block).unwrap();
        hasher.update(&block);
    }
    format!("sha256:{}", hex::encode(hasher.finalize()))
}

fn digest_of(path: &Path) -> String {
    let (mut file, mut hasher, mut block) = (File::open(path).unwrap(), Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut block).unwrap() {
            0 => return format!("sha256:{}", hex::encode(hasher.finalize())),
            len => hasher.update(&block[..len]),
        }
    }
}
