//! Long ones: `cargo test -- --ignored soak`.

use std::time::Instant;

use cifra::base::UploadId;
use cifra::db::uploads::Upload;
use cifra::db::{Conn, parts, uploads};

use super::{a_receipt, an_upload, at, get, insert, inserted, read, record, write};
use crate::harness::databases::both_engines;

/// Fills the journal of `id` with chunks `0..1,000,000`, save every thousandth if `gaps`.
async fn fill(db: &cifra::db::Db, id: UploadId) {
    const FILL: &str = "
        WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 999999)
        INSERT INTO cifra_upload_parts (upload_id, chunk_index, size, crc64, synced, received_at)
        SELECT $1, n, 1, n, FALSE, 0
        FROM numbers
        WHERE n % 1000 <> 500";
    let filled = db.write_to_the_end(cifra::db::Urgency::Background, cifra::db::Commit::Normal, move |c| {
        Box::pin(async move {
            match c {
                Conn::Sqlite(c) => sqlx::query(FILL).bind(id).execute(&mut **c).await.map(drop)?,
                Conn::Postgres(c) => sqlx::query(FILL).bind(id).execute(&mut **c).await.map(drop)?,
            }
            Ok(())
        })
    });
    filled.await.expect("a million rows");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: a million receipts on each engine"]
async fn soak_a_million_chunks_are_counted_in_runs_and_cleared_in_slices() {
    for test in both_engines().await {
        let upload = Upload { total_size: 1_000_000, chunk_size: 1, chunk_count: 1_000_000, ..an_upload(0) };
        insert(&test.db, &upload).await;
        let id = upload.id;
        fill(&test.db, id).await;

        let begun = Instant::now();
        let runs = read(&test.db, move |c| Box::pin(parts::runs(c, id, 1001))).await;
        println!("{}: runs of a million chunks in {:?}", test.engine, begun.elapsed());
        assert_eq!(runs.len(), 1001);
        assert_eq!((runs[0], runs[1], runs[1000]), ((0, 499), (501, 1499), (999_501, 999_999)));
        assert!(begun.elapsed().as_secs_f64() < 3.0, "{}: {:?}", test.engine, begun.elapsed());

        write(&test.db, move |c| {
            Box::pin(async move {
                uploads::end(c, None, id, uploads::EndState::Aborted, at(1)).await?;
                uploads::set_cleared(c, id).await
            })
        })
        .await;
        let (mut slices, mut longest) = (0, std::time::Duration::ZERO);
        loop {
            let begun = Instant::now();
            if write(&test.db, |c| Box::pin(parts::delete_of_ended(c, 5000))).await == 0 {
                break;
            }
            (slices, longest) = (slices + 1, longest.max(begun.elapsed()));
        }
        println!("{}: cleared in {slices} slices, the longest {longest:?}", test.engine);
        assert!(write(&test.db, move |c| Box::pin(uploads::forget(c, id))).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: measures receipts a second"]
async fn soak_receipts_share_commits() {
    const RECEIPTS: u32 = 20_000;
    for test in both_engines().await {
        for senders in [1_u32, 4, 16] {
            let upload =
                Upload { total_size: 100 * u64::from(RECEIPTS), chunk_count: RECEIPTS, ..an_upload(0) };
            insert(&test.db, &upload).await;
            let id = upload.id;
            let begun = Instant::now();
            let tasks: Vec<_> = (0..senders)
                .map(|sender| {
                    let db = test.db.clone();
                    test.tasks.spawn("sender", async move {
                        for index in (sender..RECEIPTS).step_by(senders as usize) {
                            let known = read(&db, move |c| {
                                Box::pin(async move {
                                    let index = cifra::base::ChunkIndex::new(index);
                                    parts::read(c, &super::tenant(), id, index).await
                                })
                            });
                            assert!(known.await.is_some());
                            record(&db, id, a_receipt(index)).await.expect("a receipt");
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("a sender");
            }
            let rate = f64::from(RECEIPTS) / begun.elapsed().as_secs_f64();
            println!("{}: {senders} senders: {rate:.0} receipts a second", test.engine);
            assert_eq!(get(&test.db, id).await.expect("the upload").received_chunks, RECEIPTS);
        }
        inserted(&test.db, 1).await;
    }
}
