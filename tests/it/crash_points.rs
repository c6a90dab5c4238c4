//! SIGKILL at every fail point of the real binary: what was acknowledged is there, nothing half is visible,
//! everything can be repeated, nothing stays behind.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;

use crate::harness::api::{Api, CHUNK, chunk};
use crate::harness::process::Server;
use crate::store_faults::kills;
use crate::suites::bytes;
use crate::{crash_creation, files_reads, idempotency, thumbnails_nodes};

/// What is going on when the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum During {
    /// Chunk 1 comes; 0 and 2 are there.
    Chunk,
    /// Chunk 1 is replaced; 0, 1 and 2 are there.
    Replacement,
    /// All chunks are there.
    Finalize,
    /// Chunks 0 and 2 are there.
    Abort,
    /// The upload is a file.
    Deletion,
    /// Chunks 0 and 2 are there, and the upload's time is over.
    Expiry,
}

const POINTS: &[(&str, During)] = &[
    ("chunk.before_write", During::Chunk),
    ("blob.write.before_data", During::Chunk),
    ("blob.write.after_data", During::Chunk),
    ("chunk.after_write", During::Chunk),
    ("chunk.after_journal", During::Chunk),
    ("chunk.before_withdraw", During::Replacement),
    ("chunk.after_withdraw", During::Replacement),
    ("finish.after_claim", During::Finalize),
    ("finish.after_digests", During::Finalize),
    ("blob.complete.before_sync", During::Finalize),
    ("blob.complete.before_rename", During::Finalize),
    ("blob.complete.after_rename", During::Finalize),
    ("finish.after_store", During::Finalize),
    ("finish.after_commit", During::Finalize),
    ("blob.abandon.before_unlink", During::Abort),
    ("blob.abandon.after_unlink", During::Abort),
    ("sweep.before_expire", During::Expiry),
    ("sweep.after_expire", During::Expiry),
    ("delete.before_commit", During::Deletion),
    ("delete.after_commit", During::Deletion),
    ("blob.delete.before_unlink", During::Deletion),
    ("blob.delete.after_unlink", During::Deletion),
    ("delete.after_unlink", During::Deletion),
];

/// Over three chunks, so that the fourth is a short one.
const SIZE: usize = 3 * CHUNK + 1_000;

#[test]
fn every_fail_point_is_in_the_table() {
    let mut named = BTreeSet::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut named);
    let points = POINTS.iter().map(|(point, _)| *point).chain(crash_creation::points());
    let points = points.chain(thumbnails_nodes::POINTS).chain(files_reads::POINTS);
    let points = points.chain(idempotency::POINTS).chain(kills::OF_OBJECT_STORES.iter().copied());
    let tested: BTreeSet<String> = points.clone().map(str::to_owned).collect();
    assert_eq!(named, tested);
    assert_eq!(tested.len(), points.count(), "a point is there twice");
}

