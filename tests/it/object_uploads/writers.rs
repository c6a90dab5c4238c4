//! Two nodes that write to one upload at the same time, and writes that come too late.

use std::sync::Arc;

use cifra::config::ChecksumPolicy;
use cifra::upload::OnRepeat;

use super::nodes::{CHUNK, Pair, refusal, who};
use super::wayward::Fault;
use crate::harness::databases::TestDb;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_that_write_a_chunk_one_gets_the_receipt() {
    let hour = std::time::Duration::from_hours(1);
    for test in [TestDb::sqlite().await, TestDb::postgres().await] {
        let pair = Arc::new(Pair::with(test, ChecksumPolicy::Auto, hour).await);
        let sent = Arc::new(pair.a.begin(2).await);
        pair.store.next(Fault::HeldWrite);
        let slow = {
            let (pair, sent) = (Arc::clone(&pair), Arc::clone(&sent));
            let other = vec![7; CHUNK];
            pair.test.tasks.clone().spawn("slow writer", async move {
                pair.a.put_bytes(&sent, 0, other, OnRepeat::Compare).await
            })
        };
        pair.store.holds().await;
        pair.b.put(&sent, 0).await.unwrap();
        pair.store.let_go();
        assert_eq!(refusal(slow.await.unwrap()).0, "chunk-busy");
        // Who comes again learns which bytes count.
        assert_eq!(
            refusal(pair.a.put_bytes(&sent, 0, vec![7; CHUNK], OnRepeat::Compare).await).0,
            "chunk-conflict"
        );
        pair.a.put_all(&sent, [0, 1]).await;
        let counted = pair.count("SELECT received_chunks FROM cifra_uploads").await;
        assert_eq!(counted, 2);
        let file = pair.b.finalize(&sent, None).await.unwrap();
        assert_eq!(pair.a.read(&file).await, sent.bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_is_written_after_the_end_does_not_count() {
    let pair = Arc::new(Pair::start().await);
    let sent = Arc::new(pair.a.begin(2).await);
    pair.store.next(Fault::HeldWrite);
    let late = {
        let (pair, sent) = (Arc::clone(&pair), Arc::clone(&sent));
        pair.test.tasks.clone().spawn("late writer", async move { pair.a.put(&sent, 0).await })
    };
    pair.store.holds().await;
    pair.b.uploads.abort(&who(), sent.id).await.unwrap();
    pair.store.let_go();
    assert_eq!(refusal(late.await.unwrap()).0, "upload-gone");
    assert_eq!(pair.store.keys().await, [""; 0]);
    assert_eq!(pair.used().await, cifra::db::usage::Usage::default());
}
