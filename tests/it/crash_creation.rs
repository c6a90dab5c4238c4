//! SIGKILL at every fail point on the way of a file that comes in one request: it is there or it is not, and nothing
//! else is left. The client has no answer; `crash_points` holds this table complete.

use crate::harness::process::Server;
use crate::suites::bytes;

/// Each with whether the file is there afterwards.
const POINTS: &[(&str, bool)] = &[
    ("blob.stage.before_data", false),
    ("blob.stage.after_data", false),
    ("blob.stage.before_small_data", false),
    ("blob.stage.after_small_data", false),
    ("files.before_keep", false),
    ("files.before_commit", false),
    ("files.after_commit", true),
    ("blob.reveal.before_rename", true),
    ("blob.reveal.after_rename", true),
];

/// Their names.
pub(crate) fn points() -> impl Iterator<Item = &'static str> + Clone {
    POINTS.iter().map(|(point, _)| *point)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_leaves_a_whole_file_or_nothing() {
    for durability in ["none", "finalize"] {
        for (point, there) in POINTS {
            eprintln!("killed at {point}");
            let mut server = Server::start_with(&[("file_upload.durability", durability)]).await;
            // A small body goes another way.
            let len = if point.contains("small") { 10_000 } else { 300_000 };
            let (content, other) = (bytes(len, 1), bytes(300_000, 2));
            let bystander = server.api.create_file("other.bin", &other).await.unwrap();
            let bystander = bystander.json["id"].as_str().unwrap().to_owned();
            server.kill9();
            server.begin(Some(&format!("{point}=kill"))).await;
            server.api.create_file("a.bin", &content).await.unwrap_err();
            server.died().await;

            server.begin(None).await;
            server.settled(1 + usize::from(*there)).await;
            let files = server.ids("SELECT id FROM cifra_files WHERE filename = 'a.bin'").await;
            assert_eq!(files.len(), usize::from(*there), "{point}");
            for id in files {
                assert!(server.api.content(&id).await.unwrap() == content, "{point}");
                assert_eq!(server.api.delete_file(&id).await.unwrap().status, 204);
            }
            assert!(server.api.content(&bystander).await.unwrap() == other, "{point}");
            assert_eq!(server.api.create_file("a.bin", &content).await.unwrap().status, 201);
            server.settled(2).await;
        }
    }
}
