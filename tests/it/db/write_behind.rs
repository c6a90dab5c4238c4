//! The queue of writes that are applied later, and the counts of reads that come by it.

use cifra::base::FileId;
use cifra::db::file_access::{self, Reads};
use cifra::db::write_behind::{self, NewWrite, Queued};
use cifra::db::{Db, files};

use super::files::{a_file, insert, remember};
use super::{at, read, tenant, write};
use crate::harness::databases::{TestDb, both_engines};

const KIND: &str = "test";

async fn add(db: &Db, key: &'static str, payload: &'static str) -> bool {
    write(db, move |c| {
        Box::pin(async move {
            let write = NewWrite { tenant: tenant(), key: key.to_owned(), payload: payload.to_owned() };
            write_behind::add(c, KIND, &[write], 4, at(0)).await
        })
    })
    .await
}

async fn due(db: &Db, now: i64, limit: u32) -> Vec<Queued> {
    read(db, move |c| Box::pin(write_behind::due(c, KIND, at(now), limit))).await
}

async fn take(db: &Db, due: &[Queued]) -> Vec<Queued> {
    let due = due.to_vec();
    write(db, move |c| {
        let due = due.clone();
        Box::pin(async move { write_behind::take(c, KIND, &due).await })
    })
    .await
}

fn payloads(queued: &[Queued]) -> Vec<&str> {
    queued.iter().map(|queued| queued.payload.as_str()).collect()
}

#[tokio::test]
async fn queued_writes_are_taken_once_in_their_order() {
    for TestDb { db, engine, .. } in &both_engines().await {
        for (key, payload) in [("a", "1"), ("b", "2"), ("a", "3")] {
            assert!(add(db, key, payload).await);
        }
        assert_eq!(payloads(&due(db, 0, 2).await), ["1", "2"], "{engine}");
        let all = due(db, 0, 10).await;
        assert_eq!(payloads(&take(db, &all[..1]).await), ["1"], "{engine}");
        assert_eq!(payloads(&take(db, &all).await), ["2", "3"], "{engine}: what another one took");
        assert_eq!(take(db, &all).await, [], "{engine}");
    }
}

#[tokio::test]
async fn a_queue_takes_so_many_and_no_more() {
    for TestDb { db, engine, .. } in &both_engines().await {
        for _ in 0..4 {
            assert!(add(db, "a", "").await, "{engine}");
        }
        assert!(!add(db, "b", "").await, "{engine}");
        let one = due(db, 0, 1).await;
        take(db, &one).await;
        assert!(add(db, "b", "").await, "{engine}");
    }
}

#[tokio::test]
async fn a_key_waits_for_its_first_write() {
    for TestDb { db, engine, .. } in &both_engines().await {
        for (key, payload) in [("a", "1"), ("b", "2"), ("a", "3")] {
            add(db, key, payload).await;
        }
        let first = due(db, 0, 1).await[0].seq;
        write(db, move |c| Box::pin(write_behind::postpone(c, KIND, first, at(10), "a reason"))).await;
        assert_eq!(payloads(&due(db, 9, 10).await), ["2"], "{engine}");
        let after = due(db, 10, 10).await;
        assert_eq!((payloads(&after), after[0].attempts), (vec!["1", "2", "3"], 1), "{engine}");
    }
}

#[tokio::test]
async fn a_key_that_another_node_is_busy_with_is_passed_over() {
    let test = TestDb::postgres().await;
    for (key, payload) in [("a", "1"), ("b", "2"), ("a", "3")] {
        add(&test.db, key, payload).await;
    }
    let (all, db) = (due(&test.db, 0, 10).await, test.db.clone());
    let others = all.clone();
    let one = all[..1].to_vec();
    let first = write(&test.db, move |c| {
        let (one, others, db) = (one.clone(), others.clone(), db.clone());
        Box::pin(async move {
            let first = write_behind::take(c, KIND, &one).await?;
            // Another transaction, while this one has not ended.
            assert_eq!(payloads(&take(&db, &others).await), ["2"]);
            Ok(first)
        })
    });
    assert_eq!(payloads(&first.await), ["1"]);
    assert_eq!(payloads(&take(&test.db, &all).await), ["3"]);
}

async fn count(db: &Db, file: FileId, reads: u32, last: i64) -> Reads {
    write(db, move |c| Box::pin(async move { file_access::add(c, &tenant(), file, reads, at(last)).await }))
        .await;
    read(db, move |c| Box::pin(async move { file_access::get(c, &tenant(), file).await })).await
}

#[tokio::test]
async fn reads_add_up_and_go_with_their_file() {
    for TestDb { db, engine, .. } in &both_engines().await {
        let (file, other) = (a_file(), a_file());
        let (id, other_id) = (file.id, other.id);
        assert_eq!(count(db, id, 1, 1).await, Reads::default(), "{engine}: there is no such file");
        remember(db, "default", 1).await;
        for file in [file, other] {
            insert(db, &file).await;
        }
        let reads = |reads, last| Reads { reads, last_read_at: Some(at(last)) };
        assert_eq!(count(db, id, 2, 7).await, reads(2, 7), "{engine}");
        assert_eq!(count(db, id, 3, 5).await, reads(5, 7), "{engine}: an older one comes later");
        assert_eq!(count(db, other_id, 1, 8).await, reads(1, 8), "{engine}");
        let recent = read(db, |c| Box::pin(file_access::recent(c, 5))).await;
        assert_eq!(recent, [(tenant(), other_id), (tenant(), id)], "{engine}");
        let elsewhere = "elsewhere".parse().unwrap();
        let theirs =
            read(db, move |c| Box::pin(async move { file_access::get(c, &elsewhere, id).await })).await;
        assert_eq!(theirs, Reads::default(), "{engine}");
        write(db, move |c| Box::pin(async move { files::delete(c, &tenant(), id).await })).await.unwrap();
        assert_eq!(count(db, id, 1, 9).await, Reads::default(), "{engine}");
    }
}
