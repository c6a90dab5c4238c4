//! Requests that meet at the worst moment: repeats, replacements, ends. The server is held at its fail points,
//! or by bodies that stop in the middle, so that every meeting happens as told.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::harness::api::{Answer, Api, CHUNK, Result, chunk};
use crate::harness::gate::{Gate, gated};
use crate::harness::process::{Server, until};
use crate::suites::bytes;

/// A body that comes piece by piece; it ends when the sender is dropped, or breaks with [`Pieces::cut`].
struct Pieces(mpsc::Sender<std::io::Result<Bytes>>);

impl Pieces {
    async fn send(&self, bytes: &[u8]) {
        self.0.send(Ok(Bytes::copy_from_slice(bytes))).await.unwrap();
    }

    async fn cut(self) {
        self.0.send(Err(std::io::Error::other("cut by the test"))).await.unwrap();
    }
}

type Sending = JoinHandle<Result>;

/// Begins to send a chunk.
fn begin_put(api: &Api, id: &str, index: usize, query: &'static str) -> (Pieces, Sending) {
    let (sender, receiver) = mpsc::channel(1);
    let body = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    let (api, id) = (api.clone(), id.to_owned());
    let sending = spawn(async move { api.put_stream(&id, index, query, body).await });
    (Pieces(sender), sending)
}

#[expect(clippy::disallowed_methods, reason = "a client of the test, not a task of the service")]
fn spawn(call: impl Future<Output = Result> + Send + 'static) -> Sending {
    tokio::spawn(call)
}

async fn answered(sending: Sending) -> Answer {
    sending.await.unwrap().unwrap()
}

