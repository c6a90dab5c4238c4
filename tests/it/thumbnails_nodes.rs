//! Thumbnails in processes of their own: ten thousand who ask at once, other sizes after a restart, a process that dies of
//! a picture's making, and several nodes on one database.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use crate::harness::api::Api;
use crate::harness::cluster::Cluster;
use crate::harness::gate::{Gate, gated};
use crate::harness::pictures::jpeg;
use crate::harness::process::{Server, until};

const LAZY: (&str, &str) = ("thumbnails.eager", "false");

/// From the job's beginning to its end; `crash_points` holds this table complete.
pub(crate) const POINTS: [&str; 5] = [
    "jobs.after_claim",
    "thumbnails.after_announce",
    "thumbnails.after_store",
    "thumbnails.after_commit",
    "jobs.after_work",
];

impl Api {
    async fn thumbnail(&self, id: &str, size: &str) -> (u16, Vec<u8>) {
        let (answer, bytes) = self.bytes(&format!("/api/files/{id}/thumbnails/{size}")).await.unwrap();
        (answer.status, bytes.to_vec())
    }

    /// What `/metrics` says of `name`, all labels together.
    async fn metric(&self, name: &str) -> u64 {
        let text = self.text("/metrics").await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    async fn record(&self, id: &str) -> serde_json::Value {
        self.get(&format!("/api/files/{id}")).await.unwrap().json
    }

    async fn ready(&self, id: &str) {
        until("the thumbnails are ready", async || {
            (self.record(id).await["thumbnails"]["small"]["status"] == "ready").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_who_ask_for_what_is_not_there_cost_one_decode() {
    let server = Server::start_with(&[LAZY]).await;
    let id = server.api.file(&jpeg(2000, 1500, 0)).await;
    let mut answers =
        stream::iter(0..10_000).map(|_| server.api.thumbnail(&id, "small")).buffer_unordered(500);
    let mut first = None;
    while let Some((status, bytes)) = answers.next().await {
        assert_eq!(status, 200);
        assert!(*first.get_or_insert(bytes.clone()) == bytes);
    }
    assert_eq!(server.api.metric("cifra_thumbnail_decodes_total").await, 1);
    assert_eq!(server.api.metric("cifra_thumbnail_answers_total").await, 10_000);
    for size in ["medium", "large"] {
        assert_eq!(server.api.thumbnail(&id, size).await.0, 200);
    }
    assert_eq!(server.api.metric("cifra_thumbnail_decodes_total").await, 1, "all sizes were made at once");
    assert_eq!(server.api.metric("cifra_thumbnail_admitted_bytes").await, 0);
    for stage in ["queue", "fetch", "decode", "resize", "encode", "store"] {
        let count = format!("cifra_thumbnail_stage_duration_seconds_count{{stage=\"{stage}\"}}");
        assert!(server.api.metric(&count).await >= 1, "{stage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_that_was_changed_is_made_again_when_somebody_asks_and_the_others_stay() {
    let mut server = Server::start().await;
    let id = server.api.file(&jpeg(1000, 1000, 0)).await;
    server.api.ready(&id).await;
    let before = server.api.record(&id).await;
    let medium = server.api.thumbnail(&id, "medium").await.1;
    server.stop().await;
    server.set("thumbnails.sizes.small", "[100, 100]");
    server.begin(None).await;
    let changed = server.api.record(&id).await;
    assert_eq!(changed["thumbnails"]["small"]["status"], "pending");
    assert_ne!(changed["thumbnails"]["small"]["url"], before["thumbnails"]["small"]["url"]);
    assert_eq!(changed["thumbnails"]["medium"], before["thumbnails"]["medium"]);
    let (status, small) = server.api.thumbnail(&id, "small").await;
    let drawn = cifra::imaging::probe(&small).unwrap();
    assert_eq!((status, drawn.width), (200, 100));
    let after = server.api.record(&id).await;
    assert_eq!(after["thumbnails"]["small"]["width"], 100);
    assert_eq!(after["thumbnails"]["medium"], before["thumbnails"]["medium"]);
    assert!(server.api.thumbnail(&id, "medium").await.1 == medium);
    // The old one's bytes go with the next round of the sweeper: the file, three thumbnails.
    server.settled(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_longer_than_they_may_is_told_to_come_again() {
    let (server, gates) = gated(&[LAZY, ("thumbnails.wait", "100ms")], &["thumbnails.after_store"]).await;
    let id = server.api.file(&jpeg(300, 300, 0)).await;
    gates[0].close();
    let waited = server.api.get(&format!("/api/files/{id}/thumbnails/small")).await.unwrap();
    assert_eq!(waited.problem(), (503, "overloaded"));
    assert!(waited.retry_after.is_some());
    gates[0].reached().await;
    gates[0].open();
    server.api.ready(&id).await;
    assert_eq!(server.api.thumbnail(&id, "small").await.0, 200);
    assert_eq!(server.api.metric("cifra_thumbnail_decodes_total").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_got_a_thumbnail_reads_a_record_that_has_it() {
    let (server, gates) = gated(&[LAZY], &["thumbnails.after_commit"]).await;
    let id = server.api.file(&jpeg(300, 300, 0)).await;
    assert_eq!(server.api.record(&id).await["thumbnails"]["small"]["status"], "pending");
    // It is in the database, but who made it has told nobody.
    gates[0].close();
    assert_eq!(server.api.thumbnail(&id, "small").await.0, 200);
    assert_eq!(server.api.record(&id).await["thumbnails"]["small"]["status"], "ready");
    gates[0].reached().await;
    gates[0].open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_process_dies_the_next_one_makes_the_thumbnails_and_nothing_is_left_over() {
    for point in POINTS {
        let mut server = Server::new();
        server.begin(Some(&format!("{point}=kill"))).await;
        let id = server.api.create(jpeg(300, 300, 0).len()).await;
        // It may die before it has answered.
        let content = jpeg(300, 300, 0);
        server.api.fill(&id, &content).await;
        drop(server.api.finalize(&id).await);
        server.died().await;
        server.begin(None).await;
        server.api.ready(&id).await;
        // What was announced and came to nothing goes when its time is over.
        server.stop().await;
        server.sql("UPDATE cifra_blob_deletions SET purge_after = 1").await;
        server.begin(None).await;
        server.settled(4).await;
        assert_eq!(server.api.thumbnail(&id, "large").await.0, 200, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_three_processes_died_of_is_given_up() {
    let mut server = Server::new();
    server.begin(Some("files.after_commit=kill")).await;
    server.api.create_file("deadly.jpg", &jpeg(300, 300, 0)).await.unwrap_err();
    server.died().await;
    for _ in 0..3 {
        server.launch(Some("jobs.after_claim=kill"));
        server.died().await;
    }
    server.begin(None).await;
    let id = server.ids("SELECT id FROM cifra_files").await.remove(0);
    let small = until("it is given up", async || {
        let small = server.api.record(&id).await["thumbnails"]["small"].clone();
        (small["status"] != "pending").then_some(small)
    })
    .await;
    assert_eq!((&small["status"], &small["reason"]), (&"failed".into(), &"crashed".into()), "{small}");
    server.settled(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_deleted_while_its_thumbnails_are_stored_leaves_nothing() {
    let (server, gates) = gated(&[], &["thumbnails.after_store"]).await;
    gates[0].close();
    let created = server.api.create_file("a.jpg", &jpeg(300, 300, 0)).await.unwrap();
    let id = created.json["id"].as_str().unwrap().to_owned();
    gates[0].reached().await;
    assert_eq!(server.api.delete_file(&id).await.unwrap().status, 204);
    gates[0].open();
    server.settled(0).await;
    until("its job is gone", async || {
        (server.count("SELECT COUNT(*) FROM cifra_jobs").await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_makes_another_one_waits_for_and_what_it_deletes_is_gone_there_within_a_second() {
    let mut cluster = Cluster::start_with(2, &[LAZY]).await;
    cluster.nodes[0].stop().await;
    let gate = Gate::of(&cluster.nodes[0], "thumbnails.after_store");
    let armed = format!(
        "thumbnails.after_store=pause:{}",
        cluster.nodes[0].beside("thumbnails.after_store").display()
    );
    cluster.nodes[0].begin(Some(&armed)).await;
    let [a, b] = [cluster.api(0).clone(), cluster.api(1).clone()];
    // The other one is stopped until the first has the job: then it has to wait for it.
    cluster.nodes[1].pause();
    let id = a.file(&jpeg(800, 600, 0)).await;
    gate.close();
    let (here, there) = (a.thumbnail(&id, "small"), async {
        gate.reached().await;
        cluster.nodes[1].unpause();
        let waiting = b.thumbnail(&id, "small");
        let opening = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            gate.open();
        };
        tokio::join!(waiting, opening).0
    });
    let (here, there) = tokio::join!(here, there);
    assert!(here.0 == 200 && here == there, "{} {}", here.0, there.0);
    let decodes =
        [a.metric("cifra_thumbnail_decodes_total").await, b.metric("cifra_thumbnail_decodes_total").await];
    assert_eq!(decodes, [1, 0]);

    assert_eq!(b.thumbnail(&id, "small").await.0, 200);
    assert!(b.text("/metrics").await.unwrap().contains(r#"cifra_thumbnail_answers_total{from="memory"} 1"#));
    assert_eq!(a.delete_file(&id).await.unwrap().status, 204);
    let deleted = Instant::now();
    assert_eq!(a.thumbnail(&id, "small").await.0, 404, "here at once");
    while b.thumbnail(&id, "small").await.0 == 200 {
        assert!(deleted.elapsed() < Duration::from_millis(1500), "there within a second");
    }
    assert_eq!(b.thumbnail(&id, "small").await.0, 404);
    cluster.ends_empty(&[]).await;
}
