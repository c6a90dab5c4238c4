//! Uploads that begin, and files that come in one request, while the store has a bad day; and a store that is quite away.

use serde_json::json;

use super::{begun, ends_well, refused_in_time};
use crate::harness::api::{CHUNK, chunk};
use crate::harness::cluster::Cluster;
use crate::harness::process::until;
use crate::harness::s3_faults::{Fault, INTERNAL_ERROR, SLOW_DOWN};
use crate::harness::s3_wire::Call;
use crate::suites::bytes;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_begins_when_the_store_can_begin_it() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let wanted = json!({ "filename": "a.bin", "total_size": 3 * CHUNK, "chunk_size": CHUNK });
    world.store.plan(Call::CreateUpload, &[SLOW_DOWN, INTERNAL_ERROR]);
    let created = api.create_as(&wanted).await.unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.json["upload_id"].as_str().unwrap().to_owned();
    for way in [SLOW_DOWN, Fault::CutBefore] {
        world.store.always(Call::CreateUpload, way);
        refused_in_time(api.create_as(&wanted), &format!("{way:?}")).await;
    }
    assert_eq!(world.rows.count("SELECT COUNT(*) FROM cifra_uploads").await, 1);
    ends_well(world, vec![(id, bytes(3 * CHUNK, 1))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_one_request_is_there_or_it_is_not() {
    let world = Cluster::alone(&[]).await;
    let api = world.api(0);
    let content = bytes(300_000, 1);
    let mut files = Vec::new();
    for moment in [SLOW_DOWN, INTERNAL_ERROR, Fault::CutBefore, Fault::CutInBody(100), Fault::CutAfter] {
        world.store.plan(Call::Put, &[moment]);
        world.store.plan(Call::UploadPart, &[moment]);
        let created = api.create_file("a.bin", &content).await.unwrap();
        assert_eq!(created.status, 201, "{moment:?}: {created:?}");
        files.push((created.json["id"].as_str().unwrap().to_owned(), content.clone()));
        world.store.heal();
    }
    let there = world.rows.count("SELECT COUNT(*) FROM cifra_files").await;
    for way in [SLOW_DOWN, Fault::CutBefore, Fault::CutAfter, Fault::Silent] {
        world.store.always(Call::Put, way);
        world.store.always(Call::UploadPart, way);
        refused_in_time(api.create_file("a.bin", &content), &format!("{way:?}")).await;
        world.store.heal();
    }
    assert_eq!(world.rows.count("SELECT COUNT(*) FROM cifra_files").await, there);
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_quite_away_is_told_by_every_call_and_by_readyz() {
    for way in [Fault::Silent, Fault::CutBefore] {
        let world = Cluster::alone(&[]).await;
        let api = world.api(0);
        let (id, content) = begun(api, 1).await;
        let (other, _) = begun(api, 2).await;
        let file = api.file(&content).await;
        world.store.everything(way);
        let wanted = json!({ "filename": "a.bin", "total_size": 3 * CHUNK, "chunk_size": CHUNK });
        let path = format!("/api/files/{file}/content");
        tokio::join!(
            refused_in_time(api.create_as(&wanted), "an upload begins"),
            refused_in_time(api.put(&id, 1, chunk(&content, 1)), "a chunk"),
            refused_in_time(api.create_file("a.bin", &content), "a file"),
            refused_in_time(api.get(&path), "a download"),
            async {
                // What is only rows goes on.
                assert_eq!(api.abort(&other).await.unwrap().status, 204);
                assert_eq!(api.missing(&id).await, [1, 2, 3]);
                assert_eq!(api.get(&format!("/api/files/{file}")).await.unwrap().status, 200);
            },
        );
        let ready = until("readyz tells it", async || {
            let ready = api.get("/readyz").await.unwrap();
            (ready.status == 503).then_some(ready)
        });
        assert_eq!(ready.await.json["checks"]["store"]["status"], "away");
        assert_eq!(api.get("/healthz").await.unwrap().status, 200);
        world.store.heal();
        until("it is ready again", async || (api.get("/readyz").await.unwrap().status == 200).then_some(()))
            .await;
        assert!(api.content(&file).await.unwrap() == content);
        assert_eq!(api.delete_file(&file).await.unwrap().status, 204);
        ends_well(world, vec![(id, content)]).await;
    }
}
