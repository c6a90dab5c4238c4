//! Downloads from a store that has a bad day.

use std::time::{Duration, Instant};

use super::{begun, refused_in_time};
use crate::harness::cluster::Cluster;
use crate::harness::s3_faults::{Fault, INTERNAL_ERROR, SLOW_DOWN};
use crate::harness::s3_wire::Call;

/// A download that says how it ended: the status, how many bytes came, and whether it ended as announced.
async fn download(url: &str, range: Option<&str>) -> (u16, usize, bool) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.get(url);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    // Cut before its first byte it has not even a status.
    let Ok(mut response) = request.send().await else { return (0, 0, false) };
    let (status, mut bytes) = (response.status().as_u16(), 0);
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => bytes += piece.len(),
            Ok(None) => return (status, bytes, true),
            Err(_) => return (status, bytes, false),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_the_store_breaks_off_is_never_a_shorter_file() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let (id, content) = begun(api, 1).await;
    api.fill(&id, &content).await;
    api.finish(&id, &content).await;
    let url = format!("{}/api/files/{id}/content", api.url());
    for range in [None, Some("bytes=10-150000")] {
        for fault in
            [Fault::AnswerCut(70_000), Fault::AnswerCut(1), Fault::AnswerShort(70_000), Fault::AnswerShort(0)]
        {
            world.store.plan(Call::Get, &[fault]);
            let (status, bytes, whole) = download(&url, range).await;
            let honest = status >= 500 || !whole;
            // Going on where the store broke off is fine too.
            let healed = whole && bytes == range.map_or(content.len(), |_| 149_991);
            assert!(honest || healed, "{fault:?} {range:?}: {status}, {bytes} bytes, ended well: {whole}");
            world.store.heal();
        }
    }
    assert_eq!(download(&url, None).await, (200, content.len(), true));
    world.ends_empty(&[(id, content)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_waits_out_a_bad_moment_but_not_for_ever() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let (id, content) = begun(api, 1).await;
    api.fill(&id, &content).await;
    api.finish(&id, &content).await;
    for moment in [SLOW_DOWN, INTERNAL_ERROR, Fault::CutBefore] {
        world.store.plan(Call::Get, &[moment]);
        assert!(api.content(&id).await.unwrap() == content, "{moment:?}");
    }
    let path = format!("/api/files/{id}/content");
    for way in [SLOW_DOWN, Fault::CutBefore, Fault::Silent] {
        world.store.always(Call::Get, way);
        refused_in_time(api.get(&path), &format!("{way:?}")).await;
    }
    world.store.heal();
    world.ends_empty(&[(id, content)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_falls_silent_in_the_middle_of_a_download_does_not_hold_it_for_ever() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let (id, content) = begun(api, 1).await;
    api.fill(&id, &content).await;
    api.finish(&id, &content).await;
    world.store.plan(Call::Get, &[Fault::AnswerStalled(70_000)]);
    let begun = Instant::now();
    let (status, bytes, whole) = download(&format!("{}/api/files/{id}/content", api.url()), None).await;
    assert!(status == 200 && !whole && bytes <= 70_000, "{status}, {bytes} bytes, ended well: {whole}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    world.ends_empty(&[(id, content)]).await;
}
