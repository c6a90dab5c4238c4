//! What a second tier can do: keep bytes under keys, and tokens of tags. Two do: Redis, and a SQLite file.
//!
//! Each tag has a random token. An entry carries the tokens that its tags had before it was loaded; it stands while they
//! have them still. To invalidate is to take a tag's token away, and whoever needs one gives it another: no scan, no
//! clock, and nothing that was taken away comes back. A tier that lost tokens has lost the entries too.
//!
//! A tier that was away may have missed invalidations, or come back as it was a minute ago. So it counts [`doubts`], and
//! is read only after the feed has told it again of all that it may not know. [`Glob`](super::glob::Glob) says what
//! patterns mean.
//!
//! [`doubts`]: CacheTier::doubts

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::key::{CacheKey, TAGS, Tag};
use crate::base::Result;

/// Random, and never the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

impl Token {
    /// A new one.
    pub fn random() -> Self {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        // Each half has a few bits that are always the same, not in the same places.
        Self(high ^ low)
    }
}

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

/// Up to where a tier was told of changes: what the feed remembers in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Where that is among all cursors of this history of the database.
    pub place: u128,
    /// In the words of the feed: ASCII without line breaks, as short as a snapshot of PostgreSQL.
    pub text: String,
}

impl fmt::Display for Cursor {
    /// As tiers keep it: sorted like the places, whose digits are all there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0PLACE_DIGITS$} {}", self.place, self.text)
    }
}

/// Enough for every `u128`.
const PLACE_DIGITS: usize = 39;

/// What [`Cursor`]'s `Display` wrote; `None`: somebody else did.
pub(super) fn cursor_of(text: &str) -> Option<Cursor> {
    let (place, text) = text.split_at_checked(PLACE_DIGITS)?;
    Some(Cursor { place: place.parse().ok()?, text: text.strip_prefix(' ')?.to_owned() })
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
pub trait CacheTier: fmt::Debug + Send + Sync {
    /// `redis` or `sqlite`.
    fn name(&self) -> &'static str;

    /// Whether it may be read: it is there, and was told of every invalidation up to now.
    fn is_current(&self) -> bool;

    /// How often there was a reason to doubt that it knows of every invalidation: it was away, or did not do what it was
    /// told. Only grows.
    fn doubts(&self) -> u64;

    /// It was told everything that it may not have known when it had as many [`CacheTier::doubts`]; it is current unless
    /// more have come up meanwhile. Until the first of these calls it is not.
    fn mark_current(&self, doubts: u64);

    /// What it has of `key`.
    ///
    /// # Errors
    /// [`Away`] too if it is not current, or was not for a moment of this.
    async fn get(&self, key: &CacheKey) -> Result<Fetched, Away>;

    /// The tokens of the key's tags; those that have none get one, and all last for `keep` at least. Right whether it is
    /// current or not: what it will be told of later takes them away.
    async fn tokens(&self, key: &CacheKey, keep: Duration) -> Result<[Token; TAGS], Away>;

    /// Keeps `entry` under `key` for `keep`, or for less if there is no room.
    async fn put(&self, key: &CacheKey, entry: Bytes, keep: Duration) -> Result<(), Away>;

    /// Removes the entry.
    async fn remove(&self, key: &CacheKey) -> Result<(), Away>;

    /// Removes the entries whose keys match, and answers how many: all that are there from the beginning of this to its
    /// end. Takes as long as there are entries; never holds up others.
    ///
    /// # Errors
    /// `Unavailable` if it is away; `InvalidRequest` if it cannot search (a Redis cluster).
    async fn remove_matching(&self, pattern: &str) -> Result<u64>;

    /// Takes the tokens of `tags` away, so that no entry which carries them stands. At an error it has one more of its
    /// [`CacheTier::doubts`].
    async fn renew(&self, tags: &[Tag]) -> Result<(), Away>;

    /// Whether `owner` may load `key` now: nobody in another process does, for `ttl` at the longest. A tier that other
    /// processes do not see always says yes.
    async fn lock(&self, key: &CacheKey, owner: Token, ttl: Duration) -> Result<bool, Away>;

    /// Ends the lock, if `owner` has it still.
    async fn unlock(&self, key: &CacheKey, owner: Token) -> Result<(), Away>;

    /// Up to where it was told of changes, by whichever node; `None`: nobody knows.
    async fn cursor(&self) -> Result<Option<Cursor>, Away>;

    /// Moves the cursor to `to`, unless it is there or further on already. To be called after [`CacheTier::renew`] of all
    /// that lies before. Answers where it was: further back than this node has seen it, the tier went back in time.
    async fn advance(&self, to: &Cursor) -> Result<Option<Cursor>, Away>;

    /// Puts the cursor at `to`, wherever it was: another history of the database has begun. To be called after
    /// [`CacheTier::renew`] of [`Tag::All`].
    async fn restart(&self, to: &Cursor) -> Result<(), Away>;

    /// How much is in it.
    async fn size(&self) -> TierSize;
}
