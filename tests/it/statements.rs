//! What the service asks of its database: every statement runs on an index, on both engines, with 100,000 rows; and
//! no request asks more often because its list is longer.
//!
//! The statements are those that the real program logs while every route is driven: one that is new is among them.

mod plans;

use std::collections::BTreeSet;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::harness::api::Api;
use crate::harness::databases::both_engines;
use crate::harness::process::{Server, until};

/// A server that logs its statements as JSON.
async fn talkative() -> Server {
    Server::start_with(&[("log.format", "json"), ("log.level", "debug")]).await
}

/// The statements that it has logged since it listens, in order. At its start it may take its time.
fn statements(server: &Server) -> Vec<String> {
    let log = server.log();
    let since = log.lines().skip_while(|line| !line.contains("listens on"));
    let lines = since.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let logged = lines.filter(|line| line["target"] == "sqlx::query").map(|line| {
        // The summary is the whole text where that is short.
        let text = line["db.statement"].as_str().unwrap_or_default().trim();
        if text.is_empty() { line["summary"].as_str().unwrap().to_owned() } else { text.to_owned() }
    });
    let kinds = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];
    logged.filter(|text| kinds.iter().any(|kind| text.starts_with(kind)) && text.contains("cifra_")).collect()
}

struct Driver {
    api: Api,
    http: Client,
}

impl Driver {
    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.request(method, format!("{}{path}", self.api.url()));
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.send(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// Both pages of a list of at least two.
    async fn list(&self, path: &str) {
        let join = if path.contains('?') { '&' } else { '?' };
        let page = self.get(&format!("{path}{join}limit=1")).await;
        let cursor = page["next_cursor"].as_str().unwrap_or_else(|| panic!("{path} is too short: {page}"));
        self.get(&format!("{path}{join}limit=1&cursor={cursor}")).await;
    }

    async fn file(&self) -> String {
        let path = "/api/files?filename=a.txt&metadata.k=v&metadata.l=w";
        let request = self.http.post(format!("{}{path}", self.api.url()));
        let response = request.header("content-type", "text/plain").body("bytes").send().await.unwrap();
        assert_eq!(response.status(), 201);
        let file: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        file["id"].as_str().unwrap().to_owned()
    }
}

async fn drive_uploads(driver: &Driver) {
    let api = &driver.api;
    let content = vec![7; 150_000];
    let wanted = json!({ "filename": "u", "total_size": content.len(), "chunk_size": 65536, "metadata": { "k": "v", "l": "w" } });
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(api.create_as(&wanted).await.unwrap().json["upload_id"].as_str().unwrap().to_owned());
    }
    let [done, aborted, ..] = ids.as_slice() else { panic!("four uploads") };
    for id in [done, aborted] {
        api.put(id, 0, &content[..65536]).await.unwrap();
        api.put(id, 0, &content[..65536]).await.unwrap();
        api.replace(id, 0, &content[..65536]).await.unwrap();
        api.upload(id).await.unwrap();
    }
    assert_eq!(api.finalize(done).await.unwrap().status, 409);
    api.fill(done, &content).await;
    api.finish(done, &content).await;
    api.upload(done).await.unwrap();
    assert_eq!(api.abort(aborted).await.unwrap().status, 204);
    driver.list("/api/uploads").await;
    driver.list("/api/uploads?metadata.k=v").await;
    driver.list("/api/uploads?state=receiving").await;
    for state in ["completed", "aborted", "expired", "finalizing"] {
        driver.get(&format!("/api/uploads?state={state}")).await;
    }
    api.delete_file(done).await.unwrap();
}

