//! Files that come in one request: their bytes are announced before the store has them, and published or removed,
//! never both.

use std::time::Duration;

use bytes::Bytes;
use cifra::base::stream;
use cifra::config::ChecksumPolicy;
use futures_util::StreamExt;

use super::nodes::{Pair, new_file, refusal, who};
use crate::harness::databases::TestDb;
use crate::harness::process::until;

const HOUR: Duration = Duration::from_hours(1);
const ANNOUNCED: &str = "SELECT COUNT(*) FROM cifra_blob_deletions";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_one_request_is_announced_until_it_is_published() {
    for test in [TestDb::sqlite().await, TestDb::postgres().await] {
        let pair = Pair::with(test, ChecksumPolicy::Auto, HOUR).await;
        let mut batch = pair.a.uploads.batch(&who()).unwrap();
        batch.add(new_file(stream::once("hello"))).await.unwrap();
        batch.add(new_file(stream::once("world"))).await.unwrap();
        assert_eq!(pair.count(ANNOUNCED).await, 2);
        pair.b.sweep().await;
        let files = batch.publish(|_| None).await.unwrap();
        assert_eq!(pair.count(ANNOUNCED).await, 0);
        assert_eq!(pair.b.read(&files[1]).await, b"world");
        pair.clock.advance(2 * HOUR);
        pair.b.sweep().await;
        assert_eq!(pair.b.read(&files[0]).await, b"hello");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_left_is_removed_by_another() {
    let pair = Pair::start().await;
    let mut batch = pair.a.uploads.batch(&who()).unwrap();
    batch.add(new_file(stream::once("hello"))).await.unwrap();
    std::mem::forget(batch); // nobody takes it back
    pair.clock.advance(Duration::from_mins(59));
    pair.b.sweep().await;
    assert_eq!((pair.store.keys().await.len(), pair.count(ANNOUNCED).await), (1, 1));
    pair.clock.advance(Duration::from_mins(2));
    pair.b.sweep().await;
    assert_eq!((pair.store.keys().await.len(), pair.count(ANNOUNCED).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_given_up_takes_its_bytes_and_announcements_back() {
    let pair = Pair::start().await;
    let mut batch = pair.a.uploads.batch(&who()).unwrap();
    batch.add(new_file(stream::once("hello"))).await.unwrap();
    drop(batch);
    until("it is taken back", async || (pair.count(ANNOUNCED).await == 0).then_some(())).await;
    assert_eq!(pair.store.keys().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_slept_too_long_publishes_nothing() {
    let pair = Pair::start().await;
    let mut batch = pair.a.uploads.batch(&who()).unwrap();
    batch.add(new_file(stream::once("hello"))).await.unwrap();
    pair.clock.advance(2 * HOUR);
    pair.b.sweep().await; // what was announced is over: the bytes go
    let (code, _) = refusal(batch.publish(|_| None).await);
    assert_eq!(code, "overloaded");
    assert_eq!(pair.count("SELECT COUNT(*) FROM cifra_files").await, 0);
    until("nothing is left", async || (pair.count(ANNOUNCED).await == 0).then_some(())).await;
    assert_eq!(pair.store.keys().await, [""; 0]);
    assert_eq!(pair.used().await, cifra::db::usage::Usage::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_body_keeps_its_announcement_alive() {
    const FIRST: &str = "SELECT MAX(purge_after) FROM cifra_blob_deletions";
    let life = Duration::from_millis(600);
    let pair = Pair::with(TestDb::sqlite().await, ChecksumPolicy::Auto, life).await;
    let (sender, frames) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let body = futures_util::stream::unfold(frames, |mut frames| async move {
        frames.recv().await.map(|frame| (Ok(frame), frames))
    });
    let mut batch = pair.a.uploads.batch(&who()).unwrap();
    let adding = batch.add(new_file(body.boxed()));
    let sending = async {
        for frame in ["a", "long ", "body"] {
            sender.send(frame.into()).unwrap();
            // Longer than it was announced for, and each time somebody looks for what is over.
            until("it is announced", async || (pair.count(ANNOUNCED).await == 1).then_some(())).await;
            let before = pair.count(FIRST).await;
            pair.clock.advance(Duration::from_millis(500));
            until("it is renewed", async || (pair.count(FIRST).await > before).then_some(())).await;
            pair.b.sweep().await;
        }
        drop(sender);
    };
    let (added, ()) = tokio::join!(adding, sending);
    added.unwrap();
    let files = batch.publish(|_| None).await.unwrap();
    assert_eq!(pair.b.read(&files[0]).await, b"along body");
}
