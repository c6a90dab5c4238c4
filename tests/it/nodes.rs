//! Several nodes that meet in Redis: one upload over all of them, and what happens when Redis leaves in the middle.

mod node;

use std::time::{Duration, Instant};

use cifra::base::{ChunkIndex, Code, Error, UploadId};
use cifra::db::uploads::{EndState, FinishClaim, Released};
use cifra::redis::PATIENCE;
use cifra::upload::{ChunkReceipt, UploadEvent};
use futures_util::future::join_all;

use self::node::{CHUNK, Cluster, Node, content, who};
use crate::harness::process::until;
use crate::harness::redis::{self, RedisCluster, RedisServer};

/// What a test does to a server.
type Act = fn(&RedisServer);

/// What other nodes do is known within this time, where nobody looks for it before.
const AT_ONCE: Duration = Duration::from_secs(5);

fn code(answer: Result<ChunkReceipt, Error>) -> Code {
    answer.unwrap_err().code()
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(AT_ONCE, what).await.unwrap()
}

/// Waits until an event shows `holds`.
async fn told(events: &mut cifra::upload::UploadEvents, holds: impl Fn(&UploadEvent) -> bool) {
    in_time(async { while !holds(&events.next().await.unwrap()) {} }).await;
}

fn received(event: &UploadEvent) -> u32 {
    let UploadEvent::Progress(progress) = event else { panic!("{event:?}") };
    progress.upload.received_chunks
}

