//! Files that are deleted: hidden at once on every node, their bytes removed when nobody reads them any more.

use std::time::Duration;

use cifra::base::stream;
use cifra::files::File;
use futures_util::StreamExt;

use super::nodes::{Node, Pair, Setup, new_file, refusal, who};
use crate::harness::databases::TestDb;
use crate::harness::process::until;

const HOUR: Duration = Duration::from_hours(1);
const WAITING: &str = "SELECT COUNT(*) FROM cifra_blob_deletions";

async fn file(node: &Node, content: &'static str) -> File {
    let mut batch = node.uploads.batch(&who()).unwrap();
    batch.add(new_file(stream::once(content))).await.unwrap();
    batch.publish(|_| None).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_on_another_node_ends_whole_after_its_file_was_deleted() {
    let pair = Pair::start().await;
    let doomed = file(&pair.a, "hello").await;
    let record = pair.b.files.get(&who(), doomed.id).await.unwrap(); // as a download begins
    pair.a.files.delete(&who(), doomed.id).await.unwrap();
    assert_eq!(refusal(pair.b.files.get(&who(), doomed.id).await).0, "file-not-found");
    assert_eq!(pair.used().await.stored_bytes, 0);
    pair.clock.advance(Duration::from_mins(59));
    pair.a.sweep().await;
    let mut bytes = pair.b.files.read(&who(), &record, None).await.unwrap();
    assert_eq!(bytes.next().await.unwrap().unwrap(), "hello");
    assert_eq!(pair.count(WAITING).await, 1);

    pair.clock.advance(Duration::from_mins(1));
    pair.b.sweep().await;
    assert_eq!((pair.store.keys().await.len(), pair.count(WAITING).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_delay_is_as_long_as_it_is_configured() {
    let purging_after = async |delay| {
        let setup = Setup { purge_delay: Some(delay), ..Setup::default() };
        Pair::set_up(TestDb::sqlite().await, setup).await
    };
    let pair = purging_after(Duration::ZERO).await;
    let doomed = file(&pair.a, "hello").await;
    pair.a.files.delete(&who(), doomed.id).await.unwrap();
    until("its bytes are removed", async || (pair.count(WAITING).await == 0).then_some(())).await;
    assert_eq!(pair.store.keys().await, [""; 0]);

    let pair = purging_after(3 * HOUR).await;
    let doomed = file(&pair.a, "hello").await;
    pair.a.files.delete(&who(), doomed.id).await.unwrap();
    pair.clock.advance(2 * HOUR);
    pair.b.sweep().await;
    assert_eq!(pair.store.keys().await.len(), 1);
    pair.clock.advance(HOUR);
    pair.b.sweep().await;
    assert_eq!(pair.store.keys().await, [""; 0]);
}
