//! Uploads whose bytes an object store has put together: sealed, left to the next, or lost with the bytes.

use cifra::base::UploadId;
use cifra::db::uploads::{self, EndOutcome, EndState, FinishClaim, Released, Upload, UploadState};
use cifra::db::usage::{self, Usage};
use cifra::db::{Db, parts};

use super::{a_receipt, at, claim, claimed, get, inserted, read, record, record_all, tenant, write};
use crate::harness::databases::both_engines;

async fn seal(db: &Db, id: UploadId, fence: i64, now: i64, expires: i64) -> bool {
    write(db, move |c| {
        Box::pin(async move {
            let to = Released::Sealed { expires_at: at(expires) };
            uploads::release_finish(c, id, fence, to, Some("wrong digest"), at(now)).await
        })
    })
    .await
}

async fn set_sealing(db: &Db, id: UploadId, fence: i64) -> bool {
    write(db, move |c| Box::pin(uploads::set_sealing(c, id, fence))).await
}

async fn yield_finish(db: &Db, id: UploadId, fence: i64, now: i64) -> bool {
    write(db, move |c| Box::pin(uploads::yield_finish(c, id, fence, Some("the store is away"), at(now))))
        .await
}

async fn lose(db: &Db, id: UploadId, fence: Option<i64>, now: i64) -> Option<Upload> {
    write(db, move |c| Box::pin(uploads::lose(c, id, fence, "dropped", at(now)))).await
}

async fn end(db: &Db, id: UploadId, to: EndState, now: i64) -> EndOutcome {
    write(db, move |c| Box::pin(uploads::end(c, None, id, to, at(now)))).await
}

async fn used(db: &Db) -> Usage {
    read(db, |c| Box::pin(async move { usage::get(c, &tenant()).await })).await
}

/// An upload that was sealed at second 12, until second 50.
async fn sealed(db: &Db) -> (UploadId, i64) {
    let id = inserted(db, 0).await.id;
    record_all(db, id, &[0, 1]).await;
    let fence = claimed(db, id, 10).await;
    assert!(set_sealing(db, id, fence).await);
    assert!(seal(db, id, fence, 12, 50).await);
    (id, fence)
}

#[tokio::test]
async fn a_sealed_upload_can_be_claimed_again_and_completed() {
    for test in both_engines().await {
        let (id, fence) = sealed(&test.db).await;
        let upload = get(&test.db, id).await.unwrap();
        assert_eq!((upload.state, upload.sealing), (UploadState::Sealed, true), "{}", test.engine);
        assert_eq!((upload.error.as_deref(), upload.expires_at), (Some("wrong digest"), at(50)));
        assert_eq!(used(&test.db).await.open_uploads, 1, "{}: it still counts", test.engine);
        let refused = record(&test.db, id, a_receipt(2)).await.unwrap();
        assert_eq!(refused, parts::Recorded::Refused(UploadState::Sealed), "{}", test.engine);

        let FinishClaim::Claimed { fence: next, upload } = claim(&test.db, id, 20).await else {
            panic!("{}: not claimed", test.engine)
        };
        assert_eq!((next, upload.sealing), (fence + 1, true), "{}", test.engine);
        assert!(!seal(&test.db, id, fence, 21, 90).await, "{}: an old fence", test.engine);
        assert!(write(&test.db, move |c| Box::pin(uploads::complete(c, id, next, at(22)))).await);
        assert_eq!(used(&test.db).await, Usage::default(), "{}", test.engine);
    }
}

#[tokio::test]
async fn a_sealed_upload_can_be_aborted_and_expires() {
    for test in both_engines().await {
        let (id, _) = sealed(&test.db).await;
        let aborted = end(&test.db, id, EndState::Aborted, 20).await;
        assert!(matches!(aborted, EndOutcome::Ended(_)), "{}: {aborted:?}", test.engine);
        assert_eq!(used(&test.db).await, Usage::default(), "{}", test.engine);

        let (id, _) = sealed(&test.db).await;
        let expired = |now| read(&test.db, move |c| Box::pin(uploads::expired(c, "default", at(now), 10)));
        assert_eq!(expired(49).await, [], "{}", test.engine);
        assert_eq!(end(&test.db, id, EndState::Expired, 49).await, EndOutcome::Busy, "{}", test.engine);
        assert_eq!(expired(50).await.len(), 1, "{}", test.engine);
        let expired = end(&test.db, id, EndState::Expired, 50).await;
        assert!(matches!(&expired, EndOutcome::Ended(upload) if upload.state == UploadState::Expired));
        assert_eq!(used(&test.db).await, Usage::default(), "{}", test.engine);
    }
}

