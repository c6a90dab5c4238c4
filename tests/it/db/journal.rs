//! The journal: receipts, counters, withdrawals, runs.

use cifra::base::crc::Crc64;
use cifra::base::{ChunkIndex, UploadId};
use cifra::db::Db;
use cifra::db::parts::{self, Counts, Receipt, Recorded, Withdrawn};
use cifra::db::uploads::{self, Released, UploadState};
use uuid::Uuid;

use super::{a_receipt, at, claimed, get, inserted, read, record, record_all, tenant, write};
use crate::harness::databases::both_engines;

async fn withdraw(db: &Db, id: UploadId, index: u32, fence: Option<i64>) -> Withdrawn {
    write(db, move |c| Box::pin(parts::withdraw(c, id, ChunkIndex::new(index), fence, at(9)))).await
}

async fn counts(db: &Db, id: UploadId) -> (u64, u32) {
    let upload = get(db, id).await.expect("the upload");
    (upload.received_bytes, upload.received_chunks)
}

fn indexes(receipts: &[Receipt]) -> Vec<u32> {
    receipts.iter().map(|receipt| receipt.index.get()).collect()
}

#[tokio::test]
async fn a_receipt_counts_once_and_is_read_back() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        let receipt = Receipt {
            etag: Some("\"abc\"".to_owned()),
            synced: true,
            boot: Some(Uuid::from_u128(5)),
            ..a_receipt(3)
        };
        let counted = record(&test.db, id, receipt.clone()).await.unwrap();
        let expected = Counts { received_bytes: 100, received_chunks: 1 };
        assert_eq!(counted, Recorded::Counted(expected), "{}", test.engine);
        assert_eq!(record(&test.db, id, receipt.clone()).await.unwrap(), Recorded::Duplicate);
        let missing = record(&test.db, UploadId::new(at(0)), a_receipt(0)).await.unwrap();
        assert_eq!(missing, Recorded::Missing, "{}", test.engine);

        let state = |index| {
            read(&test.db, move |c| {
                Box::pin(async move { parts::read(c, &tenant(), id, ChunkIndex::new(index)).await })
            })
        };
        let (upload, found) = state(3).await.unwrap();
        assert_eq!(found, Some(receipt), "{}", test.engine);
        assert_eq!((upload.received_bytes, upload.received_chunks), (100, 1));
        assert_eq!((upload.updated_at, upload.expires_at), (at(1), at(7200)));
        assert_eq!(state(4).await.unwrap().1, None, "{}", test.engine);
        let foreign = "other".parse().unwrap();
        let seen = read(&test.db, |c| {
            Box::pin(async move { parts::read(c, &foreign, id, ChunkIndex::new(3)).await })
        });
        assert!(seen.await.is_none(), "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_receipts_of_one_chunk_at_once_one_counts() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        for index in 0..10 {
            let all = (0..6).map(|_| record(&test.db, id, a_receipt(index)));
            let all = futures_util::future::join_all(all).await;
            let counted = all.iter().filter(|one| matches!(one, Ok(Recorded::Counted(_)))).count();
            let duplicates = all.iter().filter(|one| matches!(one, Ok(Recorded::Duplicate))).count();
            assert_eq!((counted, duplicates), (1, 5), "{}: {all:?}", test.engine);
        }
        assert_eq!(counts(&test.db, id).await, (1000, 10), "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_receipt_counts_after_the_claim_on_finishing() {
    for test in both_engines().await {
        for round in 0..10 {
            let id = inserted(&test.db, round).await.id;
            let records =
                futures_util::future::join_all((0..8).map(|index| record(&test.db, id, a_receipt(index))));
            let claim = super::claim(&test.db, id, 10);
            let (records, claim) = tokio::join!(records, claim);
            let cifra::db::uploads::FinishClaim::Claimed { upload, .. } = claim else { panic!("{claim:?}") };
            let mut counted = 0;
            for recorded in records {
                match recorded.unwrap() {
                    Recorded::Counted(_) => counted += 1,
                    Recorded::Refused(UploadState::Finalizing) => {}
                    other => panic!("{}: {other:?}", test.engine),
                }
            }
            // What the claim saw is what there is: nothing was added behind its back.
            assert_eq!(upload.received_chunks, counted, "{}", test.engine);
            let receipts = read(&test.db, move |c| Box::pin(parts::from(c, id, 0, 100))).await;
            assert_eq!(receipts.len(), counted as usize, "{}", test.engine);
        }
    }
}

