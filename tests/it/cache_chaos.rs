//! Three nodes on one PostgreSQL and one Redis, while files and rows change and Redis dies, stands still, forgets
//! everything, or comes back with what it had a while ago, in an order that a seed decides.
//!
//! Every change is written down with when it was known to be committed, and every answer is held against that: nothing
//! is older than a second unless it says so, nothing goes back, whoever changed something sees it, and nobody is refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cifra::config::Environment;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use crate::client::cifra;
use crate::harness::cluster::Cluster;
use crate::harness::process::{Server, until};
use crate::harness::redis::RedisServer;
use crate::harness::rows::Rows;
use crate::node_faults::chaos::Luck;

/// Nobody is answered with what was changed longer ago.
const BOUND: Duration = Duration::from_secs(1);
/// For a busy machine. Nothing needs it in principle: times are taken so that they only ever forgive.
const MARGIN: Duration = Duration::from_millis(100);
/// How long the short one lasts, which is part of every run of tests.
const SHORT: Duration = Duration::from_secs(18);
const CONTACT: &str = "entities:\n  Contact: { table: contacts, tenant_column: tenant, ttl: 1h }\n";
const NODES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_redis_no_answer_is_older_than_a_second_and_none_goes_back() {
    chaos(SHORT).await;
}

/// `CIFRA_SOAK_MINUTES` says how long (5 if it does not). A run prints its seed; `CIFRA_CHAOS_SEED` gives the same
/// troubles in the same order again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: minutes of bad luck with Redis"]
async fn soak_cache_chaos() {
    let minutes = Environment::of_process().get("CIFRA_SOAK_MINUTES").map_or(5, |text| text.parse().unwrap());
    chaos(Duration::from_mins(minutes)).await;
}

async fn chaos(time: Duration) {
    let given = Environment::of_process().get("CIFRA_CHAOS_SEED").map(|text| text.parse().unwrap());
    let seed: u64 = given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    eprintln!("CIFRA_CHAOS_SEED={seed}");
    let mut world = Cluster::start(NODES).await;
    let mut paths = Vec::new();
    for _ in 0..4 {
        paths.push(format!("/api/files/{}", world.api(0).file(b"bytes").await));
    }
    paths.extend((1..=4).map(|id| format!("/api/entities/Contact/{id}")));
    watch_contacts(&mut world).await;
    let redis = world.redis.take().unwrap();
    let urls = world.apis().iter().map(|api| api.url().to_owned()).collect();
    let history = History::of(urls, paths);

    let (begun, runtime) = (history.begun, tokio::runtime::Handle::current());
    // A thread of its own: it waits for processes.
    let troubles = tokio::task::spawn_blocking(move || {
        let luck = Luck(seed ^ 0xbad | 1);
        (runtime.block_on(trouble(&redis, luck, begun, begun + time)), redis)
    });
    let luck = |number: u64| Luck(seed.rotate_left(7).wrapping_add(number * 0x9e37_79b9) | 1);
    let end = begun + time;
    let Rows::Postgres(database) = &world.rows else { unreachable!() };
    let renaming = (0..2).map(|n| history.renames([2 * n, 2 * n + 1], luck(n as u64), end));
    let updating = (2..4).map(|n| history.updates(database, [2 * n, 2 * n + 1], luck(n as u64), end));
    let reading = (0..2 * NODES).map(|n| history.reads(n % NODES, luck(10 + n as u64), end));
    join(join(join_all(renaming), join_all(updating)), join_all(reading)).await;
    let (troubles, _redis) = troubles.await.unwrap();
    history.ends_the_same_everywhere().await;
    history.says(seed, &troubles);
}

