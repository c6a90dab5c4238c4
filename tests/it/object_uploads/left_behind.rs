//! Ends that a node left in the middle, and how the sweepers go on with them.

use std::time::Duration;

use cifra::base::{ChunkIndex, Clock, TenantId};
use cifra::db::Urgency;
use cifra::db::parts::{self, Withdrawn};
use cifra::db::uploads::{self, FinishClaim};
use cifra::upload::UploadState;
use serde_json::json;
use uuid::Uuid;

use super::nodes::{Pair, Sent, Setup, refusal};
use super::wayward::Fault;
use crate::harness::databases::{TestDb, both_engines};
use crate::harness::process::until;

const MINUTE: Duration = Duration::from_mins(1);

/// What a node leaves that dies while it withdraws what the store has otherwise.
async fn leave_with_a_receipt_withdrawn(pair: &Pair, sent: &Sent) {
    let (id, now) = (sent.id, pair.clock.now());
    let left = pair.test.db.write(Urgency::Normal, move |c| {
        Box::pin(async move {
            let (tenant, node, until) = (TenantId::default_tenant(), Uuid::new_v4(), now.plus(MINUTE / 2));
            let claim = uploads::claim_finish(c, &tenant, id, node, None, now, until).await?;
            let FinishClaim::Claimed { fence, .. } = claim else { panic!("{claim:?}") };
            assert!(uploads::set_sealing(c, id, fence).await?);
            parts::withdraw(c, id, ChunkIndex::new(1), Some(fence), now).await
        })
    });
    assert!(matches!(left.await.unwrap(), Withdrawn::Done { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_was_left_with_receipts_withdrawn_asks_for_those_chunks_and_goes_on() {
    for test in both_engines().await {
        let pair = Pair::set_up(test, Setup::default()).await;
        for swept in [false, true] {
            let sent = pair.a.begin(3).await;
            pair.a.put_all(&sent, 0..3).await;
            leave_with_a_receipt_withdrawn(&pair, &sent).await;
            assert_eq!(pair.b.state(&sent).await, UploadState::Finalizing);
            assert_eq!(refusal(pair.b.put(&sent, 1).await).0, "upload-finalized");
            pair.clock.advance(MINUTE); // its claim runs out
            if swept {
                pair.b.sweep().await;
            } else {
                let (code, error) = refusal(pair.b.finalize(&sent, None).await);
                assert_eq!((code, &error.members()["missing"]), ("upload-incomplete", &json!([[1, 1]])));
            }
            assert_eq!(pair.a.state(&sent).await, UploadState::Receiving);
            pair.b.put(&sent, 1).await.unwrap();
            let file = pair.a.finalize(&sent, None).await.unwrap();
            assert_eq!(pair.b.read(&file).await, sent.bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_ends_that_broke_off_a_sweeper_goes_on_with_two_at_once() {
    const COMPLETED: &str = "SELECT COUNT(*) FROM cifra_uploads WHERE state = 'completed'";
    let mut setup = Setup::default();
    setup.rules.finalize_wait = Duration::from_millis(300);
    let pair = Pair::set_up(TestDb::sqlite().await, setup).await;
    for _ in 0..5 {
        let sent = pair.a.begin(2).await;
        pair.a.put_all(&sent, 0..2).await;
        pair.store.next(Fault::LostAnswer);
        assert_eq!(refusal(pair.a.finalize(&sent, None).await).0, "unavailable");
    }
    for _ in 0..5 {
        pair.store.next(Fault::Held);
    }
    // Two are held for longer than anybody waits: the others are left alone, round after round.
    pair.b.sweep().await;
    pair.b.sweep().await;
    until("two are held", async || (pair.store.holding() == 2).then_some(())).await;
    pair.b.sweep().await;
    assert_eq!((pair.store.holding(), pair.count(COMPLETED).await), (2, 0));
    for _ in 0..5 {
        pair.store.let_go();
    }
    until("all are files", async || {
        pair.b.sweep().await;
        (pair.count(COMPLETED).await == 5).then_some(())
    })
    .await;
}
