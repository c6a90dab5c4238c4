//! Redis (or Valkey): commands with a short patience, a breaker that closes by itself, and a channel that is heard
//! again after every gap.
//!
//! Redis makes things faster and tells nodes of each other; nothing that is in it is needed. So no caller waits for
//! it for longer than [`PATIENCE`], and while it is away none waits at all: each has a way without it. What keys mean
//! is the stores' business (`session`). Here: [`Redis`] with its breaker; `connection` knows servers and clusters,
//! `channel` listens.

mod channel;
mod connection;
pub mod inspect;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Value};
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::channel::Heard;
use self::connection::{Link, Servers};
use crate::base::Result;
use crate::config;
use crate::telemetry::{Tasks, metrics};

/// Nobody waits for an answer for longer. Redis answers in a tenth of a millisecond as a rule.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// How often a server that works is asked whether it still does.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How often one that is away is tried.
const TRY_EVERY: Duration = Duration::from_millis(200);
/// The start of the service waits this long for it.
const START_WAIT_MAX: Duration = Duration::from_secs(1);

/// It did not do what it was asked to, or not in time; perhaps it did all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away;

/// A Lua script. One round trip as a rule; two when the server has not seen it since its start.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    /// A script of this text.
    pub fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

/// One server, or one cluster. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Redis(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Servers,
    /// Everything of ours begins with this: the database's id keeps staging and production apart.
    prefix: String,
    link: Mutex<Option<Link>>,
    /// Whether it is asked at all: the breaker is closed.
    works: watch::Sender<bool>,
    outages: AtomicU64,
    hears: watch::Sender<bool>,
    tasks: Tasks,
}

impl Redis {
    /// Connects to what `config` names, if it names something, in the background too: a server that is away now is
    /// used when it comes. Everything of ours begins with `prefix`.
    ///
    /// # Errors
    /// `Internal` with a sentence for the operator if the configuration cannot be used, whether it is there or not.
    pub async fn start(config: &config::Redis, prefix: &str, tasks: &Tasks) -> Result<Option<Self>> {
        let Some(servers) = Servers::of(config)? else { return Ok(None) };
        let inner = Inner {
            servers,
            prefix: prefix.to_owned(),
            link: Mutex::default(),
            works: watch::Sender::new(false),
            outages: AtomicU64::new(0),
            hears: watch::Sender::new(false),
            tasks: tasks.clone(),
        };
        let redis = Self(Arc::new(inner));
        metrics::redis_works(false);
        let first = tokio::time::timeout(START_WAIT_MAX, redis.look_after()).await;
        if !redis.works() {
            let why = match first {
                Ok(Err(error)) => explain(&error),
                _ => "it does not answer".to_owned(),
            };
            tracing::warn!("Redis at {} is away ({why}): going on without it", redis.0.servers);
        }
        let keeper = redis.clone();
        tasks.spawn("look after redis", async move { keeper.keep().await });
        Ok(Some(redis))
    }

    /// What all keys and channels begin with.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Whether it is a cluster: a command's keys have one hash tag, and there is no search.
    pub fn is_cluster(&self) -> bool {
        self.0.servers.are_cluster()
    }

    /// Whether it answers, as far as is known.
    pub fn works(&self) -> bool {
        *self.0.works.borrow()
    }

    /// How often it was left alone or connected to anew: what it has may be older since, or what it was told may not have
    /// arrived. Counted before anybody is answered by whoever comes back.
    pub fn outages(&self) -> u64 {
        self.0.outages.load(Ordering::SeqCst)
    }

    /// Whether what other nodes publish is heard.
    pub fn hears(&self) -> bool {
        *self.0.hears.borrow()
    }