#[tokio::test]
async fn whoever_goes_on_learns_that_the_store_may_have_put_it_together() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        let first = claimed(&test.db, id, 10).await;
        assert!(set_sealing(&test.db, id, first).await, "{}", test.engine);
        // The store is away: the claim runs out at once, and nothing else changes.
        assert!(yield_finish(&test.db, id, first, 20).await, "{}", test.engine);
        let upload = get(&test.db, id).await.unwrap();
        assert_eq!((upload.state, upload.sealing), (UploadState::Finalizing, true), "{}", test.engine);
        assert_eq!(upload.error.as_deref(), Some("the store is away"));
        let waiting = read(&test.db, |c| Box::pin(uploads::abandoned(c, "default", at(20), 10))).await;
        assert_eq!(waiting.len(), 1, "{}: the sweeper goes on", test.engine);

        let second = claimed(&test.db, id, 20).await;
        assert!(!set_sealing(&test.db, id, first).await, "{}: an old fence", test.engine);
        assert!(!yield_finish(&test.db, id, first, 21).await, "{}: an old fence", test.engine);
        // The store said that it has put nothing together: chunks are taken again.
        let reopened = write(&test.db, move |c| {
            Box::pin(uploads::release_finish(c, id, second, Released::Receiving, None, at(22)))
        });
        assert!(reopened.await);
        let upload = get(&test.db, id).await.unwrap();
        assert_eq!((upload.state, upload.sealing), (UploadState::Receiving, false), "{}", test.engine);
        assert_eq!(upload.expires_at, at(3600), "{}: its time is what it was", test.engine);
    }
}

#[tokio::test]
async fn an_upload_whose_bytes_are_lost_has_expired() {
    for test in both_engines().await {
        let receiving = inserted(&test.db, 0).await.id;
        let lost = lose(&test.db, receiving, None, 5).await.unwrap();
        assert_eq!((lost.state, lost.ended_at), (UploadState::Expired, Some(at(5))), "{}", test.engine);
        assert_eq!(lost.error.as_deref(), Some("dropped"));
        assert_eq!(used(&test.db).await, Usage::default(), "{}", test.engine);
        assert_eq!(lose(&test.db, receiving, None, 6).await, None, "{}: again", test.engine);

        let finalizing = inserted(&test.db, 1).await.id;
        let fence = claimed(&test.db, finalizing, 10).await;
        assert_eq!(lose(&test.db, finalizing, None, 11).await, None, "{}: not the claim's", test.engine);
        assert_eq!(lose(&test.db, finalizing, Some(fence - 1), 11).await, None, "{}", test.engine);
        assert!(lose(&test.db, finalizing, Some(fence), 11).await.is_some(), "{}", test.engine);
        assert_eq!(used(&test.db).await, Usage::default(), "{}", test.engine);
    }
}

#[tokio::test]
async fn a_sealed_upload_is_listed_as_such_until_its_time_is_over() {
    for test in both_engines().await {
        let (id, _) = sealed(&test.db).await;
        let listed = async |state, now| {
            let filter = uploads::UploadFilter { state: Some(state), ..Default::default() };
            let found = read(&test.db, |c| {
                Box::pin(async move { uploads::list(c, &tenant(), &filter, None, 10, at(now)).await })
            });
            found.await.into_iter().map(|upload| upload.id).collect::<Vec<_>>()
        };
        assert_eq!(listed(UploadState::Sealed, 49).await, [id], "{}", test.engine);
        assert_eq!(listed(UploadState::Expired, 49).await, []);
        assert_eq!(listed(UploadState::Sealed, 50).await, [], "{}", test.engine);
        assert_eq!(listed(UploadState::Expired, 50).await, [id], "{}", test.engine);
    }
}
