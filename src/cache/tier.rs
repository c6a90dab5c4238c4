//! What a second tier can do: keep bytes under keys, and tokens of tags. Two do: Redis, and a SQLite file.
//!
//! Each tag has a random token. An entry carries the tokens that its tags had before it was loaded; it stands while they
//! have them still. To invalidate is to give a tag another token: no scan, no clock, and nothing that was taken away
//! comes back. A tier that lost tokens has lost the entries too.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::key::{CacheKey, TAGS, Tag};

/// Random, and never the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// It did not answer, or is not to be asked now. Everybody has a way without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away;

/// What a tier has of a key, all as of one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The envelope, as it was put.
    pub entry: Option<Bytes>,
    /// Those that the key's tags have, in their order.
    pub tokens: [Option<Token>; TAGS],
}

/// How much is in a tier, as far as it can tell without a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierSize {
    /// Entries; `None`: it does not know.
    pub entries: Option<u64>,
    /// What they take.
    pub bytes: Option<u64>,
}

/// A second tier. Whoever calls it has a way without it, so that nothing here waits for long.
#[async_trait]
pub trait CacheTier: std::fmt::Debug + Send + Sync {
    /// `redis` or `sqlite`.
    fn name(&self) -> &'static str;

    /// Whether it may be read: it is there, and was told of every invalidation up to now.
    fn is_current(&self) -> bool;

    /// What it has of `key`.
    async fn get(&self, key: &CacheKey) -> Result<Fetched, Away>;

    /// The tokens of the key's tags; those that have none get one.
    async fn tokens(&self, key: &CacheKey) -> Result<[Token; TAGS], Away>;

    /// Keeps `entry` under `key` for `keep`, or for less if there is no room.
    async fn put(&self, key: &CacheKey, entry: Bytes, keep: Duration) -> Result<(), Away>;

    /// Removes the entry.
    async fn remove(&self, key: &CacheKey) -> Result<(), Away>;

    /// Gives each of `tags` another token. What it could not do it remembers, and is not [`CacheTier::is_current`] until it
    /// is done.
    async fn renew(&self, tags: &[Tag]) -> Result<(), Away>;

    /// How much is in it.
    async fn size(&self) -> TierSize;
}