/// The names in `failpoint::hit("…")` of all sources below `folder`.
fn collect(folder: &Path, named: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, named);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for rest in text.split("failpoint::hit(\"").skip(1) {
                named.insert(rest.split('"').next().unwrap().to_owned());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_loses_nothing_and_leaves_nothing() {
    for (point, during) in POINTS {
        eprintln!("killed at {point}");
        let mut scene = Scene::set(&[], *during).await;
        scene.kill_at(point).await;
        scene.check(point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_loses_nothing_where_each_chunk_is_flushed() {
    for (point, during) in POINTS.iter().filter(|(_, during)| *during != During::Deletion) {
        eprintln!("killed at {point}");
        let settings = [("file_upload.durability", "chunk"), ("file_upload.checksum", "crc64nvme")];
        let mut scene = Scene::set(&settings, *during).await;
        scene.kill_at(point).await;
        scene.check(point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_finishes_in_the_place_of_the_dead_may_die_too() {
    let points = POINTS.iter().filter(|(_, during)| *during == During::Finalize);
    for (first, _) in points.filter(|(point, _)| *point != "finish.after_commit") {
        for second in ["finish.after_claim", "finish.after_store"] {
            eprintln!("killed at {first}, then at {second}");
            let mut scene = Scene::set(&[], During::Finalize).await;
            scene.kill_at(first).await;
            // The sweeper's first round takes over.
            scene.server.launch(Some(&format!("{second}=kill")));
            scene.server.died().await;
            scene.check(second).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_digest_holds_after_a_crash_too() {
    let mut server = Server::start().await;
    let content = bytes(SIZE, 7);
    let id = server.api.create(SIZE).await;
    server.api.fill(&id, &content).await;
    server.kill9();
    server.begin(Some("finish.after_claim=kill")).await;
    let other = "crc64nvme:0123456789abcdef";
    server.api.finalize_as(&id, other).await.unwrap_err();
    server.died().await;

    server.restart().await;
    let upload = crate::harness::process::until("the sweeper has given it up", async || {
        let upload = server.api.upload(&id).await.unwrap();
        (upload.json["state"] != "finalizing").then_some(upload)
    });
    let upload = upload.await;
    assert_eq!(upload.json["state"], "receiving", "{upload:?}");
    assert!(upload.json["error"].is_string(), "{upload:?}");
    assert_eq!(server.api.content(&id).await, None);
    let refused = server.api.finalize_as(&id, other).await.unwrap();
    assert_eq!(refused.problem(), (422, "checksum-mismatch"), "{refused:?}");
    assert_eq!(refused.json["chunks_replaceable"], true);
    server.api.finish(&id, &content).await;
    server.settled(1).await;
}

/// A server with an upload something happens to, and two bystanders.
struct Scene {
    server: Server,
    during: During,
    id: String,
    content: Bytes,
    other: Bytes,
    bystander: String,
    file: String,
}

impl Scene {
    async fn set(settings: &[(&str, &str)], during: During) -> Self {
        let server = Server::start_with(settings).await;
        let (content, other) = (bytes(SIZE, 1), bytes(SIZE, 2));
        let file = server.api.create(SIZE).await;
        server.api.fill(&file, &other).await;
        server.api.finish(&file, &other).await;
        let bystander = server.api.create(SIZE).await;
        put(&server.api, &bystander, &other, &[2]).await;
        let id = server.api.create(SIZE).await;
        match during {
            During::Chunk | During::Abort | During::Expiry => put(&server.api, &id, &content, &[0, 2]).await,
            During::Replacement => {
                put(&server.api, &id, &content, &[0, 2]).await;
                put(&server.api, &id, &other, &[1]).await;
            }
            During::Finalize | During::Deletion => server.api.fill(&id, &content).await,
        }
        if during == During::Deletion {
            server.api.finish(&id, &content).await;
        }
        Self { server, during, id, content, other, bystander, file }
    }

    /// Starts the server with the fail point armed and does what leads there.
    async fn kill_at(&mut self, point: &str) {
        self.server.kill9();
        let failpoint = format!("{point}=kill");
        if self.during == During::Expiry {
            self.server.sql("UPDATE cifra_uploads SET expires_at = 1 WHERE received_chunks = 2").await;
            self.server.launch(Some(&failpoint));
        } else {
            self.server.begin(Some(&failpoint)).await;
            let (api, id) = (&self.server.api, &self.id);
            let answer = match self.during {
                During::Chunk => api.put(id, 1, chunk(&self.content, 1)).await,
                During::Replacement => api.replace(id, 1, chunk(&self.content, 1)).await,
                During::Finalize => api.finalize(id).await,
                During::Abort => api.abort(id).await,
                During::Deletion => api.delete_file(id).await,
                During::Expiry => unreachable!(),
            };
            // A deletion is answered when it is committed; its bytes go afterwards. Nothing else may be answered.
            match answer {
                Err(_) => {}
                Ok(answer) => assert_eq!((self.during, answer.status), (During::Deletion, 204), "{point}"),
            }
        }
        self.server.died().await;
    }

    async fn check(mut self, point: &str) {
        self.server.begin(None).await;
        let (api, id) = (self.server.api.clone(), self.id.as_str());
        let mut visible = 2;
        match self.during {
            During::Chunk => {
                let missing: &[usize] = if point == "chunk.after_journal" { &[3] } else { &[1, 3] };
                assert_eq!(api.missing(id).await, missing, "{point}");
                self.becomes_the_file().await;
                visible += 1;
            }
            During::Replacement => {
                let missing: &[usize] = if point == "chunk.before_withdraw" { &[3] } else { &[1, 3] };
                assert_eq!(api.missing(id).await, missing, "{point}");
                let replaced = api.replace(id, 1, chunk(&self.content, 1)).await.unwrap();
                assert_eq!(replaced.status, 200, "{point}: {replaced:?}");
                self.becomes_the_file().await;
                visible += 1;
            }
            During::Finalize => {
                let seen = api.content(id).await;
                assert!(seen.is_none_or(|seen| seen == self.content), "{point}: a half file is visible");
                api.finish(id, &self.content).await;
                visible += 1;
            }
            During::Abort => self.is_gone("aborted", point).await,
            During::Expiry => self.is_gone("expired", point).await,
            During::Deletion if point == "delete.before_commit" => {
                assert!(api.content(id).await.unwrap() == self.content, "{point}");
                assert_eq!(api.delete_file(id).await.unwrap().status, 204);
            }
            During::Deletion => {
                assert_eq!(api.content(id).await, None, "{point}");
                assert_eq!(api.delete_file(id).await.unwrap().status, 404, "{point}");
                assert_eq!(api.upload(id).await.unwrap().status, 404, "{point}");
            }
        }
        self.bystanders_are_well().await;
        self.server.settled(visible).await;
        if visible == 3 {
            assert_eq!(api.delete_file(id).await.unwrap().status, 204);
        }
        for file in [&self.file, &self.bystander] {
            assert_eq!(api.delete_file(file).await.unwrap().status, 204);
        }
        self.server.settled(0).await;
    }

    /// The rest can be sent, what was sent is not taken in another form, and the file is right.
    async fn becomes_the_file(&self) {
        let (api, id) = (&self.server.api, self.id.as_str());
        api.fill(id, &self.content).await;
        for index in 0..4 {
            let repeated = api.put(id, index, chunk(&self.content, index)).await.unwrap();
            assert_eq!(repeated.status, 200, "{repeated:?}");
            let conflict = api.put(id, index, chunk(&self.other, index)).await.unwrap();
            assert_eq!(conflict.problem(), (409, "chunk-conflict"));
        }
        api.finish(id, &self.content).await;
    }

    async fn is_gone(&self, state: &str, point: &str) {
        let (api, id) = (&self.server.api, self.id.as_str());
        let gone = api.upload(id).await.unwrap();
        assert_eq!(gone.problem(), (410, "upload-gone"), "{point}");
        assert_eq!(gone.json["state"], state, "{point}");
        let refused = api.put(id, 1, chunk(&self.content, 1)).await.unwrap();
        assert_eq!(refused.problem(), (410, "upload-gone"), "{point}");
        assert_eq!(api.finalize(id).await.unwrap().status, 410, "{point}");
        assert_eq!(api.abort(id).await.unwrap().status, 204, "{point}");
    }

    async fn bystanders_are_well(&self) {
        let (api, other) = (&self.server.api, &self.other);
        assert!(api.content(&self.file).await.unwrap() == other);
        assert_eq!(api.missing(&self.bystander).await, [0, 1, 3]);
        api.fill(&self.bystander, other).await;
        api.finish(&self.bystander, other).await;
    }
}

async fn put(api: &Api, id: &str, content: &[u8], indexes: &[usize]) {
    for &index in indexes {
        assert_eq!(api.put(id, index, chunk(content, index)).await.unwrap().status, 200);
    }
}
