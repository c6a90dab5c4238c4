//! Claims, fences, ends, and what the sweeper finds.

use cifra::base::{TenantId, UploadId};
use cifra::db::uploads::{self, EndOutcome, EndState, FinishClaim, Released, Upload, UploadState};
use cifra::db::{Db, parts};

use super::{
    a_receipt, an_upload, at, claim, claimed, get, insert, inserted, read, record, record_all, tenant, write,
};
use crate::harness::databases::both_engines;

async fn complete(db: &Db, id: UploadId, fence: i64, now: i64) -> bool {
    write(db, move |c| Box::pin(async move { uploads::complete(c, id, fence, at(now)).await })).await
}

async fn end(db: &Db, id: UploadId, to: EndState, now: i64) -> EndOutcome {
    write(db, move |c| Box::pin(async move { uploads::end(c, Some(&tenant()), id, to, at(now)).await })).await
}

async fn renew(db: &Db, id: UploadId, fence: i64, until: i64) -> bool {
    write(db, move |c| Box::pin(uploads::renew_finish(c, id, fence, at(until)))).await
}

async fn release(db: &Db, id: UploadId, fence: i64, now: i64) -> bool {
    write(db, move |c| {
        Box::pin(async move {
            let to = Released::Receiving;
            uploads::release_finish(c, id, fence, to, Some("wrong digest"), at(now)).await
        })
    })
    .await
}

#[tokio::test]
async fn what_is_inserted_is_read_back() {
    for test in both_engines().await {
        let mut upload = an_upload(5);
        upload.total_size = u64::try_from(i64::MAX).unwrap();
        upload.chunk_count = u32::MAX;
        upload.filename = "naïve 🎬.mp4".to_owned();
        insert(&test.db, &upload).await;
        assert_eq!(get(&test.db, upload.id).await, Some(upload.clone()), "{}", test.engine);

        let stranger: TenantId = "somebody-else".parse().unwrap();
        let seen =
            read(&test.db, |c| Box::pin(async move { uploads::get(c, &stranger, upload.id).await })).await;
        assert_eq!(seen, None, "{}", test.engine);
        assert_eq!(get(&test.db, UploadId::new(at(6))).await, None);
    }
}

#[tokio::test]
async fn only_the_newest_claim_can_complete() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        let first = claimed(&test.db, id, 10).await;
        assert_eq!(claim(&test.db, id, 20).await, FinishClaim::Held { until: at(70) }, "{}", test.engine);

        // The first holder sleeps past its time, another takes over, the first wakes up.
        let second = claimed(&test.db, id, 70).await;
        assert_eq!(second, first + 1);
        assert!(!complete(&test.db, id, first, 71).await, "{}: an old fence completed", test.engine);
        assert!(!release(&test.db, id, first, 71).await);
        assert!(!renew(&test.db, id, first, 200).await);
        assert!(renew(&test.db, id, second, 200).await);
        assert_eq!(claim(&test.db, id, 140).await, FinishClaim::Held { until: at(200) });

        assert!(complete(&test.db, id, second, 141).await);
        assert!(!complete(&test.db, id, second, 142).await, "{}: completed twice", test.engine);
        let upload = get(&test.db, id).await.unwrap();
        assert_eq!((upload.state, upload.ended_at), (UploadState::Completed, Some(at(141))));
        assert_eq!(claim(&test.db, id, 300).await, FinishClaim::Ended(UploadState::Completed));
        assert_eq!(
            end(&test.db, id, EndState::Aborted, 300).await,
            EndOutcome::Already(UploadState::Completed)
        );
        assert_eq!(claim(&test.db, UploadId::new(at(1)), 300).await, FinishClaim::Missing);
    }
}

#[tokio::test]
async fn of_many_claims_at_once_one_succeeds() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        let claims = (0..6).map(|_| claim(&test.db, id, 10));
        let claims = futures_util::future::join_all(claims).await;
        let won = claims.iter().filter(|claim| matches!(claim, FinishClaim::Claimed { .. })).count();
        let held = claims.iter().filter(|claim| matches!(claim, FinishClaim::Held { .. })).count();
        assert_eq!((won, held), (1, 5), "{}", test.engine);
    }
}

