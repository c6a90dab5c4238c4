//! What was done, what was answered, and what was wrong with that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::{BOUND, MARGIN, NODES};
use crate::harness::process::until;
use crate::node_faults::chaos::Luck;

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
pub(super) struct History {
    pub(super) begun: Instant,
    http: reqwest::Client,
    urls: Vec<String>,
    things: Vec<Thing>,
    wrong: Mutex<Vec<String>>,
    /// How many answers came from where.
    sources: Mutex<BTreeMap<String, u32>>,
    slowest: Mutex<Duration>,
}

impl History {
    pub(super) fn of(urls: Vec<String>, paths: Vec<String>) -> Self {
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
    pub(super) async fn reads(&self, node: usize, mut luck: Luck, end: Instant) {
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
    pub(super) async fn renames(&self, numbers: [usize; 2], mut luck: Luck, end: Instant) {
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

    /// Has some node forget something, which must change no answer. A pattern cannot be searched for in a Redis that is away.
    pub(super) async fn forgets(&self, mut luck: Luck, end: Instant) {
        let bodies = [
            json!({}),
            json!({ "tenant": "default" }),
            json!({ "entity": "Contact" }),
            json!({ "entity": "Contact", "id": "1" }),
            json!({ "pattern": "cifra:default:Contact:*" }),
            json!({ "pattern": "*" }),
        ];
        while Instant::now() < end {
            luck.wait(Duration::from_secs(1)).await;
            let (node, body) = (below(&mut luck, NODES), &bodies[below(&mut luck, bodies.len())]);
            let path = if body == &json!({}) { "clear" } else { "invalidate" };
            let url = format!("{}/api/cache/{path}", self.urls[node]);
            let status = self.http.post(url).json(body).send().await.unwrap().status().as_u16();
            if status != 200 && (status != 503 || body.get("pattern").is_none()) {
                self.wrong(&format!("node {node} answers {status} to {path} {body}"));
            }
        }
    }

    /// Changes, deletes and makes rows past the service, as another program does; some commits take their time.
    pub(super) async fn updates(&self, database: &str, numbers: [usize; 2], mut luck: Luck, end: Instant) {
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
    pub(super) async fn ends_the_same_everywhere(&self) {
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

    pub(super) fn says(&self, seed: u64, troubles: &[String]) {
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