/// Nothing stays in Redis for ever.
fn all_keys_end(server: &RedisServer, prefix: &str) -> usize {
    let keys = server.keys(prefix);
    let for_ever: Vec<_> = keys.iter().filter(|(_, left)| *left < 0).collect();
    assert!(for_ever.is_empty(), "{for_ever:?}");
    keys.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_of_one_upload_come_over_all_nodes() {
    let cluster = Cluster::of(3, Some(&redis::server().url())).await;
    let [a, b, c] = &cluster.nodes[..] else { unreachable!() };
    let id = a.create(30).await;
    let sent = join_all((0..30).map(|index| cluster.nodes[index % 3].send(id, index)));
    for receipt in sent.await {
        receipt.unwrap();
    }
    // Again, over another node, at once: the claim of the first one is not in its way.
    for index in 0..6 {
        a.send(id, index).await.unwrap();
        b.send(id, index).await.unwrap();
    }
    assert!(all_keys_end(redis::server(), &cluster.prefix) > 0);
    c.finalize_and_compare(id, 30).await;
    assert!(!b.sessions.is_written(id).await);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_send_one_chunk_over_two_nodes_one_wins() {
    let cluster = Cluster::of(2, Some(&redis::server().url())).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let id = a.create(2).await;
    let (body, sending) = a.begin_to_send(id, 0);
    until("the claim is taken", async || b.sessions.is_written(id).await.then_some(())).await;
    assert_eq!(code(b.send(id, 0).await), Code::ChunkBusy);
    b.send(id, 1).await.unwrap();
    body.send(content(0)).unwrap();
    drop(body);
    in_time(sending).await.unwrap().unwrap();
    b.send(id, 0).await.unwrap();
    // A sender who has left is nobody's reason to wait.
    let id = a.create(1).await;
    let (body, sending) = a.begin_to_send(id, 0);
    until("the claim is taken", async || b.sessions.is_written(id).await.then_some(())).await;
    drop(body);
    assert_eq!(code(in_time(sending).await.unwrap()), Code::ChunkSizeMismatch);
    b.send(id, 0).await.unwrap();
    b.finalize_and_compare(id, 1).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_on_one_node_is_seen_on_another() {
    let cluster = Cluster::of(2, Some(&redis::server().url())).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let id = a.create(3).await;
    let mut events = b.uploads.events(&who(), id).await.unwrap();
    for index in 0..3 {
        a.send(id, index).await.unwrap();
        told(&mut events, |event| received(event) as usize == index + 1).await;
    }
    // B waits for the end that A works on, and is told how far that is.
    let claim = a.sessions.claim_finish(who().tenant(), id, None, now()).await.unwrap();
    let FinishClaim::Claimed { fence, .. } = claim else { panic!("{claim:?}") };
    let watcher = b.sessions.signals().watch(id).unwrap();
    let finalizing = b.finalize_and_compare(id, 3);
    let working = async {
        a.sessions.signals().moved(id, CHUNK as u64);
        until("the progress is told", async || {
            let progress = b.uploads.status(&who(), id).await.unwrap().progress.unwrap();
            (progress.done_bytes >= CHUNK as u64).then_some(())
        })
        .await;
        assert!(
            a.sessions.release_finish(id, fence, Released::Receiving, "by the test", now()).await.unwrap()
        );
    };
    in_time(Box::pin(async { tokio::join!(finalizing, working) })).await;
    drop(watcher);
    told(&mut events, |event| matches!(event, UploadEvent::Completed(_))).await;
    assert!(all_keys_end(redis::server(), &cluster.prefix) > 0);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_on_one_node_cuts_the_writers_on_another() {
    let cluster = Cluster::of(2, Some(&redis::server().url())).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let id = a.create(2).await;
    let (body, sending) = b.begin_to_send(id, 0);
    body.send(content(0)[..100].to_vec()).unwrap();
    until("the claim is taken", async || a.sessions.is_written(id).await.then_some(())).await;
    in_time(a.uploads.abort(&who(), id)).await.unwrap();
    // The abort has waited for it.
    assert!(!a.sessions.is_written(id).await && !b.sessions.is_written(id).await);
    assert_eq!(code(in_time(sending).await.unwrap()), Code::UploadGone);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_was_lost_is_noticed_and_its_receipt_does_not_count() {
    let server = RedisServer::start();
    let cluster = Cluster::of(2, Some(&server.url())).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let id = a.create(1).await;
    let (body, sending) = a.begin_to_send(id, 0);
    body.send(content(0)[..100].to_vec()).unwrap();
    until("the claim is taken", async || b.sessions.is_written(id).await.then_some(())).await;
    // As if A had been stopped for longer than its claim lasts.
    server.flush();
    let claim = b.sessions.claim(id, ChunkIndex::new(0)).await.unwrap();
    assert!(claim.stands().await);
    let answer = tokio::time::timeout(Duration::from_secs(20), sending).await.unwrap();
    assert_eq!(code(answer.unwrap()), Code::ChunkBusy);
    drop(claim);
    b.send(id, 0).await.unwrap();
    b.finalize_and_compare(id, 1).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_leave_in_the_middle() {
    let server = RedisServer::start();
    let cluster = Cluster::of(2, Some(&server.url())).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let nothing: Act = |_| {};
    let acts: [(Act, Act); 4] = [
        (RedisServer::pause, RedisServer::resume),
        (RedisServer::kill, RedisServer::restart),
        (RedisServer::flush, nothing),
        (
            |server| drop(server.command(&["CONFIG", "SET", "maxmemory", "1"])),
            |server| {
                drop(server.command(&["CONFIG", "SET", "maxmemory", "0"]));
            },
        ),
    ];
    for (leave, come_back) in acts {
        let id = a.create(40).await;
        let mut events = b.uploads.events(&who(), id).await.unwrap();
        send_all(&cluster, id, 0..10).await;
        let (body, sending) = a.begin_to_send(id, 39);
        until("the claim is taken", async || b.sessions.is_written(id).await.then_some(())).await;
        leave(&server);
        let longest = send_all(&cluster, id, 10..30).await;
        assert!(longest < PATIENCE * 2 + Duration::from_millis(500), "{longest:?}");
        told(&mut events, |event| received(event) == 30).await;
        come_back(&server);
        let settled = cluster.settle().await;
        assert!(settled < Duration::from_secs(2), "{settled:?}");
        send_all(&cluster, id, 30..39).await;
        body.send(content(39)).unwrap();
        drop(body);
        in_time(sending).await.unwrap().unwrap();
        // Claims that could not be given back in between are in nobody's way.
        for index in [9, 10, 29, 39] {
            b.send(id, index).await.unwrap();
        }
        b.finalize_and_compare(id, 40).await;
        told(&mut events, |event| matches!(event, UploadEvent::Completed(_))).await;
        assert!(all_keys_end(&server, &cluster.prefix) > 0);
    }
    cluster.stop().await;
}

/// Sends these chunks over all nodes, one after the other; how long the slowest took.
async fn send_all(cluster: &Cluster, id: UploadId, indexes: std::ops::Range<usize>) -> Duration {
    let mut longest = Duration::ZERO;
    for index in indexes {
        let begun = Instant::now();
        cluster.nodes[index % cluster.nodes.len()].send(id, index).await.unwrap();
        longest = longest.max(begun.elapsed());
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_meet_in_a_cluster_of_redis_too() {
    let redis = RedisCluster::start();
    let cluster = Cluster::of(2, Some(&redis.url())).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    // Enough of them to meet on each of the servers.
    for _ in 0..6 {
        let id = a.create(2).await;
        let mut events = b.uploads.events(&who(), id).await.unwrap();
        let (body, sending) = a.begin_to_send(id, 0);
        until("the claim is taken", async || b.sessions.is_written(id).await.then_some(())).await;
        assert_eq!(code(b.send(id, 0).await), Code::ChunkBusy);
        body.send(content(0)).unwrap();
        drop(body);
        in_time(sending).await.unwrap().unwrap();
        told(&mut events, |event| received(event) == 1).await;
        b.send(id, 1).await.unwrap();
        b.finalize_and_compare(id, 2).await;
    }
    let kept = redis.servers.iter().map(|server| all_keys_end(server, &cluster.prefix));
    assert!(kept.sum::<usize>() >= 6);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_redis_look_for_what_others_did() {
    let cluster = Cluster::of(2, None).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let id = a.create(2).await;
    let mut events = b.uploads.events(&who(), id).await.unwrap();
    a.send(id, 0).await.unwrap();
    told(&mut events, |event| received(event) == 1).await;
    // One chunk over both at once: the journal takes one of them.
    let (body, sending) = a.begin_to_send(id, 1);
    b.send(id, 1).await.unwrap();
    body.send(content(1)).unwrap();
    drop(body);
    match in_time(sending).await.unwrap() {
        Err(error) => assert_eq!(error.code(), Code::ChunkBusy),
        // It was so slow to begin that it found the receipt, and compared its bytes.
        Ok(receipt) => assert_eq!(receipt.received_chunks, 2),
    }
    a.finalize_and_compare(id, 2).await;
    told(&mut events, |event| matches!(event, UploadEvent::Completed(_))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_databases_in_one_redis_never_mix() {
    let one = Cluster::of(1, Some(&redis::server().url())).await;
    let other = Cluster::of(1, Some(&redis::server().url())).await;
    assert_ne!(one.prefix, other.prefix);
    let (here, there) = (&one.nodes[0], &other.nodes[0]);
    let id = here.create(1).await;
    let claim = here.sessions.claim(id, ChunkIndex::new(0)).await.unwrap();
    assert!(!there.sessions.is_written(id).await);
    drop(there.sessions.claim(id, ChunkIndex::new(0)).await.unwrap());
    drop(claim);
    // An end is no end there.
    let ended = there.sessions.end(&who(), id, EndState::Aborted, now()).await.unwrap();
    assert_eq!(ended, cifra::db::uploads::EndOutcome::Missing);
    here.send(id, 0).await.unwrap();
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hot_copy_is_never_the_truth() {
    let server = RedisServer::start();
    let cluster = Cluster::of(1, Some(&server.url())).await;
    let node: &Node = &cluster.nodes[0];
    let id = node.create(4).await;
    let key = format!("{}:copy:{{{id}}}", cluster.prefix);
    let copied = async || (server.command(&["EXISTS", &key]) == "1").then_some(());
    until("the copy is kept", copied).await;
    // Gone, or nonsense: it is made anew.
    for (index, spoil) in
        [&["DEL", &key][..], &["SET", &key, "nonsense", "PX", "60000"]].into_iter().enumerate()
    {
        server.command(spoil);
        node.send(id, index).await.unwrap();
        until("the copy is kept", async || server.command(&["GET", &key]).contains("file.bin").then_some(()))
            .await;
    }
    // The state is the database's.
    node.send(id, 2).await.unwrap();
    in_time(node.uploads.abort(&who(), id)).await.unwrap();
    assert_eq!(code(node.send(id, 3).await), Code::UploadGone);
    assert_eq!(server.command(&["EXISTS", &key]), "1");
    cluster.stop().await;
}

fn now() -> cifra::base::Timestamp {
    cifra::base::Clock::now(&cifra::base::SystemClock::default())
}