    /// Changes with [`Redis::works`].
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.works.subscribe()
    }

    /// Waits until it works.
    pub async fn healed(&self) {
        let healed = self.0.works.subscribe().wait_for(|works| *works).await.is_ok();
        debug_assert!(healed, "the sender lives as long as this");
    }

    /// Does one command.
    ///
    /// # Errors
    /// [`Away`], at once while the breaker is open, else after [`PATIENCE`] at the latest.
    pub async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Away> {
        self.patiently(async |link| link.query(command).await).await
    }

    /// Runs a script. `keys` have one hash tag.
    ///
    /// # Errors
    /// Those of [`Redis::command`].
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<T, Away> {
        self.patiently(async |link| evaluate(link, script, keys, arguments).await).await
    }

    /// Tells all nodes that listen.
    ///
    /// # Errors
    /// Those of [`Redis::command`].
    pub async fn publish(&self, message: &[u8]) -> Result<(), Away> {
        self.command(&publication(&self.0.prefix, message)).await
    }

    async fn patiently<T: FromRedisValue>(
        &self,
        ask: impl AsyncFnOnce(&mut Link) -> Result<Value, RedisError>,
    ) -> Result<T, Away> {
        let link = if self.works() { self.link() } else { None };
        let Some(mut link) = link else {
            metrics::redis_command("skipped");
            return Err(Away);
        };
        let begun = Instant::now();
        let error = match tokio::time::timeout(PATIENCE, ask(&mut link)).await {
            Ok(Ok(value)) => match redis::from_redis_value(value) {
                Ok(answer) => {
                    metrics::redis_command("done");
                    metrics::redis_answered(begun.elapsed());
                    return Ok(answer);
                }
                Err(error) => error.to_string(),
            },
            Ok(Err(error)) => explain(&error),
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        metrics::redis_command("failed");
        self.open_breaker(&error);
        Err(Away)
    }

    /// One failure is enough: who comes next must not wait as well. A server that only stumbled is back in a moment.
    fn open_breaker(&self, error: &str) {
        let opened = self.0.works.send_if_modified(|works| {
            // Whoever sees the breaker open, or closed again, sees this too.
            self.0.outages.fetch_add(u64::from(*works), Ordering::SeqCst);
            std::mem::take(works)
        });
        if opened {
            metrics::redis_works(false);
            tracing::warn!("Redis at {} failed ({error}): going on without it", self.0.servers);
        }
    }

    /// Looks after the connection until the service stops.
    async fn keep(&self) {
        let mut works = self.0.works.subscribe();
        let mut told = String::new();
        loop {
            if let Err(error) = self.look_after().await {
                let error = explain(&error);
                self.open_breaker(&error);
                if told != error {
                    tracing::info!("Redis at {} is still away: {error}", self.0.servers);
                    told = error;
                }
            } else {
                told.clear();
            }
            // Marked first: a failure from here on ends the pause.
            works.mark_unchanged();
            let pause = if self.works() { BEAT_EVERY } else { TRY_EVERY };
            tokio::select! {
                biased;
                () = self.0.tasks.stopping().cancelled() => return,
                _ = works.changed(), if self.works() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Asks for what everybody needs: to run scripts that write, and to be heard. Connects anew if there is no answer.
    async fn look_after(&self) -> Result<(), RedisError> {
        if let Some(mut link) = self.link()
            && let Ok(Ok(())) = tokio::time::timeout(PATIENCE, self.beat(&mut link)).await
        {
            self.close_breaker();
            return Ok(());
        }
        let mut link = self.0.servers.connect().await?;
        let beat = tokio::time::timeout(PATIENCE, self.beat(&mut link));
        beat.await.unwrap_or_else(|_| Err(late()))?;
        // Who answers now may be another one, although nobody has missed the old one yet.
        self.0.outages.fetch_add(1, Ordering::SeqCst);
        *self.0.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        self.close_breaker();
        Ok(())
    }

    async fn beat(&self, link: &mut Link) -> Result<(), RedisError> {
        // Written, so that a server that is full or only reads is noticed.
        let script = Script::new("redis.call('TIME') return redis.call('SET', KEYS[1], '', 'PX', ARGV[1])");
        let tags: &[&str] = if self.0.servers.are_cluster() { CLUSTER_TAGS } else { &CLUSTER_TAGS[..1] };
        for tag in tags {
            let key = format!("{}:beat:{{{tag}}}", self.0.prefix);
            evaluate(link, &script, &[&key], &[b"10000"]).await?;
        }
        link.query(&publication(&self.0.prefix, channel::BEAT)).await.map(drop)
    }

    fn close_breaker(&self) {
        if !self.0.works.send_replace(true) {
            metrics::redis_works(true);
            tracing::info!("Redis at {} works", self.0.servers);
        }
    }

    fn link(&self) -> Option<Link> {
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Slots far from each other, so that each of a few servers is asked: 1,2 … of these lie in one third of all each.
const CLUSTER_TAGS: &[&str] = &["a", "b", "c", "d", "e", "f"];

async fn evaluate(
    link: &mut Link,
    script: &Script,
    keys: &[&str],
    arguments: &[&[u8]],
) -> Result<Value, RedisError> {
    let call = |name: &str, script: &str| {
        let mut command = redis::cmd(name);
        command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        command
    };
    match link.query(&call("EVALSHA", &script.hash)).await {
        // A server that was restarted, or that took over. In a cluster the keys' own server must see it: so not SCRIPT LOAD.
        Err(error) if error.kind() == ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
            link.query(&call("EVAL", script.text)).await
        }
        answer => answer,
    }
}

fn publication(prefix: &str, message: &[u8]) -> Cmd {
    let mut command = redis::cmd("PUBLISH");
    command.arg(channel::name(prefix)).arg(message);
    command
}

fn late() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// In words for an operator; no password is in them.
fn explain(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            "it does not accept the user or the password in redis.url".to_owned()
        }
        _ => error.to_string(),
    }
}
