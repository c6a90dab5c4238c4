//! Clients that do not give up: each call goes to another node, and is made again until it is answered. They remember
//! what they were told, and fail the test when that does not hold.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::api::{Answer, Api, CHUNK, Result, chunk, ranges, sha256};
use crate::suites::bytes;

/// A node that does not answer for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(8);
/// No outage of these tests lasts so long.
const GIVES_UP: Duration = Duration::from_mins(3);
/// Chunks of an upload that are on their way at once.
const AT_ONCE: usize = 3;
const CHUNKS: usize = 8;

/// A client, and the nodes that it knows.
#[derive(Debug, Clone)]
pub(super) struct Client {
    nodes: Arc<Vec<Api>>,
    next: Arc<AtomicUsize>,
    seed: u64,
}

/// Clients at work.
pub(super) struct Crowd {
    stop: Arc<AtomicBool>,
    working: Vec<JoinHandle<Vec<(String, Bytes)>>>,
}

impl Crowd {
    /// So many clients, each with one upload after the other.
    pub(super) fn start(nodes: &[Api], count: u64, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let work = |number| {
            let (stop, nodes) = (Arc::clone(&stop), Arc::new(nodes.to_vec()));
            let runtime = tokio::runtime::Handle::current();
            // A thread of its own: what it does borrows too much to be sent to others.
            tokio::task::spawn_blocking(move || {
                let (mut files, mut round) = (Vec::new(), 0);
                while !stop.load(Ordering::Relaxed) || files.is_empty() {
                    let seed = seed ^ (number << 32) ^ round;
                    let next = Arc::new(AtomicUsize::new(usize::try_from(seed >> 1).unwrap()));
                    let client = Client { nodes: Arc::clone(&nodes), next, seed };
                    files.extend(runtime.block_on(client.does_something(round)));
                    round += 1;
                }
                files
            })
        };
        let working = (0..count).map(work).collect();
        Self { stop, working }
    }

    /// The files that they have made, when each has finished what it was at.
    pub(super) async fn files(self) -> Vec<(String, Bytes)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut files = Vec::new();
        for client in self.working {
            files.extend(client.await.unwrap());
        }
        files
    }
}

impl Client {
    /// Mostly uploads; the file, if there is one afterwards.
    async fn does_something(&self, round: u64) -> Option<(String, Bytes)> {
        match round % 6 {
            3 => {
                let (id, content) = self.begins().await;
                self.sends(&id, &content, &(0..CHUNKS / 2).collect::<Vec<_>>()).await;
                self.aborts(&id).await;
                None
            }
            4 => {
                let content = bytes(2 * CHUNK + 7, self.seed);
                let key = format!("file-{:x}", self.seed);
                let created = self.until_answered("a file", &[200, 201], async |api| {
                    api.create_file_once(&key, &content).await
                });
                let id = created.await.json["id"].as_str().unwrap().to_owned();
                self.reads(&id, &content).await;
                Some((id, content))
            }
            5 => {
                let (id, _) = self.uploads().await;
                self.until_answered("a deletion", &[204, 404], async |api| api.delete_file(&id).await).await;
                self.is_gone(&id).await;
                None
            }
            _ => Some(self.uploads().await),
        }
    }

    /// An upload that becomes a file.
    pub(super) async fn uploads(&self) -> (String, Bytes) {
        let (id, content) = self.begins().await;
        let mut all: Vec<usize> = (0..CHUNKS).collect();
        all.rotate_left(usize::try_from(self.seed).unwrap_or(0) % CHUNKS);
        if self.seed.is_multiple_of(2) {
            all.reverse();
        }
        self.sends(&id, &content, &all).await;
        self.finalizes(&id, &content).await;
        self.reads(&id, &content).await;
        (id, content)
    }

    async fn begins(&self) -> (String, Bytes) {
        let content = bytes(CHUNKS * CHUNK - 9, self.seed);
        let mut wanted = json!({ "filename": "a.bin", "total_size": content.len(), "chunk_size": CHUNK });
        if self.seed.is_multiple_of(3) {
            // Chunks come out of order: the whole blob is read back at the end.
            wanted["checksum"] = sha256(&content).into();
        }
        let key = format!("upload-{:x}", self.seed);
        let created =
            self.until_answered("an upload", &[201], async |api| api.create_once(&key, &wanted).await).await;
        (created.json["upload_id"].as_str().unwrap().to_owned(), content)
    }