async fn drive_files(driver: &Driver) {
    let (file, other) = (driver.file().await, driver.file().await);
    let path = format!("/api/files/{file}");
    driver.get(&path).await;
    driver.api.content(&file).await.unwrap();
    driver.send(Method::PATCH, &path, json!({ "filename": "b.txt", "metadata": { "k": "v" } })).await;
    // Every order, with each filter that has an index in it.
    for (sort, filters) in [
        (
            "created_at",
            &[
                "",
                "content_type=text/*",
                "content_type=text/plain",
                "metadata.k=v",
                "created_after=2020-01-01T00:00:00Z",
            ][..],
        ),
        ("filename", &["", "content_type=text/*", "content_type=text/plain"][..]),
        ("size", &["", "content_type=text/*", "content_type=text/plain"][..]),
    ] {
        for filter in filters {
            driver.list(&format!("/api/files?sort={sort}&{filter}")).await;
            driver.list(&format!("/api/files?sort=-{sort}&{filter}")).await;
        }
    }
    driver.get("/api/files?sort=filename&q=a").await;
    driver.get("/api/files?metadata.k=v&metadata.l=w").await;
    let picture = driver.api.create_file("a.gif", b"GIF89a\x01\0\x01\0\0\0\0;").await.unwrap();
    let picture = picture.json["id"].as_str().unwrap().to_owned();
    driver.get(&format!("/api/files/{picture}")).await;
    driver.api.delete_file(&picture).await.unwrap();
    driver.get("/api/usage").await;
    for id in [file, other] {
        driver.api.delete_file(&id).await.unwrap();
    }
}

fn driver(server: &Server) -> Driver {
    let http = Client::builder().no_proxy().build().unwrap();
    Driver { api: server.api.clone(), http }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_runs_on_an_index_on_both_engines() {
    let server = talkative().await;
    let driver = driver(&server);
    drive_uploads(&driver).await;
    drive_files(&driver).await;
    // The sweeper's first round goes on beside.
    until("the sweeper has been round", async || {
        statements(&server)
            .iter()
            .any(|text| text.contains("cifra_blob_deletions") && text.starts_with("SELECT"))
            .then_some(())
    })
    .await;
    let all: BTreeSet<String> = statements(&server).into_iter().collect();
    assert!(all.len() > 40, "only {} statements: the log says nothing of them", all.len());
    for test in both_engines().await {
        plans::load(&test).await;
        let mut slow = Vec::new();
        // Rows of changes are found by their place on SQLite, by their transaction on PostgreSQL: each has its own text.
        let runs_here = |text: &&String| test.engine == "SQLite" || !text.contains("cifra_invalidation");
        for text in all.iter().filter(runs_here) {
            if let Err(why) = plans::check(&test, text).await {
                slow.push(format!("{why}\n    {text}"));
            }
        }
        assert!(slow.is_empty(), "{}: {} statements:\n{}", test.engine, slow.len(), slow.join("\n\n"));
    }
}

/// Tables that are asked now and then, whether somebody asks for something or not.
const BESIDE: [&str; 4] = ["cifra_jobs", "cifra_write_behind", "cifra_invalidation", "cifra_cache_"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_asks_more_often_because_its_list_is_longer() {
    let mut server = talkative().await;
    let first = driver(&server);
    first.file().await;
    let upload = json!({ "filename": "u", "total_size": 1, "metadata": { "k": "v" } });
    first.api.create_as(&upload).await.unwrap();
    server.kill9();
    for more in plans::MORE_LIKE_THE_FIRST {
        server.sql(more).await;
    }
    server.begin(None).await;
    let driver = driver(&server);
    for list in [
        "/api/files?sort=size",
        "/api/files?content_type=text/*",
        "/api/files?metadata.k=v",
        "/api/uploads?metadata.k=v",
    ] {
        let mut counts = Vec::new();
        for limit in [1, 500] {
            // The log may lag behind the answer, and the sweeper may be at work: what counts is what reads lists.
            let reads = || {
                statements(&server)
                    .iter()
                    .filter(|text| text.contains("LIMIT") && text.contains("tenant_id = $1"))
                    .count()
            };
            let before = reads();
            let page = driver.get(&format!("{list}&limit={limit}")).await;
            assert_eq!(page["items"].as_array().unwrap().len(), limit, "{list}");
            until("the statement is logged", async || (reads() > before).then_some(())).await;
            let mut all = statements(&server);
            // What goes on beside is nobody's request: looking for what other nodes added or changed.
            all.retain(|text| !BESIDE.iter().any(|table| text.contains(table)));
            counts.push(all.len());
        }
        // Between the two there is the first list's own statement, and nothing that the second one needed more.
        assert_eq!(counts[1] - counts[0], 1, "{list}: {:?}", statements(&server));
    }
}
