//! The second tier in Redis: entries, tokens, locks and the cursor, each with a time after which it is gone.
//!
//! Keys: `{prefix}:cache:…` for entries and `{prefix}:lock:…`, anywhere in a cluster; tokens and the cursor have one
//! hash tag, `{tag}`. So they are lost together, or come back old together, when a server of a cluster is replaced: the
//! cursor tells of all tokens. Entries may be lost or come back by themselves; without their tokens they are nothing.
//! [`crate::redis::Redis`] has the patience and the breaker.

mod scripts;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, cmd};

use super::key::{CacheKey, TAGS, Tag};
use super::tier::{self, Away, CacheTier, Cursor, Fetched, TierSize, Token};
use crate::base::{Code, Error, Result};
use crate::redis::{self as server, Redis, Script};

/// The feed comes by more often as long as any node runs; who starts later than this begins anew.
const CURSOR_KEEP: Duration = Duration::from_hours(24);
/// Tags of one command. One that takes 1 ms holds up nobody.
const TAGS_AT_ONCE: usize = 1_000;
/// Keys that Redis looks at in one step of a search.
const SCAN_COUNT: usize = 1_000;

/// In one Redis, or one cluster.
#[derive(Debug)]
pub struct RedisTier {
    redis: Redis,
    /// Invalidations that it was not told of.
    missed: AtomicU64,
    /// How many doubts have been cleared up.
    cleared: AtomicU64,
    tokens: Script,
    unlock: Script,
    advance: Script,
    size: Script,
}

impl From<server::Away> for Away {
    fn from(_: server::Away) -> Self {
        Self
    }
}

impl RedisTier {
    /// Not current until the feed says so.
    pub fn new(redis: Redis) -> Self {
        Self {
            redis,
            missed: AtomicU64::new(0),
            cleared: AtomicU64::new(u64::MAX),
            tokens: Script::new(scripts::TOKENS),
            unlock: Script::new(scripts::UNLOCK),
            advance: Script::new(scripts::ADVANCE),
            size: Script::new(scripts::SIZE),
        }
    }

    fn entry(&self, key: &CacheKey) -> String {
        format!("{}:cache:{key}", self.redis.prefix())
    }

    fn token(&self, tag: &Tag) -> String {
        format!("{}:{{tag}}:{tag}", self.redis.prefix())
    }

    fn lock_of(&self, key: &CacheKey) -> String {
        format!("{}:lock:{key}", self.redis.prefix())
    }

    fn cursor_key(&self) -> String {
        format!("{}:feed:{{tag}}", self.redis.prefix())
    }

    /// The entry and its tokens, in one round trip.
    async fn look(&self, key: &CacheKey) -> Result<Vec<Option<Vec<u8>>>, Away> {
        let (mut entry, mut all) = (cmd("GET"), cmd("MGET"));
        if self.redis.is_cluster() {
            entry.arg(self.entry(key));
            for tag in key.tags() {
                all.arg(self.token(tag));
            }
            let (entry, tokens) = tokio::join!(
                self.redis.command::<Option<Vec<u8>>>(&entry),
                self.redis.command::<Vec<Option<Vec<u8>>>>(&all)
            );
            let mut found = tokens?;
            found.insert(0, entry?);
            return Ok(found);
        }
        all.arg(self.entry(key));
        for tag in key.tags() {
            all.arg(self.token(tag));
        }
        Ok(self.redis.command(&all).await?)
    }

    async fn do_it(&self, command: &Cmd) -> Result<(), Away> {
        Ok(self.redis.command(command).await?)
    }