/// A table of one's own with four rows, and all nodes started again with it as an entity. Two of them ask Redis often.
async fn watch_contacts(world: &mut Cluster) {
    let Rows::Postgres(url) = &world.rows else { unreachable!() };
    let table = "CREATE TABLE contacts (id BIGINT PRIMARY KEY, tenant TEXT, version INTEGER, name TEXT)";
    world.rows.change(table).await;
    world
        .rows
        .change("INSERT INTO contacts SELECT n, 'default', 1, '1' FROM generate_series(1, 4) AS n")
        .await;
    let file = world.nodes[0].beside("entities.yaml");
    std::fs::write(&file, CONTACT).unwrap();
    let mut watch = cifra();
    watch.args(["cache", "watch", "Contact", "--config"]).arg(&file).env("DATABASE_URL", url);
    let said = watch.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    for (number, node) in world.nodes.iter_mut().enumerate() {
        node.env("CIFRA_CONFIG", file.to_str().unwrap());
        if number > 0 {
            node.set("cache.l1.ttl", "300ms");
        }
    }
    join_all(world.nodes.iter_mut().map(Server::restart)).await;
}

/// Redis meets with one thing after the other; what, and when.
async fn trouble(redis: &RedisServer, mut luck: Luck, begun: Instant, end: Instant) -> Vec<String> {
    let mut troubles = Vec::new();
    while Instant::now() < end {
        luck.wait(Duration::from_millis(1_200)).await;
        let since = begun.elapsed();
        let most = Duration::from_millis(if luck.below(5) == 0 { 4_000 } else { 900 });
        let what = match luck.below(8) {
            0 | 1 => {
                redis.pause();
                luck.wait(most).await;
                redis.resume();
                "stood still"
            }
            2 | 3 => {
                redis.kill();
                luck.wait(most).await;
                redis.restart();
                "was killed"
            }
            4 => {
                redis.kill();
                redis.restart();
                "was killed and started at once"
            }
            5 | 6 => {
                redis.flush();
                "was emptied"
            }
            _ => {
                // What it has when it is killed next time.
                assert_eq!(redis.command(&["SAVE"]), "OK");
                "was saved"
            }
        };
        troubles.push(format!("{since:.3?} to {:.3?}: Redis {what}", begun.elapsed()));
    }
    troubles
}

/// A state of something, which came after those with smaller versions.
#[derive(Debug)]
struct State {
    version: i64,
    /// `None`: it is not there.
    name: Option<String>,
    /// When it was known to be committed.
    done: Option<Instant>,
}

/// What can be read, and all its states, oldest first.
struct Thing {
    path: String,
    states: Mutex<Vec<State>>,
}

impl Thing {
    /// The newest version that was committed by then.
    fn committed(&self, by: Instant) -> i64 {
        let states = self.states.lock().unwrap();
        let then = states.iter().rev().find(|state| state.done.is_some_and(|done| done <= by));
        then.map_or(0, |state| state.version)
    }

    fn becomes(&self, version: i64, name: Option<String>, done: Option<Instant>) {
        self.states.lock().unwrap().push(State { version, name, done });
    }

    fn is_done(&self) {
        self.states.lock().unwrap().last_mut().unwrap().done = Some(Instant::now());
    }

    /// The version that an answer has. What is not there was not there at several times: the first of these from
    /// `least` on. `None`: there was no such state.
    fn version_of(&self, answer: &Answer, least: i64) -> Option<i64> {
        let states = self.states.lock().unwrap();
        if answer.status == 404 {
            let gone = states.iter().find(|state| state.name.is_none() && state.version >= least);
            return gone.map(|state| state.version);
        }
        let version = answer.json["version"].as_i64().unwrap();
        let name = answer.json["filename"].as_str().or(answer.json["name"].as_str());
        // Of files it is known only after the change which version that made.
        let known = states.iter().find(|state| state.version == version);
        known.is_none_or(|state| state.name.as_deref() == name).then_some(version)
    }
}

/// What one node said to one request.
struct Answer {
    status: u16,
    source: String,
    json: Value,
}