#[tokio::test]
async fn a_withdrawn_chunk_is_missing_again() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        record_all(&test.db, id, &[0, 1, 2]).await;
        assert_eq!(
            withdraw(&test.db, id, 1, None).await,
            Withdrawn::Done { withdrawals: 1 },
            "{}",
            test.engine
        );
        assert_eq!(withdraw(&test.db, id, 1, None).await, Withdrawn::NoReceipt, "{}", test.engine);
        let upload = get(&test.db, id).await.unwrap();
        assert_eq!((upload.received_bytes, upload.received_chunks, upload.withdrawals), (200, 2, 1));
        record_all(&test.db, id, &[1]).await;

        let fence = claimed(&test.db, id, 10).await;
        let refused = Withdrawn::Refused(UploadState::Finalizing);
        assert_eq!(withdraw(&test.db, id, 1, None).await, refused, "{}", test.engine);
        assert_eq!(withdraw(&test.db, id, 1, Some(fence + 1)).await, refused, "{}", test.engine);
        assert_eq!(withdraw(&test.db, id, 1, Some(fence)).await, Withdrawn::Done { withdrawals: 2 });
        assert_eq!(withdraw(&test.db, id, 1, Some(fence)).await, Withdrawn::NoReceipt, "{}", test.engine);
        assert_eq!(withdraw(&test.db, UploadId::new(at(0)), 1, None).await, Withdrawn::Missing);
        assert_eq!(counts(&test.db, id).await, (200, 2), "{}", test.engine);
    }
}

#[tokio::test]
async fn who_had_a_claim_on_the_end_and_wakes_up_late_withdraws_nothing() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        record_all(&test.db, id, &[0, 1, 2]).await;
        let fence = claimed(&test.db, id, 10).await;
        let let_go = write(&test.db, move |c| {
            Box::pin(uploads::release_finish(c, id, fence, Released::Receiving, None, at(11)))
        });
        assert!(let_go.await);
        let late = withdraw(&test.db, id, 1, Some(fence)).await;
        assert_eq!(late, Withdrawn::Refused(UploadState::Receiving), "{}", test.engine);
        assert_eq!(counts(&test.db, id).await, (300, 3), "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_and_withdrawals_at_once_leave_the_counters_right() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        for round in 0..10 {
            let records = (0..10).map(|index| record(&test.db, id, a_receipt(index)));
            let withdrawals = (0..10).map(|index| withdraw(&test.db, id, (index + round) % 10, None));
            let (records, _) = tokio::join!(
                futures_util::future::join_all(records),
                futures_util::future::join_all(withdrawals)
            );
            for recorded in records {
                let retry = |error: &cifra::base::Error| error.code() == cifra::base::Code::Unavailable;
                assert!(recorded.as_ref().err().is_none_or(retry), "{}: {recorded:?}", test.engine);
            }
            let receipts = read(&test.db, move |c| Box::pin(parts::from(c, id, 0, 100))).await;
            let bytes: u64 = receipts.iter().map(|receipt| receipt.size).sum();
            let expected = (bytes, u32::try_from(receipts.len()).unwrap());
            assert_eq!(counts(&test.db, id).await, expected, "{}", test.engine);
        }
    }
}