    /// Sends these chunks; what was acknowledged is not missing afterwards.
    async fn sends(&self, id: &str, content: &[u8], indexes: &[usize]) {
        let one = |index: usize| async move {
            let call = async |api: Api| api.put(id, index, chunk(content, index)).await;
            self.until_answered("a chunk", &[200], call).await;
        };
        stream::iter(indexes.iter().copied().map(one)).buffer_unordered(AT_ONCE).collect::<()>().await;
        let status = self.until_answered("a status", &[200], async |api| api.upload(id).await).await;
        let missing: BTreeSet<usize> = ranges(&status.json["missing"]).into_iter().collect();
        let lost: Vec<_> = indexes.iter().filter(|index| missing.contains(index)).collect();
        assert!(lost.is_empty(), "chunks of {id} that were acknowledged are missing: {lost:?}");
    }

    async fn finalizes(&self, id: &str, content: &[u8]) {
        loop {
            let done = self
                .until_answered("an end", &[200, 201, 202, 409], async |api| api.finalize(id).await)
                .await;
            match done.status {
                200 | 201 => {
                    let crc64 = format!("crc64nvme:{}", cifra::base::crc::of(content));
                    assert_eq!(done.json["crc64nvme"], crc64, "{done:?}");
                    return;
                }
                // A late part of a node that stood still lies over another: it is asked for again.
                409 if done.problem().1 == "upload-incomplete" => {
                    self.sends(id, content, &ranges(&done.json["missing"])).await;
                }
                409 => panic!("{id}: {done:?}"),
                _ => tokio::time::sleep(Duration::from_millis(200)).await, // as it was told
            }
        }
    }

    async fn aborts(&self, id: &str) {
        self.until_answered("an abort", &[204], async |api| api.abort(id).await).await;
        let gone = self.until_answered("an aborted upload", &[410], async |api| api.upload(id).await).await;
        assert_eq!(gone.json["state"], "aborted", "{gone:?}");
    }

    async fn reads(&self, id: &str, content: &[u8]) {
        let read = async |api: Api| {
            let got = api.bytes(&format!("/api/files/{id}/content")).await?;
            if got.0.status == 200 {
                assert!(got.1 == content, "the file {id} has other bytes");
            }
            Ok(got.0)
        };
        self.until_answered("a download", &[200], read).await;
    }

    /// The file is gone everywhere: at the node that deleted it at once, at the others a second after they hear of changes
    /// again; until then they may answer it.
    async fn is_gone(&self, id: &str) {
        let begun = Instant::now();
        let asked = async |api: Api| api.get(&format!("/api/files/{id}")).await;
        let mut gone = 0;
        while gone < 2 * self.nodes.len() {
            let answer = self.until_answered("a deleted file", &[200, 404], asked).await;
            gone = if answer.status == 404 { gone + 1 } else { 0 };
            assert!(begun.elapsed() < GIVES_UP, "a deleted file stays: {answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes a call, to another node each time, until the answer is one of `wanted`. Anything else but "come back later"
    /// fails the test.
    async fn until_answered(&self, what: &str, wanted: &[u16], call: impl AsyncFn(Api) -> Result) -> Answer {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < GIVES_UP {
            let node = self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
            match tokio::time::timeout(PATIENCE, call(self.nodes[node].clone())).await {
                Ok(Ok(answer)) if later(&answer) => last = Some(answer),
                Ok(Ok(answer)) if wanted.contains(&answer.status) => return answer,
                Ok(Ok(answer)) => panic!("{what}: {answer:?}"),
                // Dead, or standing still.
                Ok(Err(_)) | Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await; // a client waits before it tries again
        }
        panic!("{what}: not answered in {GIVES_UP:?}; the last answer was {last:?}");
    }
}

/// Whether it is to be tried again: a client of ours would.
fn later(answer: &Answer) -> bool {
    let (status, code) = answer.problem();
    status == 503
        || matches!(code, "chunk-busy" | "request-timeout")
        || (status == 409 && answer.retry_after.is_some())
}