/// What was done, what was answered, and what was wrong with that.
struct History {
    begun: Instant,
    http: reqwest::Client,
    urls: Vec<String>,
    things: Vec<Thing>,
    wrong: Mutex<Vec<String>>,
    /// How many answers came from where.
    sources: Mutex<BTreeMap<String, u32>>,
    slowest: Mutex<Duration>,
}

impl History {
    fn of(urls: Vec<String>, paths: Vec<String>) -> Self {
        let thing = |path: String| {
            let name = if path.contains("Contact") { "1" } else { "a.bin" };
            let first = State { version: 1, name: Some(name.to_owned()), done: Some(Instant::now()) };
            Thing { path, states: Mutex::new(vec![first]) }
        };
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Self {
            begun: Instant::now(),
            http,
            urls,
            things: paths.into_iter().map(thing).collect(),
            wrong: Mutex::default(),
            sources: Mutex::default(),
            slowest: Mutex::default(),
        }
    }

    fn wrong(&self, what: &str) {
        self.wrong.lock().unwrap().push(format!("{:.3?}: {what}", self.begun.elapsed()));
    }

    async fn get(&self, node: usize, thing: &Thing) -> Answer {
        let begun = Instant::now();
        let response = self.http.get(format!("{}{}", self.urls[node], thing.path)).send().await.unwrap();
        let source = response.headers().get("x-cache").map_or("none", |value| value.to_str().unwrap());
        let (status, source) = (response.status().as_u16(), source.to_owned());
        let json = response.json().await.unwrap();
        *self.sources.lock().unwrap().entry(source.clone()).or_default() += 1;
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = begun.elapsed().max(*slowest);
        drop(slowest);
        if status != 200 && (status != 404 || thing.path.contains("/files/")) {
            self.wrong(&format!("node {node} answers {status} to {}: {json}", thing.path));
        }
        Answer { status, source, json }
    }

    /// One reader at one node.
    async fn reads(&self, node: usize, mut luck: Luck, end: Instant) {
        let mut seen = vec![0; self.things.len()];
        while Instant::now() < end {
            let number = below(&mut luck, self.things.len());
            let (thing, begun) = (&self.things[number], Instant::now());
            let least = begun.checked_sub(BOUND + MARGIN).map_or(0, |by| thing.committed(by));
            let answer = self.get(node, thing).await;
            // Who says that it is older may be.
            let least = if answer.source == "STALE" { 0 } else { least };
            match thing.version_of(&answer, least.max(seen[number])) {
                Some(version) if version >= least.max(seen[number]) => seen[number] = version,
                found => self.wrong(&format!(
                    "node {node} answers {} from {} with {found:?} ({} {}) to who asked {:?} before and saw {}; \
                     {least} was committed more than {:?} before that",
                    thing.path, answer.source, answer.status, answer.json, begun.elapsed(), seen[number],
                    BOUND + MARGIN,
                )),
            }
            tokio::time::sleep(Duration::from_millis(1 + luck.below(8))).await; // other readers
        }
    }

    /// Gives files other names, each through any node, which shows it at once.
    async fn renames(&self, numbers: [usize; 2], mut luck: Luck, end: Instant) {
        for round in 0.. {
            rest(&mut luck).await;
            if Instant::now() >= end {
                return;
            }
            let thing = &self.things[numbers[below(&mut luck, numbers.len())]];
            let (node, name) = (below(&mut luck, NODES), format!("{round}.bin"));
            let change = self.http.patch(format!("{}{}", self.urls[node], thing.path));
            let changed = change.json(&json!({ "filename": name })).send().await.unwrap();
            let (status, done) = (changed.status().as_u16(), Instant::now());
            let file: Value = changed.json().await.unwrap();
            if status != 200 {
                self.wrong(&format!("node {node} answers {status} to a change: {file}"));
                continue;
            }
            let version = file["version"].as_i64().unwrap();
            thing.becomes(version, Some(name), Some(done));
            let own = self.get(node, thing).await;
            if own.json["version"].as_i64() < Some(version) {
                let Answer { source, json, .. } = own;
                self.wrong(&format!(
                    "node {node} answers version {version} changed there from {source}: {json}"
                ));
            }
        }
    }