#[tokio::test]
async fn a_claim_let_go_takes_chunks_again_and_tells_why() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        let fence = claimed(&test.db, id, 10).await;
        let refused = record(&test.db, id, a_receipt(0)).await.unwrap();
        assert_eq!(refused, parts::Recorded::Refused(UploadState::Finalizing), "{}", test.engine);
        assert!(release(&test.db, id, fence, 11).await);
        let upload = get(&test.db, id).await.unwrap();
        assert_eq!((upload.state, upload.error.as_deref()), (UploadState::Receiving, Some("wrong digest")));
        record_all(&test.db, id, &[0]).await;
        assert_eq!(claimed(&test.db, id, 12).await, fence + 1);
    }
}

#[tokio::test]
async fn an_upload_that_is_being_finished_cannot_be_ended() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        let fence = claimed(&test.db, id, 10).await;
        assert_eq!(end(&test.db, id, EndState::Aborted, 20).await, EndOutcome::Busy, "{}", test.engine);
        // Once the claim ran out it can; and then its late holder cannot complete.
        let ended = end(&test.db, id, EndState::Aborted, 70).await;
        assert!(matches!(&ended, EndOutcome::Ended(upload) if upload.state == UploadState::Aborted));
        assert!(!complete(&test.db, id, fence, 71).await);
        assert_eq!(end(&test.db, id, EndState::Aborted, 72).await, EndOutcome::Already(UploadState::Aborted));
        let refused = record(&test.db, id, a_receipt(0)).await.unwrap();
        assert_eq!(refused, parts::Recorded::Refused(UploadState::Aborted));
        let missing = end(&test.db, UploadId::new(at(1)), EndState::Aborted, 72).await;
        assert_eq!(missing, EndOutcome::Missing);
    }
}

#[tokio::test]
async fn a_chunk_that_comes_late_saves_an_upload_from_the_sweeper() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        let expired = |now| read(&test.db, move |c| Box::pin(uploads::expired(c, "default", at(now), 10)));
        assert_eq!(expired(3599).await, []);
        assert_eq!(expired(3600).await.len(), 1, "{}", test.engine);
        record_all(&test.db, id, &[3]).await; // prolongs it to second 7200
        assert_eq!(end(&test.db, id, EndState::Expired, 3601).await, EndOutcome::Busy, "{}", test.engine);
        let ended = end(&test.db, id, EndState::Expired, 7200).await;
        assert!(matches!(&ended, EndOutcome::Ended(upload) if upload.state == UploadState::Expired));
    }
}

#[tokio::test]
async fn the_sweeper_finds_what_was_left_behind() {
    for test in both_engines().await {
        let (first, second) = (inserted(&test.db, 0).await.id, inserted(&test.db, 1).await.id);
        let abandoned =
            |now| read(&test.db, move |c| Box::pin(uploads::abandoned(c, "default", at(now), 10)));
        claimed(&test.db, first, 10).await;
        claimed(&test.db, second, 5).await;
        assert_eq!(abandoned(64).await, [], "{}", test.engine);
        let ids: Vec<_> = abandoned(70).await.into_iter().map(|upload| upload.id).collect();
        assert_eq!(ids, [second, first]);

        let broken =
            |now| write(&test.db, move |c| Box::pin(uploads::break_finish_claims(c, "default", at(now))));
        assert_eq!(broken(20).await, 2);
        assert_eq!(broken(20).await, 0);
        assert_eq!(abandoned(20).await.len(), 2, "{}: claims broken at the start are over", test.engine);
    }
}

