//! Which digests are known, and when: before the store puts the bytes together, or only after.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cifra::base::crc;
use cifra::base::digest::Checksum;
use cifra::config::ChecksumPolicy;
use cifra::upload::{OnRepeat, UploadState};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::nodes::{CHUNK, Pair, refusal};
use super::wayward::Fault;
use crate::harness::databases::TestDb;

fn sha256(bytes: &[u8]) -> Checksum {
    Checksum::Sha256(Sha256::digest(bytes).into())
}

fn crc64(bytes: &[u8]) -> Checksum {
    Checksum::Crc64Nvme(crc::of(bytes))
}

fn read(pair: &Pair) -> u64 {
    pair.store.read.swap(0, Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_over_two_nodes_become_one_file() {
    let pair = Pair::start().await;
    let sent = pair.a.begin(4).await;
    pair.a.put_all(&sent, [0, 2]).await;
    pair.b.put_all(&sent, [3, 1]).await;
    let file = pair.b.finalize(&sent, None).await.unwrap();
    assert_eq!(file.sha256, None, "nobody asked for it, and to know it everything would have to be read");
    assert_eq!(file.checksum(), crc64(&sent.bytes));
    assert!(read(&pair) < CHUNK as u64, "only the first bytes, for the type");
    assert_eq!(pair.a.read(&file).await, sent.bytes);
    assert_eq!(pair.a.finalize(&sent, None).await.unwrap(), file);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_come_in_order_are_hashed_on_their_way() {
    let pair = Pair::start().await;
    let sent = pair.a.begin(3).await;
    pair.a.put_all(&sent, 0..3).await;
    // What is known is verified before the bytes are put together: then chunks can still be replaced.
    let (code, error) = refusal(pair.a.finalize(&sent, Some(sha256(b"other"))).await);
    assert_eq!((code, &error.members()["chunks_replaceable"]), ("checksum-mismatch", &json!(true)));
    assert_eq!(pair.b.state(&sent).await, UploadState::Receiving);
    pair.a.put_bytes(&sent, 1, vec![1; CHUNK], OnRepeat::Replace).await.unwrap();
    pair.a.put_bytes(&sent, 1, sent.chunk(1).to_vec(), OnRepeat::Replace).await.unwrap();
    let file = pair.a.finalize(&sent, Some(sha256(&sent.bytes))).await.unwrap();
    assert_eq!(file.checksum(), sha256(&sent.bytes));
    assert_eq!(pair.b.read(&file).await, sent.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_was_replaced_is_not_in_the_hash() {
    let pair = Pair::start().await;
    let sent = pair.a.begin(2).await;
    pair.a.put_bytes(&sent, 0, vec![1; CHUNK], OnRepeat::Compare).await.unwrap();
    pair.b.put_bytes(&sent, 0, sent.chunk(0).to_vec(), OnRepeat::Replace).await.unwrap();
    pair.a.put(&sent, 1).await.unwrap();
    let file = pair.a.finalize(&sent, None).await.unwrap();
    assert!(file.sha256.is_none_or(|known| Checksum::Sha256(known) == sha256(&sent.bytes)));
    assert_eq!(pair.b.read(&file).await, sent.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_crc_is_verified_before_anything_is_put_together() {
    let pair = Pair::start().await;
    let sent = pair.a.begin_with(3, |_| Some(crc64(b"other"))).await;
    pair.b.put_all(&sent, [2, 0, 1]).await;
    let (code, error) = refusal(pair.a.finalize(&sent, None).await);
    assert_eq!((code, &error.members()["chunks_replaceable"]), ("checksum-mismatch", &json!(true)));
    assert_eq!(pair.store.keys().await, [""; 0], "nothing is put together");
    assert_eq!(pair.a.state(&sent).await, UploadState::Receiving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_sha256_of_chunks_out_of_order_is_read_back() {
    let pair = Pair::start().await;
    let sent = pair.a.begin_with(4, |bytes| Some(sha256(bytes))).await;
    pair.b.put_all(&sent, [3, 2, 0, 1]).await;
    let file = pair.a.finalize(&sent, None).await.unwrap();
    assert_eq!(file.checksum(), sha256(&sent.bytes));
    assert!(read(&pair) >= sent.bytes.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_differs_seals_the_upload_until_the_right_one_comes() {
    let pair = Pair::start().await;
    let sent = pair.a.begin(4).await;
    pair.a.put_all(&sent, [1, 0, 3, 2]).await;
    let (code, error) = refusal(pair.a.finalize(&sent, Some(sha256(b"other"))).await);
    assert_eq!((code, &error.members()["chunks_replaceable"]), ("checksum-mismatch", &json!(false)));
    assert_eq!(error.members()["actual"], sha256(&sent.bytes).to_string());
    assert_eq!(pair.b.state(&sent).await, UploadState::Sealed);
    let (code, _) = refusal(pair.b.put(&sent, 0).await);
    assert_eq!(code, "upload-finalized");
    let (code, _) = refusal(pair.b.put_bytes(&sent, 0, vec![1; CHUNK], OnRepeat::Replace).await);
    assert_eq!(code, "upload-finalized");
    assert!(read(&pair) > 2 * CHUNK as u64, "what was not hashed on its way");

    // Another node, another wrong digest: what was learned is known there, too.
    let (code, error) = refusal(pair.b.finalize(&sent, Some(crc64(b"x"))).await);
    assert_eq!((code, &error.members()["chunks_replaceable"]), ("checksum-mismatch", &json!(false)));
    assert_eq!(pair.a.state(&sent).await, UploadState::Sealed);
    let file = pair.b.finalize(&sent, Some(sha256(&sent.bytes))).await.unwrap();
    assert_eq!(file.checksum(), sha256(&sent.bytes));
    assert!(read(&pair) < CHUNK as u64, "it was not read again");
    assert_eq!(pair.a.read(&file).await, sent.bytes);
    assert_eq!((pair.used().await.open_uploads, pair.used().await.stored_bytes), (0, file.size));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_of_always_reads_back_what_nobody_declared() {
    let pair = Pair::with(TestDb::sqlite().await, ChecksumPolicy::Sha256, Duration::from_hours(1)).await;
    let sent = pair.a.begin(3).await;
    pair.a.put_all(&sent, [2, 1, 0]).await;
    assert_eq!(pair.b.finalize(&sent, None).await.unwrap().checksum(), sha256(&sent.bytes));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_back_that_breaks_off_is_gone_on_with_by_whoever_comes_next() {
    let pair = Pair::start().await;
    let sent = pair.a.begin_with(3, |bytes| Some(sha256(bytes))).await;
    pair.a.put_all(&sent, [2, 1, 0]).await;
    for _ in 0..2 {
        pair.store.next(Fault::BreaksOff);
    }
    assert_eq!(refusal(pair.a.finalize(&sent, None).await).0, "unavailable");
    assert_eq!(pair.a.state(&sent).await, UploadState::Finalizing);
    let (code, _) = refusal(pair.a.put(&sent, 0).await);
    assert_eq!(code, "upload-finalized");
    assert_eq!(refusal(pair.b.finalize(&sent, None).await).0, "unavailable");
    let file = pair.a.finalize(&sent, None).await.unwrap();
    assert_eq!(file.checksum(), sha256(&sent.bytes));
}
