//! `kill -9` at every step that touches an object store: what was acknowledged is there, nothing half is visible, and
//! nothing stays in the bucket. `crash_points` has the same for a local store, and holds the tables complete.

use crate::harness::api::{CHUNK, chunk};
use crate::harness::cluster::Cluster;
use crate::suites::bytes;

use super::{begun, taken};

/// Steps that object stores have; the last one is in `object_uploads::read_back`.
pub(crate) const OF_OBJECT_STORES: &[&str] = &[
    "blob.object.before_complete",
    "blob.object.after_complete",
    "blob.object.before_abort",
    "blob.object.after_abort",
    "finish.read_back",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_on_the_way_of_a_chunk_loses_nothing() {
    let mut world = Cluster::alone(&[]).await;
    let mut files = Vec::new();
    let points = [
        ("chunk.before_write", false),
        ("chunk.after_write", false),
        ("chunk.after_journal", true),
        ("chunk.before_withdraw", true),
        ("chunk.after_withdraw", false),
    ];
    for (seed, (point, there)) in (1..).zip(points) {
        eprintln!("killed at {point}");
        let (id, content) = begun(world.api(0), seed).await;
        let other = bytes(content.len(), 99);
        let replaced = point.ends_with("withdraw");
        if replaced {
            taken(world.api(0).put(&id, 1, chunk(&other, 1)).await, point);
        }
        restart_with(&mut world, point).await;
        let api = world.api(0);
        let cut = if replaced {
            api.replace(&id, 1, chunk(&content, 1)).await
        } else {
            api.put(&id, 1, chunk(&content, 1)).await
        };
        cut.unwrap_err();
        heal(&mut world).await;
        let api = world.api(0);
        let missing: &[usize] = if there { &[2, 3] } else { &[1, 2, 3] };
        assert_eq!(api.missing(&id).await, missing, "{point}");
        taken(api.replace(&id, 1, chunk(&content, 1)).await, point);
        api.fill(&id, &content).await;
        api.finish(&id, &content).await;
        files.push((id, content));
    }
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_on_the_way_of_an_end_loses_nothing() {
    let mut world = Cluster::alone(&[]).await;
    let mut files = Vec::new();
    let points = [
        "finish.after_claim",
        "finish.after_digests",
        "blob.object.before_complete",
        "blob.object.after_complete",
        "finish.after_store",
        "finish.after_commit",
    ];
    for (seed, point) in (1..).zip(points) {
        eprintln!("killed at {point}");
        let (id, content) = begun(world.api(0), seed).await;
        world.api(0).fill(&id, &content).await;
        restart_with(&mut world, point).await;
        world.api(0).finalize(&id).await.unwrap_err();
        heal(&mut world).await;
        let seen = world.api(0).content(&id).await;
        assert!(seen.is_none_or(|seen| seen == content), "{point}: a half file is visible");
        world.api(0).finish(&id, &content).await;
        files.push((id, content));
    }
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_an_upload_is_dropped_leaves_nothing() {
    let mut world = Cluster::alone(&[]).await;
    for point in ["blob.object.before_abort", "blob.object.after_abort"] {
        eprintln!("killed at {point}");
        let (id, _) = begun(world.api(0), 1).await;
        restart_with(&mut world, point).await;
        world.api(0).abort(&id).await.unwrap_err();
        heal(&mut world).await;
        assert_eq!(world.api(0).upload(&id).await.unwrap().json["state"], "aborted", "{point}");
        world.leaves_nothing().await;
    }
    for point in
        ["sweep.before_expire", "sweep.after_expire", "blob.object.before_abort", "blob.object.after_abort"]
    {
        eprintln!("expired, killed at {point}");
        let (id, _) = begun(world.api(0), 1).await;
        world.nodes[0].kill9();
        world.rows.change("UPDATE cifra_uploads SET expires_at = 1 WHERE state = 'receiving'").await;
        world.nodes[0].launch(Some(&format!("{point}=kill")));
        heal(&mut world).await;
        world.leaves_nothing().await;
        assert_eq!(world.api(0).upload(&id).await.unwrap().json["state"], "expired", "{point}");
    }
    world.ends_empty(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_file_is_deleted_leaves_nothing() {
    let mut world = Cluster::alone(&[]).await;
    let content = bytes(3 * CHUNK, 1);
    for point in ["delete.before_commit", "delete.after_commit", "delete.after_unlink"] {
        eprintln!("killed at {point}");
        let id = world.api(0).file(&content).await;
        if point == "delete.after_unlink" {
            // Its bytes go an hour later.
            assert_eq!(world.api(0).delete_file(&id).await.unwrap().status, 204);
            world.nodes[0].kill9();
            world.lapse_deletions().await;
            world.nodes[0].launch(Some(&format!("{point}=kill")));
        } else {
            restart_with(&mut world, point).await;
            drop(world.api(0).delete_file(&id).await);
        }
        heal(&mut world).await;
        if point == "delete.before_commit" {
            assert!(world.api(0).content(&id).await.unwrap() == content);
            assert_eq!(world.api(0).delete_file(&id).await.unwrap().status, 204);
        }
        assert_eq!(world.api(0).content(&id).await, None, "{point}");
        world.leaves_nothing().await;
    }
    world.ends_empty(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_on_the_way_of_a_whole_file_leaves_it_or_nothing() {
    let mut world = Cluster::alone(&[]).await;
    let content = bytes(3 * CHUNK, 1);
    let (mut files, mut count) = (Vec::new(), 0);
    for (point, there) in
        [("files.before_keep", false), ("files.before_commit", false), ("files.after_commit", true)]
    {
        eprintln!("killed at {point}");
        restart_with(&mut world, point).await;
        world.api(0).create_file_once(point, &content).await.unwrap_err();
        heal(&mut world).await;
        world.leaves_nothing().await;
        assert_eq!(
            world.rows.count("SELECT COUNT(*) FROM cifra_files").await,
            count + i64::from(there),
            "{point}"
        );
        let again = world.api(0).create_file_once(point, &content).await.unwrap();
        assert_eq!(again.status, 201, "{point}: {again:?}");
        files.push((again.json["id"].as_str().unwrap().to_owned(), content.clone()));
        count += 1;
        assert_eq!(world.rows.count("SELECT COUNT(*) FROM cifra_files").await, count, "{point}");
    }
    world.ends_empty(&files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_an_upload_begins_leaves_at_most_what_the_bucket_drops_by_itself() {
    let mut world = Cluster::alone(&[]).await;
    restart_with(&mut world, "create.before_commit").await;
    let wanted = serde_json::json!({ "filename": "a.bin", "total_size": 3 * CHUNK, "chunk_size": CHUNK });
    world.api(0).create_once("once", &wanted).await.unwrap_err();
    heal(&mut world).await;
    // Begun in the store and in no row: a rule of the bucket ends it, and `cifra storage orphans` tells it.
    assert_eq!(world.drops_unknown_uploads().await, 1);

    restart_with(&mut world, "create.after_commit").await;
    world.api(0).create_once("once", &wanted).await.unwrap_err();
    heal(&mut world).await;
    let again = world.api(0).create_once("once", &wanted).await.unwrap();
    assert_eq!(again.status, 201, "{again:?}");
    let id = again.json["upload_id"].as_str().unwrap().to_owned();
    let content = bytes(3 * CHUNK, 1);
    world.api(0).fill(&id, &content).await;
    world.api(0).finish(&id, &content).await;
    world.ends_empty(&[(id, content)]).await;
}

/// The node, with a fail point that kills it.
async fn restart_with(world: &mut Cluster, point: &str) {
    world.nodes[0].kill9();
    world.nodes[0].begin(Some(&format!("{point}=kill"))).await;
}

/// The node is dead; it starts on what it left.
async fn heal(world: &mut Cluster) {
    world.nodes[0].died().await;
    world.nodes[0].begin(None).await;
}
