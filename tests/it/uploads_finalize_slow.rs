//! A finalize that takes longer than a client waits for: 202, the work goes on, asking again tells how it ended.

use serde_json::json;

use crate::client::cifra;
use crate::harness::TestApp;
use crate::harness::api::{Answer, Api, CHUNK, chunk, sha256};
use crate::harness::gate::gated;
use crate::harness::process::until;
use crate::suites::bytes;

const SIZE: usize = 3 * CHUNK + 1_000;
const IMPATIENT: (&str, &str) = ("file_upload.finalize_wait", "50ms");
/// The SHA-256 is computed when it is declared, at the end, by reading everything back.
const HASHED_LATE: (&str, &str) = ("file_upload.checksum", "crc64nvme");

/// Asks again until it is told something else than to wait.
async fn settled(api: &Api, id: &str, checksum: &str) -> Answer {
    until("finalize has ended", async || {
        let answer = api.finalize_as(id, checksum).await.unwrap();
        (answer.status != 202).then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalize_that_takes_long_is_answered_and_goes_on() {
    let points = ["finish.after_claim", "finish.after_digests"];
    let (server, gates) = gated(&[IMPATIENT, HASHED_LATE], &points).await;
    let (api, content) = (&server.api, bytes(SIZE, 1));
    let id = api.create(SIZE).await;
    api.fill(&id, &content).await;
    for gate in &gates {
        gate.close();
    }
    for (gate, done) in gates.iter().zip([0, SIZE]) {
        let working = api.finalize_as(&id, &sha256(&content)).await.unwrap();
        gate.reached().await;
        assert_eq!(working.status, 202, "{working:?}");
        assert_eq!(working.location, Some(format!("/api/uploads/{id}")));
        assert_eq!(working.retry_after.as_deref(), Some("1"));
        assert_eq!(working.json["state"], "finalizing");
        assert_eq!(working.json["progress"]["total_bytes"], SIZE);
        let seen = api.upload(&id).await.unwrap().json;
        assert_eq!(seen["progress"], json!({ "done_bytes": done, "total_bytes": SIZE }));
        assert_eq!((&seen["state"], &seen["missing"]), (&json!("finalizing"), &json!([])));
        let late = api.put(&id, 0, chunk(&content, 0)).await.unwrap();
        assert_eq!(late.problem(), (409, "upload-finalized"));
        gate.open();
    }
    let done = settled(api, &id, &sha256(&content)).await;
    // Made for who asked first: 201 was theirs.
    assert_eq!((done.status, &done.json["checksum"]), (200, &json!(sha256(&content))));
    assert_eq!(api.upload(&id).await.unwrap().json.get("progress"), None);
    api.finish(&id, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_nobody_waited_for_is_told_by_the_upload_and_to_who_asks_again() {
    let (server, gates) = gated(&[IMPATIENT, HASHED_LATE], &["finish.after_claim"]).await;
    let (api, content) = (&server.api, bytes(SIZE, 2));
    let id = api.create(SIZE).await;
    api.fill(&id, &content).await;
    gates[0].close();
    let wrong = sha256(b"other bytes");
    assert_eq!(api.finalize_as(&id, &wrong).await.unwrap().status, 202);
    gates[0].reached().await;
    gates[0].open();
    let failed = until("it has failed", async || {
        let seen = api.upload(&id).await.unwrap().json;
        (seen["state"] == "receiving").then_some(seen)
    });
    assert!(failed.await["error"].as_str().unwrap().contains("declared"));
    let told = settled(api, &id, &wrong).await;
    assert_eq!(told.problem(), (422, "checksum-mismatch"));
    assert_eq!(told.json["chunks_replaceable"], true);
    settled(api, &id, &sha256(&content)).await;
    api.finish(&id, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_told_to_wait_gets_the_file_after_a_crash_too() {
    let (mut server, gates) = gated(&[IMPATIENT], &["finish.after_claim"]).await;
    let content = bytes(SIZE, 3);
    let id = server.api.create(SIZE).await;
    server.api.fill(&id, &content).await;
    gates[0].close();
    assert_eq!(server.api.finalize(&id).await.unwrap().status, 202);
    gates[0].reached().await;
    server.restart().await;
    let api = &server.api;
    until("the sweeper has finished it", async || {
        (api.upload(&id).await.unwrap().json["state"] == "completed").then_some(())
    })
    .await;
    assert_eq!(api.finalize(&id).await.unwrap().status, 200);
    api.finish(&id, &content).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_another_process_works_on_is_waited_for() {
    const HELD: &str = "UPDATE cifra_uploads SET state = 'finalizing', finish_node = id,
        finish_until = 9000000000000000, finish_fence = 7 WHERE state = 'receiving' RETURNING CAST(1 AS BIGINT)";
    const GONE: &str =
        "UPDATE cifra_uploads SET finish_until = 1 WHERE state = 'finalizing' RETURNING CAST(1 AS BIGINT)";
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    app.put_all(&upload).await;
    app.number_in_database(HELD).await;
    let held = app.finalize(&upload).await.expect(202);
    assert_eq!(held.header("location"), upload.path);
    assert_eq!(held.json()["state"], "finalizing");
    app.number_in_database(GONE).await;
    app.finalize(&upload).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_waits_for_the_file_and_tells_how_far_it_is() {
    let (server, gates) = gated(&[IMPATIENT, ("log.level", "debug")], &["finish.after_claim"]).await;
    let content = bytes(SIZE, 4);
    std::fs::write(server.beside("a.bin"), &content).unwrap();
    gates[0].close();
    let mut upload = cifra();
    upload.args(["upload", "--chunked-above", "0", "--server", server.api.url()]).arg(server.beside("a.bin"));
    upload.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let upload = upload.spawn().unwrap();
    gates[0].reached().await;
    // Whoever asks meanwhile is told to wait: so was the client, before or after.
    until("it was told to wait", async || {
        (server.log().matches("finalize answered 202").count() > 0).then_some(())
    })
    .await;
    gates[0].open();
    let output = upload.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the server is verifying the file: "), "{said}");
    let id = String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned();
    assert!(server.api.content(&id).await.unwrap() == content);
}
