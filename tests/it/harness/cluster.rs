//! Several nodes as people run them: processes on one PostgreSQL database, one Redis and one S3 bucket.
//!
//! All nodes reach the bucket through one [`FaultyS3`], so that a test can hold or break what they ask of it.
//! [`Cluster::leaves_nothing`] says whether all that happened left anything behind.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;

use super::api::Api;
use super::bucket::Folder;
use super::postgres::{self, PostgresServer};
use super::process::Server;
use super::redis::RedisServer;
use super::rows::{COUNTED_WRONG, Rows};
use super::s3_faults::FaultyS3;

/// Two rounds of the sweeper, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(75);

/// Nodes and what they share.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
    /// `None`: one node, on SQLite.
    pub(crate) redis: Option<RedisServer>,
    pub(crate) store: FaultyS3,
    pub(crate) folder: Folder,
    pub(crate) rows: Rows,
    /// A server of the cluster's own, for tests that stop it.
    pub(crate) postgres: Option<PostgresServer>,
}

impl Cluster {
    /// So many nodes, ready.
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, &[]).await
    }

    /// The same, with settings beside.
    pub(crate) async fn start_with(count: usize, settings: &[(&str, &str)]) -> Self {
        let database = postgres::server().new_service_database().await;
        Self::sharing(count, database, None, settings).await
    }

    /// So many nodes on a PostgreSQL server of their own.
    pub(crate) async fn start_with_postgres(count: usize, settings: &[(&str, &str)]) -> Self {
        let postgres = PostgresServer::start();
        let database = postgres.new_service_database().await;
        Self::sharing(count, database, Some(postgres), settings).await
    }

    /// One node on SQLite, without Redis: for what happens between it and the store.
    pub(crate) async fn alone(settings: &[(&str, &str)]) -> Self {
        let (store, folder, shared) = bucket();
        let mut node = Server::new();
        for (key, value) in
            shared.iter().map(|(key, value)| (key.as_str(), value.as_str())).chain(settings.iter().copied())
        {
            node.set(key, value);
        }
        node.begin(None).await;
        let rows = node.rows();
        Self { nodes: vec![node], redis: None, store, folder, rows, postgres: None }
    }

    async fn sharing(
        count: usize,
        database: String,
        postgres: Option<PostgresServer>,
        settings: &[(&str, &str)],
    ) -> Self {
        let (store, folder, mut shared) = bucket();
        let redis = RedisServer::start();
        let own = [
            ("database.url", database.as_str()),
            ("database.max_connections", "6"),
            ("redis.url", &redis.url()),
        ];
        shared
            .extend(own.iter().chain(settings).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let node = |_| {
            let mut node = Server::new();
            for (key, value) in &shared {
                node.set(key, value);
            }
            node
        };
        let mut nodes: Vec<Server> = (0..count).map(node).collect();
        join_all(nodes.iter_mut().map(|node| node.begin(None))).await;
        for node in &mut nodes {
            node.keep_address();
        }
        let redis = Some(redis);
        Self { nodes, redis, store, folder, rows: Rows::Postgres(database), postgres }
    }

    /// To speak to each of the nodes.
    pub(crate) fn apis(&self) -> Vec<Api> {
        self.nodes.iter().map(|node| node.api.clone()).collect()
    }

    /// The Redis of all nodes.
    pub(crate) fn redis(&self) -> &RedisServer {
        self.redis.as_ref().unwrap()
    }

    /// The time of all claims on chunks is over: as if their holders had not been heard of for long enough.
    pub(crate) fn lapse_claims_on_chunks(&self) {
        for (key, _) in self.redis().keys(":claims:") {
            self.redis().command(&["DEL", &key]);
        }
    }

    /// To speak to a node.
    pub(crate) fn api(&self, node: usize) -> &Api {
        &self.nodes[node].api
    }

    /// The time of all claims on ends is over: as if half a minute had passed since their holders were heard of.
    pub(crate) async fn lapse_claims_on_ends(&self) {
        let lapse = "UPDATE cifra_uploads SET finish_until = 1 WHERE state = 'finalizing'";
        self.rows.change(lapse).await;
    }

    /// The time of all that waits to be deleted has come.
    pub(crate) async fn lapse_deletions(&self) {
        self.rows.change("UPDATE cifra_blob_deletions SET purge_after = 1").await;
    }

    /// Every node shows these files with these bytes.
    pub(crate) async fn shows(&self, files: &[(String, Bytes)]) {
        for node in self.nodes.iter().filter(|node| node.runs()) {
            for (id, content) in files {
                assert!(
                    node.api.content(id).await.as_ref() == Some(content),
                    "the file {id} has other bytes"
                );
            }
        }
    }

    /// Deletes these files, and checks that nothing of them, or of anything else, stays behind.
    pub(crate) async fn ends_empty(mut self, files: &[(String, Bytes)]) {
        self.shows(files).await;
        self.leaves_nothing().await;
        for (id, _) in files {
            assert_eq!(self.api(0).delete_file(id).await.unwrap().status, 204);
        }
        self.leaves_nothing().await;
        assert_eq!(self.folder.blobs().await, BTreeSet::new());
    }

    /// Waits until the bucket has what rows name and nothing else, no row waits for a removal, tenants are counted
    /// right, and Redis keeps nothing for ever. Starts the first node again, which sweeps at once.
    pub(crate) async fn leaves_nothing(&mut self) {
        self.store.heal();
        self.lapse_claims_on_ends().await;
        self.lapse_deletions().await;
        if self.nodes[0].runs() {
            self.nodes[0].stop().await;
        }
        self.nodes[0].begin(None).await;
        let begun = Instant::now();
        loop {
            self.lapse_deletions().await;
            let (waiting, stray) = (self.rows.count(WAITING).await, self.stray().await);
            if waiting == 0 && stray.is_empty() {
                break;
            }
            // The sweeper comes every half minute.
            assert!(
                begun.elapsed() < PATIENCE,
                "{waiting} rows wait; of bucket and rows only one has: {stray:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(
            self.rows.count(COUNTED_WRONG).await,
            0,
            "what tenants use is not what their rows add up to"
        );
        let keys = self.redis.as_ref().map(|redis| redis.keys("")).unwrap_or_default();
        let for_ever: Vec<_> = keys.into_iter().filter(|(_, left)| *left < 0).collect();
        assert!(for_ever.is_empty(), "Redis keeps for ever: {for_ever:?}");
    }

    /// Ends uploads in the bucket of which no row ever knew, as a rule of the bucket does; how many these were. They are
    /// left when a node dies, or the database goes away, in the moment in which an upload begins.
    pub(crate) async fn drops_unknown_uploads(&self) -> usize {
        let known = self.rows.texts("SELECT blob_key FROM cifra_uploads").await;
        self.folder.abort(|key| !known.iter().any(|known| known == key)).await
    }

    /// What is in the bucket or in the rows, but not in both.
    async fn stray(&self) -> Vec<String> {
        let named: BTreeSet<String> = self.rows.texts(NAMED).await.into_iter().collect();
        let open = self.rows.texts("SELECT blob_key FROM cifra_uploads WHERE state = 'receiving'").await;
        let (stored, unfinished) = (self.folder.blobs().await, self.folder.unfinished().await);
        let mut stray: Vec<String> = named.symmetric_difference(&stored).cloned().collect();
        stray.extend(unfinished.into_iter().filter(|key| !open.contains(key)));
        stray
    }
}

/// A folder of the bucket, the way to it, and the settings that name both.
fn bucket() -> (FaultyS3, Folder, Vec<(String, String)>) {
    let folder = Folder::new();
    let store = FaultyS3::to(folder.address());
    let settings = folder.settings(store.endpoint());
    (store, folder, settings)
}

/// What must be in the bucket.
const NAMED: &str = "
    SELECT blob_key FROM cifra_files
    UNION ALL
    SELECT blob_key FROM cifra_thumbnails WHERE blob_key IS NOT NULL";

/// Rows that something is still to be done for.
const WAITING: &str = "
    SELECT (SELECT COUNT(*) FROM cifra_blob_deletions)
         + (SELECT COUNT(*) FROM cifra_uploads
            WHERE state = 'finalizing' OR (state IN ('aborted', 'expired') AND bytes_cleared = FALSE))";