    async fn renew_all(&self, tags: &[Tag]) -> Result<(), Away> {
        for tags in tags.chunks(TAGS_AT_ONCE) {
            let mut unlink = cmd("UNLINK");
            for tag in tags {
                unlink.arg(self.token(tag));
            }
            self.do_it(&unlink).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl CacheTier for RedisTier {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn is_current(&self) -> bool {
        self.redis.works() && self.cleared.load(Ordering::SeqCst) == self.doubts()
    }

    fn doubts(&self) -> u64 {
        self.redis.outages() + self.missed.load(Ordering::SeqCst)
    }

    fn mark_current(&self, doubts: u64) {
        self.cleared.store(doubts, Ordering::SeqCst);
    }

    async fn get(&self, key: &CacheKey) -> Result<Fetched, Away> {
        if !self.is_current() {
            return Err(Away);
        }
        let mut found = self.look(key).await?.into_iter();
        // It may have come back older while we waited.
        if !self.is_current() {
            return Err(Away);
        }
        let entry = found.next().flatten().map(Bytes::from);
        let tokens = [(); TAGS].map(|()| found.next().flatten().as_deref().and_then(token_of));
        Ok(Fetched { entry, tokens })
    }

    async fn tokens(&self, key: &CacheKey, keep: Duration) -> Result<[Token; TAGS], Away> {
        let keys = key.tags().each_ref().map(|tag| self.token(tag));
        let new = [(); TAGS].map(|()| Token::random().0.to_le_bytes());
        let keep = milliseconds(keep).to_string();
        let mut arguments = vec![keep.as_bytes()];
        arguments.extend(new.iter().map(<[u8; 8]>::as_slice));
        let found: Vec<Vec<u8>> =
            self.redis.run(&self.tokens, &keys.each_ref().map(String::as_str), &arguments).await?;
        let found: Option<Vec<Token>> = found.iter().map(|token| token_of(token)).collect();
        found.and_then(|tokens| tokens.try_into().ok()).ok_or(Away)
    }

    async fn put(&self, key: &CacheKey, entry: Bytes, keep: Duration) -> Result<(), Away> {
        self.do_it(cmd("SET").arg(self.entry(key)).arg(entry.as_ref()).arg("PX").arg(milliseconds(keep)))
            .await
    }

    async fn remove(&self, key: &CacheKey) -> Result<(), Away> {
        self.do_it(cmd("UNLINK").arg(self.entry(key))).await
    }

    async fn remove_matching(&self, pattern: &str) -> Result<u64> {
        if self.redis.is_cluster() {
            return Err(Error::new(
                Code::InvalidRequest,
                "a Redis cluster cannot be searched for a pattern: invalidate a tenant, an entity or an id instead",
            ));
        }
        let away = |_| Error::new(Code::Unavailable, "redis is away: try again in a moment");
        let pattern = format!("{}:cache:{pattern}", self.redis.prefix());
        let (mut at, mut removed) = (0_u64, 0_u64);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(at).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.redis.command(&scan).await.map_err(away)?;
            if !keys.is_empty() {
                let unlinked = self.redis.command::<u64>(cmd("UNLINK").arg(keys)).await;
                removed += unlinked.map_err(away)?;
            }
            if next == 0 {
                return Ok(removed);
            }
            at = next;
        }
    }

    async fn renew(&self, tags: &[Tag]) -> Result<(), Away> {
        let done = self.renew_all(tags).await;
        if done.is_err() {
            self.missed.fetch_add(1, Ordering::SeqCst);
        }
        done
    }

    async fn lock(&self, key: &CacheKey, owner: Token, ttl: Duration) -> Result<bool, Away> {
        let mut set = cmd("SET");
        set.arg(self.lock_of(key)).arg(&owner.0.to_le_bytes()).arg("NX").arg("PX").arg(milliseconds(ttl));
        let done: Option<String> = self.redis.command(&set).await?;
        Ok(done.is_some())
    }

    async fn unlock(&self, key: &CacheKey, owner: Token) -> Result<(), Away> {
        Ok(self.redis.run(&self.unlock, &[&self.lock_of(key)], &[&owner.0.to_le_bytes()]).await?)
    }

    async fn cursor(&self) -> Result<Option<Cursor>, Away> {
        let stood: Option<String> = self.redis.command(cmd("GET").arg(self.cursor_key())).await?;
        Ok(stood.as_deref().and_then(tier::cursor_of))
    }

    async fn advance(&self, to: &Cursor) -> Result<Option<Cursor>, Away> {
        let (text, keep) = (to.to_string(), milliseconds(CURSOR_KEEP).to_string());
        let arguments = [text.as_bytes(), keep.as_bytes()];
        let stood: Option<String> = self.redis.run(&self.advance, &[&self.cursor_key()], &arguments).await?;
        Ok(stood.as_deref().and_then(tier::cursor_of))
    }

    async fn restart(&self, to: &Cursor) -> Result<(), Away> {
        let mut set = cmd("SET");
        set.arg(self.cursor_key()).arg(to.to_string()).arg("PX").arg(milliseconds(CURSOR_KEEP));
        self.do_it(&set).await
    }

    async fn size(&self) -> TierSize {
        const UNKNOWN: TierSize = TierSize { entries: None, bytes: None };
        if self.redis.is_cluster() {
            return UNKNOWN;
        }
        let prefix = format!("{}:cache:", self.redis.prefix());
        let counted = self.redis.run::<(u64, u64, u64, u64)>(&self.size, &[], &[prefix.as_bytes()]).await;
        let Ok((keys, seen, entries, bytes)) = counted else { return UNKNOWN };
        let of_all = |part: u64| part.saturating_mul(keys).checked_div(seen).unwrap_or(0);
        TierSize { entries: Some(of_all(entries)), bytes: Some(of_all(bytes)) }
    }
}

fn token_of(bytes: &[u8]) -> Option<Token> {
    bytes.try_into().ok().map(|bytes| Token(u64::from_le_bytes(bytes)))
}

/// At least one, and at most ten years: Redis refuses to keep something for no time, or past the end of its own.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, 10 * 365 * 86_400_000)
}
