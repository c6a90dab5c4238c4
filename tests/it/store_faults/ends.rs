//! Uploads that end while the store has a bad day.

use futures_util::future::join_all;

use super::{begun, ends_well, refused_in_time, taken};
use crate::harness::api::{chunk, ranges};
use crate::harness::cluster::Cluster;
use crate::harness::process::until;
use crate::harness::s3_faults::{Fault, INTERNAL_ERROR, SLOW_DOWN};
use crate::harness::s3_wire::Call;

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_moment_of_the_store_does_not_keep_an_upload_from_its_end() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let moments: &[(Call, &[Fault])] = &[
        // A 200 with an error in it: nothing was done; or it was.
        (Call::Complete, &[Fault::Refused(200, "InternalError")]),
        (Call::Complete, &[Fault::Answered(200, "InternalError")]),
        (Call::Complete, &[SLOW_DOWN, INTERNAL_ERROR]),
        (Call::Complete, &[Fault::CutBefore]),
        (Call::Complete, &[Fault::CutInBody(10)]),
        // It did happen and the answer is lost: the next one is `NoSuchUpload`.
        (Call::Complete, &[Fault::CutAfter]),
        (Call::Complete, &[Fault::AnswerCut(10)]),
        (Call::Complete, &[Fault::CutAfter, SLOW_DOWN]),
        (Call::Head, &[SLOW_DOWN]),
        (Call::Head, &[Fault::CutAfter]),
        (Call::Get, &[SLOW_DOWN]),
    ];
    let mut uploads = Vec::new();
    for (seed, (call, moment)) in moments.iter().enumerate() {
        eprintln!("{call:?} meets with {moment:?}");
        let (id, content) = begun(api, seed as u64).await;
        api.fill(&id, &content).await;
        world.store.plan(*call, moment);
        let done = api.finalize(&id).await.unwrap();
        assert_eq!(done.status, 201, "{call:?} {moment:?}: {done:?}");
        let again = api.finalize(&id).await.unwrap();
        assert_eq!((again.status, &again.json), (200, &done.json), "{call:?} {moment:?}");
        assert!(api.content(&id).await.unwrap() == content, "{call:?} {moment:?}");
        uploads.push((id, content));
        world.store.heal();
    }
    world.ends_empty(&uploads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_at_the_end_is_told_in_time_and_the_end_can_be_repeated() {
    let ways = [
        (Call::Complete, SLOW_DOWN),
        (Call::Complete, Fault::Refused(200, "InternalError")),
        (Call::Complete, Fault::CutBefore),
        (Call::Complete, Fault::CutAfter),
        (Call::Head, Fault::Silent),
    ];
    let all = ways.map(async |(call, way)| {
        let what = format!("{call:?} {way:?}");
        let world = Cluster::alone(&[]).await;
        let api = world.api(0);
        let (id, content) = begun(api, 1).await;
        api.fill(&id, &content).await;
        world.store.always(call, way);
        if (call, way) == (Call::Complete, Fault::CutAfter) {
            // It did happen, and the store says so when it is asked.
            assert_eq!(api.finalize(&id).await.unwrap().status, 201, "{what}");
        } else {
            refused_in_time(api.finalize(&id), &what).await;
            assert_eq!(api.content(&id).await, None, "{what}");
        }
        assert!(world.store.seen(Call::Complete) <= 10, "{what}: {} tries", world.store.seen(Call::Complete));
        world.store.heal();
        api.finish(&id, &content).await;
        world.ends_empty(&[(id, content)]).await;
    });
    join_all(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_does_not_wait_for_a_store_that_takes_its_time_with_the_end() {
    let world = Cluster::alone(&[("file_upload.finalize_wait", "500ms")]).await;
    let api = world.api(0);
    let (id, content) = begun(api, 1).await;
    api.fill(&id, &content).await;
    world.store.plan(Call::Complete, &[Fault::AnswerHeld]);
    let later = api.finalize(&id).await.unwrap();
    assert_eq!((later.status, &later.json["state"]), (202, &"finalizing".into()), "{later:?}");
    assert!(later.retry_after.is_some());
    world.store.holds(1).await;
    world.store.release();
    until("the end is there", async || (api.finalize(&id).await.unwrap().status == 200).then_some(())).await;
    world.ends_empty(&[(id, content)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_not_what_its_tag_says_is_asked_for_again_and_no_other() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let (id, content) = begun(api, 1).await;
    world.store.plan(Call::UploadPart, &[Fault::OtherTag]);
    taken(api.put(&id, 1, chunk(&content, 1)).await, "the part whose tag is another");
    api.fill(&id, &content).await;
    let refused = api.finalize(&id).await.unwrap();
    assert_eq!(refused.problem(), (409, "upload-incomplete"), "{refused:?}");
    assert_eq!((ranges(&refused.json["missing"]), &refused.json["missing_count"]), (vec![1], &1.into()));
    assert_eq!(api.missing(&id).await, [1]);
    taken(api.put(&id, 1, chunk(&content, 1)).await, "the same part again");
    ends_well(world, vec![(id, content)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_says_once_that_a_part_is_wrong_is_not_believed_blindly() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let (id, content) = begun(api, 1).await;
    api.fill(&id, &content).await;
    world.store.plan(Call::Complete, &[Fault::Refused(400, "InvalidPart")]);
    // All parts are there as tagged: nothing is withdrawn that stands, and the end can be repeated.
    assert_eq!(api.finalize(&id).await.unwrap().status, 201);
    api.finish(&id, &content).await;
    assert_eq!(world.store.seen(Call::UploadPart), 4, "a chunk was sent again");
    world.ends_empty(&[(id, content)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_parts_and_finds_nothing_wrong_gets_all_of_them_again() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let (id, content) = begun(api, 1).await;
    api.fill(&id, &content).await;
    world.store.always(Call::Complete, Fault::Refused(400, "InvalidPart"));
    let refused = api.finalize(&id).await.unwrap();
    assert_eq!(refused.problem(), (409, "upload-incomplete"), "{refused:?}");
    assert_eq!(api.missing(&id).await, [0, 1, 2, 3]);
    world.store.heal();
    api.fill(&id, &content).await;
    api.finish(&id, &content).await;
    world.ends_empty(&[(id, content)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_upload_s_fault_ends_no_upload() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    // Something before the store that has lost its way to it; rights that an operator took away.
    let ways = [Fault::Refused(404, ""), Fault::Refused(403, "AccessDenied")];
    let mut uploads = Vec::new();
    for (seed, way) in ways.into_iter().enumerate() {
        let (id, content) = begun(api, seed as u64).await;
        world.store.always(Call::UploadPart, way);
        let away = api.put(&id, 1, chunk(&content, 1)).await.unwrap();
        assert_eq!(away.problem(), (503, "unavailable"), "{way:?}: {away:?}");
        world.store.heal();
        api.fill(&id, &content).await;
        world.store.always(Call::Complete, way);
        let away = api.finalize(&id).await.unwrap();
        assert_eq!(away.problem(), (503, "unavailable"), "{way:?}: {away:?}");
        world.store.heal();
        api.finish(&id, &content).await;
        uploads.push((id, content));
    }
    world.ends_empty(&uploads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_store_dropped_before_its_end_is_gone() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let (id, content) = begun(api, 1).await;
    api.fill(&id, &content).await;
    assert_eq!(world.folder.abort(|_| true).await, 1);
    let gone = api.finalize(&id).await.unwrap();
    assert_eq!(gone.problem(), (410, "upload-gone"), "{gone:?}");
    assert_eq!(api.upload(&id).await.unwrap().problem(), (410, "upload-gone"));
    assert_eq!(api.content(&id).await, None);
    world.ends_empty(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_can_be_aborted_while_the_store_is_away() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    for way in [SLOW_DOWN, Fault::CutBefore, Fault::CutAfter] {
        let (id, content) = begun(api, 1).await;
        world.store.always(Call::Abort, way);
        assert_eq!(api.abort(&id).await.unwrap().status, 204, "{way:?}");
        assert_eq!(api.put(&id, 1, chunk(&content, 1)).await.unwrap().status, 410, "{way:?}");
    }
    world.ends_empty(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_needs_no_parts() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let wanted = serde_json::json!({ "filename": "empty", "total_size": 0 });
    let id = api.create_as(&wanted).await.unwrap().json["upload_id"].as_str().unwrap().to_owned();
    world.store.plan(Call::Put, &[SLOW_DOWN, Fault::CutAfter]);
    let content = bytes::Bytes::new();
    api.finish(&id, &content).await;
    world.ends_empty(&[(id, content)]).await;
}