    /// Changes, deletes and makes rows past the service, as another program does; some commits take their time.
    async fn updates(&self, database: &str, numbers: [usize; 2], mut luck: Luck, end: Instant) {
        let mut connection = PgConnection::connect(database).await.unwrap();
        loop {
            rest(&mut luck).await;
            if Instant::now() >= end {
                return;
            }
            let thing = &self.things[numbers[below(&mut luck, numbers.len())]];
            let id = thing.path.rsplit('/').next().unwrap();
            let (last, there) = {
                let states = thing.states.lock().unwrap();
                states.last().map(|state| (state.version, state.name.is_some())).unwrap()
            };
            let (version, deletes) = (last + 1, there && luck.below(5) == 0);
            let statement = if deletes {
                format!("DELETE FROM contacts WHERE id = {id}")
            } else if there {
                format!("UPDATE contacts SET version = {version}, name = '{version}' WHERE id = {id}")
            } else {
                format!("INSERT INTO contacts VALUES ({id}, 'default', {version}, '{version}')")
            };
            thing.becomes(version, (!deletes).then(|| version.to_string()), None);
            let mut changing = connection.begin().await.unwrap();
            let done = sqlx::query(AssertSqlSafe(statement)).execute(&mut *changing).await.unwrap();
            assert_eq!(done.rows_affected(), 1);
            if luck.below(6) == 0 {
                luck.wait(Duration::from_millis(1_500)).await;
            }
            changing.commit().await.unwrap();
            thing.is_done();
        }
    }

    /// When all is well again, every node answers what was written last, and has Redis again.
    async fn ends_the_same_everywhere(&self) {
        tokio::time::sleep(BOUND + MARGIN).await; // by then everybody knows
        for (node, thing) in (0..NODES).flat_map(|node| self.things.iter().map(move |thing| (node, thing))) {
            let answer = self.get(node, thing).await;
            let states = thing.states.lock().unwrap();
            let last = states.last().unwrap();
            let same = match &last.name {
                None => answer.status == 404,
                Some(_) => answer.json["version"] == last.version && answer.source != "STALE",
            };
            if !same {
                self.wrong(&format!("node {node} answers {} in the end, not {last:?}", answer.json));
            }
        }
        for node in 1..NODES {
            let asked = async || (self.get(node, &self.things[0]).await.source == "L2").then_some(());
            until("Redis is asked again", asked).await;
        }
    }

    fn says(&self, seed: u64, troubles: &[String]) {
        let (sources, wrong) = (self.sources.lock().unwrap(), self.wrong.lock().unwrap());
        let changes: usize = self.things.iter().map(|thing| thing.states.lock().unwrap().len()).sum();
        let slowest = self.slowest.lock().unwrap();
        eprintln!(
            "{changes} changes, {} troubles, answers {sources:?}, slowest {slowest:.0?}",
            troubles.len()
        );
        let mut told = String::new();
        for what in wrong.iter().take(20).chain(troubles) {
            writeln!(told, "{what}").unwrap();
        }
        assert!(wrong.is_empty(), "CIFRA_CHAOS_SEED={seed}: {} wrong answers\n{told}", wrong.len());
        assert!(troubles.len() > 3 && changes > 40, "hardly anything happened");
        for source in ["L1", "L2", "DB"] {
            assert!(
                sources.get(source).is_some_and(|count| *count > 50),
                "hardly any from {source}: {sources:?}"
            );
        }
    }
}

/// Between two changes: sometimes long enough that the last one must be known everywhere.
async fn rest(luck: &mut Luck) {
    let most = if luck.below(10) == 0 { 2_500 } else { 250 };
    luck.wait(Duration::from_millis(most)).await;
}

fn below(luck: &mut Luck, bound: usize) -> usize {
    usize::try_from(luck.below(bound as u64)).unwrap()
}