/// Begins to send a chunk, and waits until it has its claim and stands before the first byte of its body.
async fn begin_claimed(api: &Api, id: &str, index: usize, before_data: &Gate) -> (Pieces, Sending) {
    before_data.close();
    let begun = begin_put(api, id, index, "");
    before_data.reached().await;
    before_data.open();
    begun
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_at_any_step_of_the_first_sender_changes_nothing() {
    let points = [
        "chunk.before_write",
        "blob.write.before_data",
        "blob.write.after_data",
        "chunk.after_write",
        "chunk.after_journal",
    ];
    let (server, gates) = gated(&[], &points).await;
    let api = &server.api;
    for (seed, (gate, point)) in (0..).zip(gates.iter().zip(points)) {
        let (content, other) = (bytes(CHUNK + 10, seed), bytes(CHUNK + 10, seed + 100));
        let id = api.create(content.len()).await;
        gate.close();
        let first = {
            let (api, id, content) = (api.clone(), id.clone(), content.clone());
            spawn(async move { api.put(&id, 0, chunk(&content, 0)).await })
        };
        gate.reached().await;
        for repeat in [
            api.put(&id, 0, chunk(&content, 0)).await.unwrap(),
            api.put(&id, 0, chunk(&other, 0)).await.unwrap(),
            api.replace(&id, 0, chunk(&other, 0)).await.unwrap(),
        ] {
            assert_eq!(repeat.problem(), (409, "chunk-busy"), "{point}");
            assert!(repeat.retry_after.is_some());
        }
        gate.open();
        let receipt = answered(first).await;
        assert_eq!(receipt.status, 200, "{point}: {receipt:?}");
        let again = api.put(&id, 0, chunk(&content, 0)).await.unwrap();
        assert_eq!((again.status, &again.json), (200, &receipt.json), "{point}");
        assert_eq!(api.put(&id, 0, chunk(&other, 0)).await.unwrap().problem(), (409, "chunk-conflict"));
        api.fill(&id, &content).await;
        api.finish(&id, &content).await;
    }
    server.settled(points.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_senders_of_a_chunk_one_wins() {
    let (server, gates) = gated(&[], &["blob.write.before_data"]).await;
    let (api, content, other) = (&server.api, bytes(2 * CHUNK, 1), bytes(2 * CHUNK, 2));
    let id = api.create(content.len()).await;

    // The first one stands still after half of its bytes, which are not the right ones, and is cut.
    let (pieces, slow) = begin_claimed(api, &id, 0, &gates[0]).await;
    pieces.send(&other[..CHUNK / 2]).await;
    let second = api.put(&id, 0, chunk(&content, 0)).await.unwrap();
    assert_eq!(second.problem(), (409, "chunk-busy"));
    assert_eq!(api.put(&id, 1, chunk(&content, 1)).await.unwrap().status, 200, "others are not kept waiting");
    pieces.cut().await;
    slow.await.unwrap().unwrap_err();
    let stored = until("the chunk is free again", async || {
        let answer = api.put(&id, 0, chunk(&content, 0)).await.unwrap();
        (answer.status != 409).then_some(answer)
    });
    assert_eq!(stored.await.status, 200);

    // A slow repeat with other bytes does no harm either.
    let (pieces, slow) = begin_put(api, &id, 0, "");
    pieces.send(&other[..CHUNK / 2]).await;
    pieces.send(&other[CHUNK / 2..CHUNK]).await;
    drop(pieces);
    assert_eq!(answered(slow).await.problem(), (409, "chunk-conflict"));
    api.finish(&id, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_comes_twice_at_once_counts_once() {
    let server = Server::start().await;
    let (api, content) = (&server.api, bytes(40 * CHUNK, 5));
    let id = api.create(content.len()).await;
    let mut sending = Vec::new();
    for sender in 0..4 {
        let (api, id, content) = (api.clone(), id.clone(), content.clone());
        sending.push(spawn(async move {
            for step in 0..40 {
                let index = (step * 7 + sender) % 40;
                let answer = api.put(&id, index, chunk(&content, index)).await?;
                assert!(answer.status == 200 || answer.problem() == (409, "chunk-busy"), "{answer:?}");
            }
            api.upload(&id).await
        }));
    }
    for sender in sending {
        answered(sender).await;
    }
    let upload = api.upload(&id).await.unwrap().json;
    let count = 40 - crate::harness::api::ranges(&upload["missing"]).len();
    assert_eq!(upload["received_chunks"], count);
    assert_eq!(upload["received_bytes"], count * CHUNK);
    api.fill(&id, &content).await;
    api.finish(&id, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_meets_finalize_writes_nothing() {
    let (server, gates) = gated(&[], &["chunk.before_withdraw", "finish.after_claim"]).await;
    let (api, content) = (&server.api, bytes(2 * CHUNK, 1));
    let id = api.create(content.len()).await;
    api.fill(&id, &content).await;
    gates[0].close();
    gates[1].close();
    let (pieces, replacing) = begin_put(api, &id, 0, "?replace=true");
    pieces.send(&bytes(CHUNK / 2, 2)).await;
    gates[0].reached().await;
    let finalizing = {
        let (api, id) = (api.clone(), id.clone());
        spawn(async move { api.finalize(&id).await })
    };
    gates[1].reached().await;
    gates[0].open();
    assert_eq!(answered(replacing).await.problem(), (409, "upload-finalized"));
    drop(pieces);
    gates[1].open();
    assert_eq!(answered(finalizing).await.status, 201);
    api.finish(&id, &content).await;
    server.settled(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finalize_during_a_replacement_finds_the_chunk_missing() {
    let server = Server::start().await;
    let (api, content, new) = (&server.api, bytes(2 * CHUNK, 1), bytes(CHUNK, 2));
    let id = api.create(content.len()).await;
    api.fill(&id, &content).await;
    let (pieces, replacing) = begin_put(api, &id, 0, "?replace=true");
    pieces.send(&new[..CHUNK / 2]).await;
    until("the chunk is withdrawn", async || (api.missing(&id).await == [0]).then_some(())).await;
    let refused = api.finalize(&id).await.unwrap();
    assert_eq!(refused.problem(), (409, "upload-incomplete"));
    assert_eq!(refused.json["missing"], serde_json::json!([[0, 0]]));
    pieces.send(&new[CHUNK / 2..]).await;
    drop(pieces);
    assert_eq!(answered(replacing).await.status, 200);
    api.finish(&id, &[&new, chunk(&content, 1)].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_deleted_at_any_step_of_a_chunk_leaves_nothing() {
    let points = [
        "chunk.before_write",
        "blob.write.before_data",
        "blob.write.after_data",
        "chunk.after_write",
        "chunk.after_journal",
    ];
    let (server, gates) = gated(&[], &points).await;
    let (api, content) = (&server.api, bytes(2 * CHUNK, 1));
    for (gate, point) in gates.iter().zip(points) {
        let id = api.create(content.len()).await;
        gate.close();
        let (pieces, sending) = begin_put(api, &id, 0, "");
        pieces.send(chunk(&content, 0)).await;
        drop(pieces);
        gate.reached().await;
        let deleting = {
            let (api, id) = (api.clone(), id.clone());
            spawn(async move { api.abort(&id).await })
        };
        let gone = async || (api.upload(&id).await.unwrap().status == 410).then_some(());
        until("the upload has ended", gone).await;
        gate.open();
        assert_eq!(answered(deleting).await.status, 204, "{point}");
        let answer = answered(sending).await;
        match point {
            "chunk.after_journal" => assert_eq!(answer.status, 200, "{answer:?}"),
            _ => assert_eq!(answer.problem(), (410, "upload-gone"), "{point}: {answer:?}"),
        }
        server.settled(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_deleted_under_a_slow_body_ends_it() {
    let (server, gates) = gated(&[], &["blob.write.before_data"]).await;
    let (api, content) = (&server.api, bytes(4 * CHUNK, 1));
    let id = api.create(content.len()).await;
    let mut slow = Vec::new();
    for index in 0..4 {
        let (pieces, sending) = begin_claimed(api, &id, index, &gates[0]).await;
        pieces.send(&chunk(&content, index)[..CHUNK / 2]).await;
        slow.push((pieces, sending));
    }
    assert_eq!(api.abort(&id).await.unwrap().status, 204);
    for (pieces, sending) in slow {
        assert_eq!(answered(sending).await.problem(), (410, "upload-gone"));
        drop(pieces);
    }
    server.settled(0).await;
    assert_eq!(api.abort(&id).await.unwrap().status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn finalize_twice_at_once_makes_one_file() {
    let points = ["finish.after_claim", "finish.after_digests", "finish.after_store", "finish.after_commit"];
    let (server, gates) = gated(&[], &points).await;
    let (api, content) = (&server.api, bytes(2 * CHUNK + 1, 1));
    for gate in &gates {
        let id = api.create(content.len()).await;
        api.fill(&id, &content).await;
        gate.close();
        let call = || {
            let (api, id) = (api.clone(), id.clone());
            spawn(async move { api.finalize(&id).await })
        };
        let first = call();
        gate.reached().await;
        let second = call();
        gate.open();
        let (first, second) = (answered(first).await, answered(second).await);
        assert_eq!((first.status, second.status), (201, 200));
        assert_eq!(first.json, second.json);
        api.finish(&id, &content).await;
    }
    server.settled(gates.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finalize_goes_on_when_its_client_leaves() {
    let (server, gates) = gated(&[], &["finish.after_claim"]).await;
    let (api, content) = (&server.api, bytes(2 * CHUNK + 1, 1));
    let id = api.create(content.len()).await;
    api.fill(&id, &content).await;
    gates[0].close();
    let call = {
        let (api, id) = (api.clone(), id.clone());
        spawn(async move { api.finalize(&id).await })
    };
    gates[0].reached().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    gates[0].open();
    until("the upload is a file", async || {
        (api.upload(&id).await.unwrap().json["state"] == "completed").then_some(())
    })
    .await;
    api.finish(&id, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_finish_and_ends_those_that_do_not() {
    let (mut server, gates) = gated(&[], &["blob.write.before_data"]).await;
    let (api, content) = (server.api.clone(), bytes(16 * CHUNK, 1));
    let id = api.create(content.len()).await;
    let mut open = Vec::new();
    for index in 0..12 {
        let (pieces, sending) = begin_claimed(&api, &id, index, &gates[0]).await;
        pieces.send(&chunk(&content, index)[..CHUNK / 2]).await;
        open.push((pieces, sending));
    }
    server.terminate();
    until("the server takes no connections", async || api.get("/healthz").await.err()).await;
    let mut stuck = Vec::new();
    for (index, (pieces, sending)) in open.into_iter().enumerate() {
        if index < 8 {
            pieces.send(&chunk(&content, index)[CHUNK / 2..]).await;
            drop(pieces);
            assert_eq!(answered(sending).await.status, 200);
        } else {
            stuck.push((pieces, sending));
        }
    }
    let begun = std::time::Instant::now();
    let status = server.ended().await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(status.code(), Some(1), "some requests had not ended");
    for (pieces, sending) in stuck {
        drop(pieces);
        sending.await.unwrap().unwrap_err();
    }
    server.begin(None).await;
    assert_eq!(server.api.missing(&id).await, (8..16).collect::<Vec<_>>());
    server.api.fill(&id, &content).await;
    server.api.finish(&id, &content).await;
    let (status, _) = server.stop().await;
    assert!(status.success(), "{status}");
}