#[tokio::test]
async fn runs_are_what_is_there_in_order() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        let other = inserted(&test.db, 1).await.id;
        record_all(&test.db, other, &[3, 4]).await;
        let runs = |limit| read(&test.db, move |c| Box::pin(parts::runs(c, id, limit)));
        assert_eq!(runs(10).await, [], "{}", test.engine);
        record_all(&test.db, id, &[9, 0, 5, 2, 1, 6, 7]).await;
        assert_eq!(runs(10).await, [(0, 2), (5, 7), (9, 9)], "{}", test.engine);
        assert_eq!(runs(2).await, [(0, 2), (5, 7)], "{}", test.engine);
        record_all(&test.db, id, &[8, 3, 4]).await;
        assert_eq!(runs(10).await, [(0, 9)], "{}", test.engine);

        let from = read(&test.db, move |c| Box::pin(parts::from(c, id, 4, 3))).await;
        assert_eq!(indexes(&from), [4, 5, 6], "{}", test.engine);
    }
}

#[tokio::test]
async fn suspects_are_receipts_of_another_boot_that_were_never_synced() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        let (here, before) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for (index, synced, boot) in
            [(0, false, Some(here)), (1, false, Some(before)), (2, true, Some(before)), (3, false, None)]
        {
            record(&test.db, id, Receipt { synced, boot, ..a_receipt(index) }).await.unwrap();
        }
        let suspects =
            |first| read(&test.db, move |c| Box::pin(parts::unsynced_of_other_boot(c, id, here, first, 10)));
        assert_eq!(indexes(&suspects(0).await), [1, 3], "{}", test.engine);
        assert_eq!(indexes(&suspects(2).await), [3], "{}", test.engine);

        let vouch = |index, crc64| {
            write(&test.db, move |c| Box::pin(parts::set_synced(c, id, ChunkIndex::new(index), crc64)))
        };
        assert!(!vouch(1, Crc64::new(0)).await, "{}: other bytes", test.engine);
        assert!(vouch(1, a_receipt(1).crc64).await);
        assert!(!vouch(7, a_receipt(7).crc64).await, "{}: no receipt", test.engine);
    }
}

#[tokio::test]
async fn a_journal_that_does_not_fit_its_upload_is_refused_by_the_schema() {
    for test in both_engines().await {
        let id = inserted(&test.db, 0).await.id;
        let too_large = Receipt { size: 1001, ..a_receipt(0) };
        let refused = record(&test.db, id, too_large).await.unwrap_err();
        assert_eq!(refused.code(), cifra::base::Code::Internal, "{}", test.engine);
        assert_eq!(refused.detail(), "the database failed", "nothing internal for the client");
        assert_eq!(counts(&test.db, id).await, (0, 0), "{}", test.engine);
        assert_eq!(read(&test.db, move |c| Box::pin(parts::from(c, id, 0, 9))).await, []);
    }
}

#[tokio::test]
async fn what_changes_of_an_upload_is_read_alone() {
    for test in both_engines().await {
        let begun = inserted(&test.db, 0).await;
        let id = begun.id;
        record(&test.db, id, a_receipt(0)).await.unwrap();
        record(&test.db, id, a_receipt(1)).await.unwrap();
        withdraw(&test.db, id, 1, None).await;
        claimed(&test.db, id, 10).await;
        for index in [0, 1] {
            let whole = read(&test.db, move |c| {
                Box::pin(async move { parts::read(c, &tenant(), id, ChunkIndex::new(index)).await })
            });
            let moving = read(&test.db, move |c| {
                Box::pin(async move { parts::read_moving(c, &tenant(), id, ChunkIndex::new(index)).await })
            });
            let (moving, receipt) = moving.await.unwrap();
            assert_eq!((moving.of(begun.clone()), receipt), whole.await.unwrap(), "{}", test.engine);
        }
        let foreign = "other".parse().unwrap();
        let seen = read(&test.db, |c| {
            Box::pin(async move { parts::read_moving(c, &foreign, id, ChunkIndex::new(0)).await })
        });
        assert!(seen.await.is_none(), "{}", test.engine);
    }
}
