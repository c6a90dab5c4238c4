//! `PUT /api/uploads/{id}/chunks/{index}`: receipts, repeats, replacements, and every refusal.

use std::collections::HashSet;

use cifra::config::{ChecksumPolicy, Durability};
use serde_json::json;
use sha2::{Digest, Sha512};

use crate::harness::{NOBODY, Raw, TestApp, content_digest, crc64_header, crc64_text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_gets_a_receipt_and_counts() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(3).await;
    let receipt = app.put_chunk(&upload, 2).await.expect(200).json();
    let last = upload.chunk(2);
    assert_eq!(
        receipt,
        json!({
            "upload_id": upload.id, "index": 2, "size": last.len(), "checksum": crc64_text(last),
            "received_bytes": last.len(), "received_chunks": 1, "chunk_count": 3,
        })
    );
    let status = app.status(&upload).await;
    assert_eq!((&status["missing"], &status["missing_count"]), (&json!([[0, 1]]), &json!(2)));
    assert_eq!((&status["offset"], &status["received_bytes"]), (&json!(0), &json!(last.len())));
    app.put_chunk(&upload, 0).await.expect(200);
    assert_eq!(app.status(&upload).await["offset"], upload.chunk_size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_may_come_at_once_and_in_any_order() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(9).await;
    let order = [7, 0, 3, 8, 1, 5, 2, 6, 4];
    let answers = futures_util::future::join_all(order.map(|index| app.put_chunk(&upload, index))).await;
    let counts: HashSet<u64> = answers
        .into_iter()
        .map(|answer| answer.expect(200).json()["received_chunks"].as_u64().unwrap())
        .collect();
    assert_eq!(counts.len(), 9, "each chunk counted once: {counts:?}");
    app.finalize(&upload).await.expect(201);
    assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retrying_the_same_part_returns_the_same_receipt() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let first = app.put_chunk(&upload, 0).await.expect(200).json();
    let before = app.status(&upload).await;
    assert_eq!(app.put_chunk(&upload, 0).await.expect(200).json(), first);
    assert_eq!(app.status(&upload).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_bytes_for_an_accepted_chunk_are_a_conflict() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_chunk(&upload, 0).await.expect(200);
    let before = app.status(&upload).await;
    let other = vec![7; upload.chunk_size];
    let problem = app.put(&upload.chunk_path(0), &other).await.problem(409, "chunk-conflict");
    assert_eq!(problem["accepted"], crc64_text(upload.chunk(0)));
    assert_eq!(problem["received"], crc64_text(&other));
    assert_eq!(app.status(&upload).await, before);
    app.put_chunk(&upload, 1).await.expect(200);
    app.finalize(&upload).await.expect(201);
    assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_chunk_is_replaced_only_when_asked() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let wrong = vec![7; upload.chunk_size];
    let path = upload.chunk_path(0);
    app.put(&path, &wrong).await.expect(200);
    app.put_chunk(&upload, 1).await.expect(200);
    app.put(&format!("{path}?replace=maybe"), upload.chunk(0)).await.problem(400, "invalid-request");
    app.put(&format!("{path}?replace=false"), upload.chunk(0)).await.problem(409, "chunk-conflict");
    let receipt = app.put(&format!("{path}?replace=true"), upload.chunk(0)).await.expect(200).json();
    assert_eq!(receipt["checksum"], crc64_text(upload.chunk(0)));
    assert_eq!(
        (&receipt["received_chunks"], &receipt["received_bytes"]),
        (&json!(2), &json!(upload.bytes.len()))
    );
    let file = app.finalize(&upload).await.expect(201).json();
    assert_eq!(file["crc64nvme"], crc64_text(&upload.bytes));
    if app.on_a_folder() {
        assert_eq!(file["checksum"], crate::harness::sha256_text(&upload.bytes));
    }
    assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_that_fails_leaves_the_chunk_missing() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_all(&upload).await;
    let path = format!("{}?replace=true", upload.chunk_path(0));
    let digest = [("content-digest", content_digest(b"something else"))];
    let digest = [(digest[0].0, digest[0].1.as_str())];
    app.put_with(&path, &digest, upload.chunk(0)).await.problem(422, "checksum-mismatch");
    let status = app.status(&upload).await;
    assert_eq!((&status["missing"], &status["missing_count"]), (&json!([[0, 0]]), &json!(1)));
    assert_eq!(status["offset"], 0);
    app.finalize(&upload).await.problem(409, "upload-incomplete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_for_one_chunk_one_wins() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(1).await;
    let line = format!("PUT {}", upload.chunk_path(0));
    let length = format!("Content-Length: {}", upload.bytes.len());
    let mut slow = Raw::to(&app).await;
    // The first has been asked for its body: it has the claim.
    slow.head(&line, &[&length, "Expect: 100-continue"]).await;
    assert_eq!(slow.answer().await.unwrap().status, 100);

    let refused = app.put(&upload.chunk_path(0), &vec![9; upload.bytes.len()]).await;
    refused.problem(409, "chunk-busy");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);

    slow.send(&upload.bytes).await;
    slow.answer().await.unwrap().expect(200);
    app.finalize(&upload).await.expect(201);
    assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_chunk_from_many_is_one_of_them_never_a_mixture() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(1).await;
    let bodies: Vec<Vec<u8>> = (0..8).map(|n| vec![n; upload.bytes.len()]).collect();
    let path = upload.chunk_path(0);
    let answers = futures_util::future::join_all(bodies.iter().map(|body| app.put(&path, body))).await;
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    let code = |status: u16, code: &str| (status, code.to_owned());
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let got = (answer.status, problem["code"].as_str().unwrap().to_owned());
        assert!([code(409, "chunk-busy"), code(409, "chunk-conflict")].contains(&got), "{got:?}");
    }
    app.finalize(&upload).await.expect(201);
    let content = app.get(&upload.content_path()).await.body;
    assert_eq!(crc64_text(&content), winners[0].json()["checksum"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_none_is_refused() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let before = app.status(&upload).await;
    for index in ["+5", "-1", "01", "00", "99999999999", "1.0", "0x1", "a", "%20", "1%00", "..%2f..%2f"] {
        let path = format!("{}/chunks/{index}", upload.path);
        app.put(&path, upload.chunk(0)).await.problem(400, "invalid-request");
    }
    for index in [2, 3, usize::try_from(u32::MAX).unwrap()] {
        let problem =
            app.put(&upload.chunk_path(index), upload.chunk(0)).await.problem(400, "chunk-out-of-range");
        assert_eq!(problem["chunk_count"], 2);
    }
    app.put(&format!("{}?index=1", upload.chunk_path(0)), upload.chunk(0))
        .await
        .problem(400, "invalid-request");
    assert_eq!(app.status(&upload).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_upload_has_no_chunks() {
    let app = TestApp::start().await;
    app.put(&format!("/api/uploads/{NOBODY}/chunks/0"), b"x").await.problem(404, "upload-not-found");
    app.put("/api/uploads/nonsense/chunks/0", b"x").await.problem(400, "invalid-request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_another_size_is_refused_with_both_sizes() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let before = app.status(&upload).await;
    let last = upload.chunk(1).len();
    for (index, expected, received) in [
        (0, upload.chunk_size, upload.chunk_size - 1),
        (0, upload.chunk_size, upload.chunk_size + 1),
        (0, upload.chunk_size, 0),
        (1, last, last - 1),
        (1, last, upload.chunk_size),
    ] {
        let problem = app.put(&upload.chunk_path(index), &vec![1; received]).await;
        let problem = problem.problem(422, "chunk-size-mismatch");
        assert_eq!(problem["expected_size"], expected);
        assert_eq!(problem["received_size"], received);
    }
    assert_eq!(app.status(&upload).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declared_digests_are_verified() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let (path, chunk) = (upload.chunk_path(0), upload.chunk(0));
    let before = app.status(&upload).await;
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    let crc32c = |bytes: &[u8]| {
        let value = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
        format!("crc32c=:{}:", encode(&u32::try_from(value).unwrap().to_be_bytes()))
    };
    let sha512 = |bytes: &[u8]| format!("sha-512=:{}:", encode(&Sha512::digest(bytes)));
    for (header, wrong, algorithm) in [
        ("content-digest", content_digest(b"x"), "sha256"),
        ("content-digest", sha512(b"x"), "sha512"),
        ("content-digest", crc32c(b"x"), "crc32c"),
        ("content-digest", format!("{}, {}", content_digest(chunk), sha512(b"x")), "sha512"),
        ("x-checksum-crc64nvme", crc64_header(b"x"), "crc64nvme"),
    ] {
        let problem = app.put_with(&path, &[(header, &wrong)], chunk).await.problem(422, "checksum-mismatch");
        assert_eq!(problem["algorithm"], algorithm);
        for member in ["expected", "actual"] {
            assert!(problem[member].as_str().unwrap().starts_with(&format!("{algorithm}:")), "{problem}");
        }
        assert_ne!(problem["expected"], problem["actual"]);
        assert_eq!(app.status(&upload).await, before);
    }
    let all = format!("{}, {}, md5=:AAAA:, {}", content_digest(chunk), sha512(chunk), crc32c(chunk));
    let headers = [("content-digest", all.as_str()), ("x-checksum-crc64nvme", &crc64_header(chunk))];
    app.put_with(&path, &headers, chunk).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_with_a_wrong_digest_is_refused_as_a_mismatch() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(1).await;
    app.put_chunk(&upload, 0).await.expect(200);
    let wrong = content_digest(b"x");
    let answer = app.put_with(&upload.chunk_path(0), &[("content-digest", &wrong)], upload.chunk(0)).await;
    answer.problem(422, "checksum-mismatch");
    assert_eq!(app.status(&upload).await["received_chunks"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_that_cannot_be_read_is_refused_before_the_body() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let before = app.status(&upload).await;
    let both = format!("{}, {}", content_digest(b"a"), content_digest(b"b"));
    let length = format!("Content-Length: {}", upload.chunk_size);
    for header in [
        "Content-Digest: sha-256=:not base64:",
        "Content-Digest: sha-256=:AAAA:",
        "Content-Digest: sha-256=abc",
        "Content-Digest: sha-256",
        "Content-Digest: md5=:1B2M2Y8AsgTpgAmY7PhCfg==:",
        "Content-Digest:",
        "Content-Digest: =:",
        &format!("Content-Digest: {both}"),
        "X-Checksum-Crc64nvme: AAAA",
        "X-Checksum-Crc64nvme: ????????",
        "X-Checksum-Crc64nvme:",
    ] {
        let mut raw = Raw::to(&app).await;
        raw.head(&format!("PUT {}", upload.chunk_path(0)), &[&length, header]).await;
        raw.answer().await.unwrap().problem(400, "invalid-digest");
    }
    assert_eq!(app.status(&upload).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_may_be_demanded() {
    let app =
        TestApp::builder().with(|config| config.file_upload.require_chunk_checksum = true).start().await;
    let upload = app.upload_of_chunks(1).await;
    app.put_chunk(&upload, 0).await.problem(400, "invalid-digest");
    assert_eq!(app.status(&upload).await["received_chunks"], 0);
    let digest = crc64_header(upload.chunk(0));
    let headers = [("x-checksum-crc64nvme", digest.as_str())];
    app.put_with(&upload.chunk_path(0), &headers, upload.chunk(0)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_cut_in_the_middle_blocks_nobody() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let before = app.status(&upload).await;
    let mut raw = Raw::to(&app).await;
    let length = format!("Content-Length: {}", upload.chunk_size);
    raw.head(&format!("PUT {}", upload.chunk_path(0)), &[&length, "Expect: 100-continue"]).await;
    assert_eq!(raw.answer().await.unwrap().status, 100);
    raw.send(&vec![9; upload.chunk_size / 2]).await;
    drop(raw);
    assert_eq!(app.status(&upload).await, before);
    app.put_chunk(&upload, 1).await.expect(200);
    // Its claim ends as soon as the service sees the end of the connection.
    loop {
        let answer = app.put_chunk(&upload, 0).await;
        if answer.status == 200 {
            break;
        }
        answer.problem(409, "chunk-busy");
    }
    app.finalize(&upload).await.expect(201);
    assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_says_whether_its_bytes_were_flushed() {
    for (durability, synced) in [(Durability::None, 0), (Durability::Finalize, 0), (Durability::Chunk, 1)] {
        let app = TestApp::builder().with(|config| config.file_upload.durability = durability).start().await;
        let upload = app.upload_of_chunks(3).await;
        app.put_chunk(&upload, 0).await.expect(200);
        app.put_chunk(&upload, 2).await.expect(200);
        let flushed = app
            .number_in_database("SELECT COUNT(*) FROM cifra_upload_parts WHERE synced AND boot IS NOT NULL");
        let synced = if app.on_a_folder() { synced } else { 1 }; // what an object store has taken, it keeps
        assert_eq!(flushed.await, 2 * synced, "{durability:?}");
        app.put_chunk(&upload, 1).await.expect(200);
        app.finalize(&upload).await.expect(201);
        assert_eq!(app.get(&upload.content_path()).await.body, upload.bytes, "{durability:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checksum_policy_decides_what_a_file_is_known_by() {
    for policy in [ChecksumPolicy::Auto, ChecksumPolicy::Sha256, ChecksumPolicy::Crc64Nvme] {
        let app = TestApp::builder().with(|config| config.file_upload.checksum = policy).start().await;
        let upload = app.upload_of_chunks(3).await;
        for index in [2, 0, 1] {
            app.put_chunk(&upload, index).await.expect(200);
        }
        let file = app.finalize(&upload).await.expect(201).json();
        let expected = match policy {
            ChecksumPolicy::Crc64Nvme => crc64_text(&upload.bytes),
            // An object store would have to give everything back for it.
            ChecksumPolicy::Auto if !app.on_a_folder() => crc64_text(&upload.bytes),
            _ => crate::harness::sha256_text(&upload.bytes),
        };
        assert_eq!(file["checksum"], expected, "{policy:?}");
        assert_eq!(file["crc64nvme"], crc64_text(&upload.bytes), "{policy:?}");
    }
}