#[tokio::test]
async fn ended_uploads_are_forgotten_once_everything_is_cleared() {
    for test in both_engines().await {
        let ids = [inserted(&test.db, 0).await.id, inserted(&test.db, 1).await.id];
        for id in ids {
            record_all(&test.db, id, &[0, 1, 2]).await;
            end(&test.db, id, EndState::Aborted, 10).await;
        }
        let uncleared = || read(&test.db, |c| Box::pin(uploads::uncleared(c, "default", 10)));
        let forgettable = async |before| {
            let found = read(&test.db, |c| Box::pin(uploads::forgettable(c, at(before), 10))).await;
            found.into_iter().map(|upload| upload.id).collect::<Vec<_>>()
        };
        let forget = |id| write(&test.db, move |c| Box::pin(uploads::forget(c, id)));
        assert_eq!(uncleared().await.len(), 2, "{}", test.engine);
        assert!(write(&test.db, move |c| Box::pin(uploads::set_cleared(c, ids[0]))).await);
        assert_eq!(uncleared().await.into_iter().map(|upload| upload.id).collect::<Vec<_>>(), [ids[1]]);

        assert_eq!(forgettable(100).await, [], "{}: its journal is still there", test.engine);
        assert!(!forget(ids[0]).await);
        let cleared = || write(&test.db, |c| Box::pin(parts::delete_of_ended(c, 2)));
        let mut steps = 0;
        while cleared().await > 0 {
            steps += 1;
            assert!(steps < 20);
        }
        assert!(steps >= 3, "{}: six receipts in slices of two: {steps}", test.engine);
        for id in ids {
            assert_eq!(read(&test.db, move |c| Box::pin(parts::from(c, id, 0, 10))).await, []);
        }
        assert_eq!(forgettable(10).await, [], "{}: not yet", test.engine);
        assert_eq!(forgettable(11).await, [ids[0]], "{}", test.engine);
        assert!(forget(ids[0]).await, "{}", test.engine);
        assert!(!forget(ids[0]).await);
        assert!(!forget(ids[1]).await, "{}: its bytes are still there", test.engine);
        assert_eq!(get(&test.db, ids[0]).await, None);
        assert!(get(&test.db, ids[1]).await.is_some());
    }
}

#[tokio::test]
async fn the_row_of_a_completed_upload_goes_with_its_file() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        record_all(&test.db, id, &[0]).await;
        let delete =
            || write(&test.db, move |c| Box::pin(async move { uploads::delete(c, &tenant(), id).await }));
        assert!(!delete().await, "{}: it is not completed", test.engine);
        let fence = claimed(&test.db, id, 10).await;
        assert!(complete(&test.db, id, fence, 11).await);
        assert!(delete().await, "{}", test.engine);
        assert!(!delete().await);
        assert_eq!(get(&test.db, id).await, None);
    }
}

#[tokio::test]
async fn open_uploads_reserve_what_is_still_to_come() {
    for test in both_engines().await {
        let reserved =
            |store: &'static str| read(&test.db, move |c| Box::pin(uploads::reserved_bytes(c, store)));
        assert_eq!(reserved("default").await, 0, "{}", test.engine);
        let open = inserted(&test.db, 0).await;
        record_all(&test.db, open.id, &[0, 1, 2]).await;
        let finishing = inserted(&test.db, 1).await;
        claimed(&test.db, finishing.id, 2).await;
        let aborted = inserted(&test.db, 2).await;
        end(&test.db, aborted.id, EndState::Aborted, 3).await;
        let elsewhere = Upload { store: "other".to_owned(), ..an_upload(3) };
        insert(&test.db, &elsewhere).await;
        assert_eq!(reserved("default").await, 700 + 1000, "{}", test.engine);
        assert_eq!(reserved("other").await, 1000);
    }
}

#[tokio::test]
async fn staged_bytes_belong_to_an_upload_until_it_is_a_file() {
    for test in both_engines().await {
        let upload = inserted(&test.db, 0).await;
        let staged = || {
            let parts = upload.parts.clone();
            read(&test.db, move |c| Box::pin(async move { uploads::is_staged(c, "default", &parts).await }))
        };
        assert!(staged().await, "{}", test.engine);
        let fence = claimed(&test.db, upload.id, 1).await;
        assert!(complete(&test.db, upload.id, fence, 2).await);
        assert!(!staged().await, "{}", test.engine);
    }
}

#[tokio::test]
async fn the_schema_refuses_states_that_cannot_be() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        for statement in [
            "UPDATE cifra_uploads SET state = 'lost' WHERE id = $1",
            "UPDATE cifra_uploads SET received_bytes = -1 WHERE id = $1",
            "UPDATE cifra_uploads SET received_bytes = 1001 WHERE id = $1",
            "UPDATE cifra_uploads SET received_chunks = 11 WHERE id = $1",
            "UPDATE cifra_uploads SET state = 'completed' WHERE id = $1",
            "UPDATE cifra_uploads SET state = 'finalizing' WHERE id = $1",
            "UPDATE cifra_uploads SET store = 'unheard of' WHERE id = $1",
        ] {
            let refused = super::execute(&test.db, statement, id.as_uuid()).await;
            assert!(refused.is_err(), "{}: {statement}", test.engine);
        }
    }
}
