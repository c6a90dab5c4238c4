//! Ends that fail in the middle: on the way to the store, in it, or on the way back; healed by whoever comes next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cifra::base::digest::Checksum;
use cifra::upload::UploadState;
use serde_json::json;

use super::nodes::{Pair, refusal, who};
use super::wayward::Fault;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

const ANOTHER: Checksum = Checksum::Sha256([7; 32]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_the_store_has_otherwise_are_asked_for_again() {
    let pair = Pair::start().await;
    let sent = pair.a.begin(5).await;
    pair.a.put_all(&sent, 0..5).await;
    pair.store.next(Fault::Refused(vec![1, 4]));
    let (code, error) = refusal(pair.b.finalize(&sent, None).await);
    assert_eq!((code, &error.members()["missing"]), ("upload-incomplete", &json!([[1, 1], [4, 4]])));
    assert_eq!(pair.a.state(&sent).await, UploadState::Receiving);
    pair.a.put_all(&sent, [1, 4]).await;
    let file = pair.a.finalize(&sent, None).await.unwrap();
    assert_eq!(pair.b.read(&file).await, sent.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_the_store_that_is_lost_leads_nobody_back_to_chunks() {
    let pair = Pair::start().await;
    let sent = pair.a.begin(2).await;
    pair.a.put_all(&sent, 0..2).await;
    pair.store.next(Fault::LostAnswer);
    assert_eq!(refusal(pair.a.finalize(&sent, None).await).0, "unavailable");
    assert_eq!(pair.b.state(&sent).await, UploadState::Finalizing);
    assert_eq!(refusal(pair.b.put(&sent, 0).await).0, "upload-finalized");
    // The claim ran out at once: the other node need not wait for it.
    let file = pair.b.finalize(&sent, None).await.unwrap();
    assert_eq!(pair.a.read(&file).await, sent.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_nobody_asks_for_again_is_finished_by_any_sweeper() {
    let pair = Pair::start().await;
    let sent = pair.a.begin(2).await;
    pair.a.put_all(&sent, [1, 0]).await;
    pair.store.next(Fault::LostAnswer);
    assert_eq!(refusal(pair.a.finalize(&sent, None).await).0, "unavailable");
    pair.b.sweep().await;
    assert_eq!(pair.a.state(&sent).await, UploadState::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stopped_in_the_middle_changes_nothing_when_it_wakes_up() {
    let pair = Arc::new(Pair::start().await);
    let sent = Arc::new(pair.a.begin(3).await);
    pair.a.put_all(&sent, 0..3).await;
    pair.store.next(Fault::Held);
    let stopped = {
        let (pair, sent) = (Arc::clone(&pair), Arc::clone(&sent));
        pair.test.tasks.clone().spawn("stopped", async move { pair.a.finalize(&sent, None).await })
    };
    pair.store.holds().await;
    pair.clock.advance(MINUTE); // its claim runs out, and it does not know
    let file = pair.b.finalize(&sent, None).await.unwrap();
    pair.store.let_go();
    assert_eq!(stopped.await.unwrap().unwrap(), file, "it learns what became of it");
    assert_eq!(pair.used().await.stored_bytes, file.size);
    assert_eq!(pair.count("SELECT COUNT(*) FROM cifra_files").await, 1);
    assert_eq!(pair.a.read(&file).await, sent.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_drops_the_parts_ends_the_upload() {
    for fault in [Fault::NothingToWriteTo, Fault::Dropped] {
        let pair = Pair::start().await;
        let sent = pair.a.begin(2).await;
        pair.a.put(&sent, 0).await.unwrap();
        let at_complete = fault == Fault::Dropped;
        if at_complete {
            pair.a.put(&sent, 1).await.unwrap();
        }
        pair.store.next(fault);
        let (code, error) = if at_complete {
            refusal(pair.b.finalize(&sent, None).await)
        } else {
            refusal(pair.b.put(&sent, 1).await)
        };
        assert_eq!((code, &error.members()["state"]), ("upload-gone", &json!("expired")));
        assert!(error.detail().contains("the store has dropped"), "{}", error.detail());
        assert_eq!(refusal(pair.a.uploads.status(&who(), sent.id).await).0, "upload-gone");
        assert_eq!(refusal(pair.a.put(&sent, 1).await).0, "upload-gone");
        assert_eq!(pair.used().await, cifra::db::usage::Usage::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_upload_is_deleted_or_expires_with_its_bytes() {
    for delete in [true, false] {
        let pair = Pair::start().await;
        let sent = pair.a.begin(3).await;
        pair.a.put_all(&sent, [1, 0, 2]).await;
        assert_eq!(refusal(pair.a.finalize(&sent, Some(ANOTHER)).await).0, "checksum-mismatch");
        assert_eq!(pair.store.keys().await.len(), 1);
        if delete {
            pair.b.uploads.abort(&who(), sent.id).await.unwrap();
        } else {
            pair.clock.advance(23 * HOUR);
            pair.b.sweep().await;
            assert_eq!(pair.b.state(&sent).await, UploadState::Sealed);
            pair.clock.advance(2 * HOUR);
            pair.b.sweep().await; // it sees the clock as one that was set, the first time
            pair.clock.advance(MINUTE);
            pair.b.sweep().await;
        }
        assert_eq!(refusal(pair.a.finalize(&sent, None).await).0, "upload-gone");
        assert_eq!(pair.store.keys().await, [""; 0]);
        assert_eq!(pair.used().await, cifra::db::usage::Usage::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_is_abandoned_once_more_before_it_is_forgotten() {
    let pair = Pair::start().await;
    let sent = pair.a.begin(2).await;
    pair.a.put(&sent, 0).await.unwrap();
    pair.a.uploads.abort(&who(), sent.id).await.unwrap();
    assert_eq!(pair.store.abandoned.load(Ordering::Relaxed), 1);
    pair.b.sweep().await;
    assert_eq!(pair.store.abandoned.load(Ordering::Relaxed), 1);
    pair.clock.advance(DAY + MINUTE);
    pair.b.sweep().await;
    assert_eq!(pair.store.abandoned.load(Ordering::Relaxed), 2);
    assert_eq!(pair.count("SELECT COUNT(*) FROM cifra_uploads").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_not_admitted_is_not_left_in_the_store() {
    let pair = Pair::start().await;
    // The builtin configuration allows 1,000 open uploads: the row says that there are as many.
    pair.a.begin(1).await;
    let full = "UPDATE cifra_tenant_usage SET open_uploads = 1000";
    pair.test
        .db
        .write(cifra::db::Urgency::Normal, move |c| {
            Box::pin(async move {
                let cifra::db::Conn::Sqlite(c) = c else { unreachable!() };
                Ok(sqlx::query(full).execute(&mut **c).await?.rows_affected())
            })
        })
        .await
        .unwrap();
    let new = cifra::upload::NewUpload {
        filename: "a".to_owned(),
        total_size: 1,
        content_type: None,
        chunk_size: None,
        checksum: None,
        metadata: cifra::base::metadata::Metadata::default(),
    };
    assert_eq!(refusal(pair.a.uploads.create(&who(), new, |_| None).await).0, "too-many-uploads");
    crate::harness::process::until("it is abandoned", async || {
        (pair.store.abandoned.load(Ordering::Relaxed) == 1).then_some(())
    })
    .await;
}
