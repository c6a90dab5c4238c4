//! The corpus through HTTP, at a server in a process of its own whose memory is limited: it neither ends, nor hangs,
//! nor answers that it is broken, and answers others meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cifra::base::media_type::{HEAD_BYTES, decide_strictly};
use cifra::imaging::{Reason, probe};
use futures_util::StreamExt;

use super::case::{Case, Expected, MEMORY_MAX, PAYLOAD};
use crate::harness::api::{Answer, Api};
use crate::harness::process::{Server, until};

/// Beside what pictures may take: threads' stacks, bodies on their way, the database's cache, what the allocator
/// keeps for the next picture. Half of what one picture may take: two that were let in without a price would not fit.
const SLACK: u64 = MEMORY_MAX / 2;

/// What the cache's first tier may grow to, which is empty when the idle server is looked at.
const CACHE: u64 = 64 << 20;

/// What all of them are said to be.
const CLAIM: &str = "image/png";

/// Sent at once.
const AT_ONCE: usize = 6;

/// Nobody waits for an answer for longer.
const PATIENCE: Duration = Duration::from_mins(2);

/// What one case came to, if it is not what was expected.
async fn fault(api: &Api, case: &Case) -> Option<String> {
    // The name and the type are wrong for nearly all of them.
    let created = api.create_claimed("picture.webp", CLAIM, case.bytes.clone()).await.ok()?;
    if created.status != 201 {
        return Some(format!("it was not taken: {created:?}"));
    }
    let path = format!("/api/files/{}/thumbnails/large", created.json["id"].as_str()?);
    let begun = Instant::now();
    let (answer, body) = loop {
        let asked = Instant::now();
        let Ok((answer, body)) = api.bytes(&path).await else { return Some("no answer came".to_owned()) };
        if asked.elapsed() > PATIENCE / 2 || begun.elapsed() > PATIENCE {
            return Some(format!("it hangs, at last with {}", answer.status));
        }
        if answer.status != 503 {
            break (answer, body);
        }
        if answer.problem() != (503, "overloaded") || answer.retry_after.is_none() {
            return Some(format!("it is broken: {answer:?}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let _ = api.delete_file(created.json["id"].as_str()?).await;
    wrong(case, &answer, &body)
}

fn wrong(case: &Case, answer: &Answer, body: &Bytes) -> Option<String> {
    let expected: &[u16] = match case.expected {
        Expected::Made(..) => &[200],
        Expected::Slow(..) | Expected::Broken => &[200, 415, 422],
        Expected::Refused(Reason::Corrupt) => &[422],
        Expected::Refused(Reason::TooLarge) => &[413],
        Expected::Refused(_) => &[415],
        Expected::Anything => &[200, 413, 415, 422],
    };
    // What is stored as something else is not tried, whatever a decoder would make of it.
    let head = &case.bytes[..case.bytes.len().min(HEAD_BYTES)];
    if answer.status == 415 && !decide_strictly(head, Some(CLAIM)).starts_with("image/") {
        return None;
    }
    if !expected.contains(&answer.status) {
        return Some(format!("expected {:?}, got {answer:?}", case.expected));
    }
    if answer.status == 200 && probe(body).is_err() {
        return Some("the thumbnail is no picture".to_owned());
    }
    body.windows(PAYLOAD.len()).any(|window| window == PAYLOAD).then(|| "it has the payload".to_owned())
}

/// Asks whether the server is well until it is told to stop; how long the longest answer took.
async fn ask_meanwhile(api: &Api, stop: &AtomicBool) -> Duration {
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        assert_eq!(api.get("/healthz").await.unwrap().status, 200);
        longest = longest.max(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    longest
}

/// Sends all of these kinds, several at a time; what went wrong.
async fn send(api: &Api, kinds: &[&str], sent: &AtomicBool) -> Vec<String> {
    let mut faults = Vec::new();
    for kind in kinds {
        let told = async |case: Case| fault(api, &case).await.map(|fault| format!("{}: {fault}", case.name));
        let mut all = futures_util::stream::iter(super::cases(kind)).map(told).buffer_unordered(AT_ONCE);
        while let Some(fault) = all.next().await {
            faults.extend(fault);
        }
    }
    sent.store(true, Ordering::Relaxed);
    faults
}

async fn check(kinds: &[&str]) {
    let mut server = Server::new();
    server.set("thumbnails.memory", &MEMORY_MAX.to_string());
    server.set("thumbnails.threads", "2");
    server.set("thumbnails.timeout", "20s");
    server.begin(None).await;
    let (idle, resident) = (server.memory("VmData:"), server.memory("VmRSS:"));
    server.limit_memory(idle + MEMORY_MAX + SLACK + CACHE);
    let sent = AtomicBool::new(false);
    let (faults, longest) = tokio::join!(send(&server.api, kinds, &sent), ask_meanwhile(&server.api, &sent));
    let peak = server.memory("VmHWM:");
    eprintln!(
        "idle {} MiB of data, {} MiB resident; peak {} MiB resident; health answered within {longest:?}",
        idle >> 20,
        resident >> 20,
        peak >> 20,
    );
    assert!(faults.is_empty(), "{}:\n{}", faults.len(), faults.join("\n"));
    assert!(peak < resident + MEMORY_MAX + SLACK, "{} MiB", peak >> 20);
    assert!(longest < Duration::from_secs(5), "health was answered after {longest:?}");
    // The same process as in the beginning: nobody started another one.
    until("it is still there", async || (server.api.get("/readyz").await.ok()?.status == 200).then_some(()))
        .await;
    let (status, _) = server.stop().await;
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_picture_takes_the_server_down_or_more_memory_than_it_may_have() {
    check(&["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "other"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute: what is cut off, changed, and broken beside the pixels comes to the same with less"]
async fn soak_no_picture_of_them_all_takes_the_server_down() {
    check(&["Exif", "profile", "cut", "changed", "JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"]).await;
}
