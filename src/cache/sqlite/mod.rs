//! The second tier in a SQLite file of its own: what one process leaves for the next, and more than fits into memory.
//!
//! `file` opens it or makes it anew, `keeper` replaces one that failed by an empty one, with which the feed begins anew,
//! `room` keeps it small; this asks it. One process uses a file as a rule; where
//! two do, each is told of changes by its own feed.

mod file;
mod keeper;
mod room;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Row, Sqlite};
use uuid::Uuid;

use self::keeper::Keeper;
use self::room::list;
use super::glob::Glob;
use super::key::{CacheKey, TAGS, Tag};
use super::tier::{self, Away, CacheTier, Cursor, Fetched, TierSize, Token};
use crate::base::{Clock, Code, Error, Result, crc};
use crate::telemetry::Tasks;

/// A longer log saves no more work.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Keys of one step of a search.
const SEARCH_STEP: i64 = 1_000;
/// What five new tokens take, beside what an entry does.
const TOKENS_BYTES: usize = 150;
/// Tags of one statement.
const TAGS_AT_ONCE: usize = 1_000;

/// What file it is to be.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// Its name.
    pub file: PathBuf,
    /// How large it may grow, with the log beside it.
    pub max_bytes: u64,
    /// The id of the database that is cached.
    pub database: Uuid,
    /// This run of the kernel.
    pub boot: Uuid,
}

impl SqliteOptions {
    /// What the log beside the file may take of it.
    fn log_bytes(&self) -> u64 {
        LOG_BYTES_MAX.min(self.max_bytes / 8)
    }
}

/// In one file.
#[derive(Debug)]
pub struct SqliteTier {
    file: Arc<Keeper>,
    /// How many doubts have been cleared up.
    cleared: AtomicU64,
}

impl SqliteTier {
    /// Opens the file, which is looked after until the service stops. Not current until the feed says so.
    pub async fn start(options: SqliteOptions, clock: Arc<dyn Clock>, tasks: &Tasks) -> Self {
        Self { file: Keeper::start(options, clock, tasks).await, cleared: AtomicU64::new(u64::MAX) }
    }

    async fn remove_all(&self, ids: &[i64]) -> Result<u64, Away> {
        let ids = list(ids);
        self.file
            .write(async |c| {
                let remove = "DELETE FROM entries WHERE id IN (SELECT value FROM json_each($1))";
                Ok(sqlx::query(remove).bind(ids).execute(c).await?.rows_affected())
            })
            .await
    }

    async fn search(&self, glob: &Glob) -> Result<u64, Away> {
        const STEP: &str = "SELECT id, key FROM entries WHERE id > $1 ORDER BY id LIMIT $2";
        let (mut after, mut removed) = (i64::MIN, 0);
        loop {
            let step: Vec<(i64, String)> = self
                .file
                .read(async |c| sqlx::query_as(STEP).bind(after).bind(SEARCH_STEP).fetch_all(c).await)
                .await?;
            let Some((last, _)) = step.last() else { return Ok(removed) };
            after = *last;
            let matching = step.iter().filter(|(_, key)| glob.matches(key)).map(|(id, _)| *id);
            let matching: Vec<i64> = matching.collect();
            if !matching.is_empty() {
                removed += self.remove_all(&matching).await?;
            }
        }
    }

    async fn renew_all(&self, tags: &[Tag]) -> Result<(), Away> {
        for tags in tags.chunks(TAGS_AT_ONCE) {
            let ids: Vec<i64> = tags.iter().map(id_of).collect();
            let renew = "DELETE FROM tokens WHERE id IN (SELECT value FROM json_each($1))";
            self.file.write(async |c| sqlx::query(renew).bind(list(&ids)).execute(c).await.map(drop)).await?;
        }
        Ok(())
    }
}

const GET: &str = "
    SELECT entry,
           crc,
           (SELECT token FROM tokens WHERE id = $1),
           (SELECT token FROM tokens WHERE id = $2),
           (SELECT token FROM tokens WHERE id = $3),
           (SELECT token FROM tokens WHERE id = $4),
           (SELECT token FROM tokens WHERE id = $5)
    FROM (SELECT 1)
    LEFT JOIN entries ON entries.id = $6 AND key = $7 AND until > $8
";
const LASTING_TOKENS: &str = "
    SELECT id, token
    FROM tokens
    WHERE id IN ($1, $2, $3, $4, $5)
      AND until > $6
";
/// A token that stands stays what it is.
const MAKE_TOKENS: &str = "
    INSERT INTO tokens (id, until, token)
    VALUES ($1, $11, $6), ($2, $11, $7), ($3, $11, $8), ($4, $11, $9), ($5, $11, $10)
    ON CONFLICT (id) DO UPDATE SET until = MAX(until, excluded.until)
    RETURNING id, token
";
const PUT: &str = "
    INSERT OR REPLACE INTO entries (id, until, crc, key, entry)
    VALUES ($1, $2, $3, $4, $5)
";

#[async_trait]
impl CacheTier for SqliteTier {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn is_current(&self) -> bool {
        self.cleared.load(Ordering::SeqCst) == self.doubts()
    }

    fn doubts(&self) -> u64 {
        self.file.doubts()
    }

    fn mark_current(&self, doubts: u64) {
        self.cleared.store(doubts, Ordering::SeqCst);
    }

    async fn get(&self, key: &CacheKey) -> Result<Fetched, Away> {
        if !self.is_current() {
            return Err(Away);
        }
        let (id, now) = (id_of(key), self.file.now());
        let look = async |c: &mut SqliteConnection| {
            let row = bind_all(sqlx::query(GET), key.tags().iter().map(id_of))
                .bind(id)
                .bind(key.as_str())
                .bind(now)
                .fetch_one(c)
                .await?;
            let mut tokens = [None; TAGS];
            for (at, token) in tokens.iter_mut().enumerate() {
                *token = row.try_get::<Option<i64>, _>(2 + at)?.map(token_of);
            }
            Ok((row.try_get::<Option<Vec<u8>>, _>(0)?, row.try_get::<Option<i64>, _>(1)?, tokens))
        };
        let (entry, sum, tokens) = self.file.read(look).await?;
        if !self.is_current() {
            return Err(Away);
        }
        let whole = |entry: &Vec<u8>| sum == Some(crc::of(entry).to_i64());
        let entry = entry.filter(whole).map(Bytes::from);
        if entry.is_some() {
            self.file.room().mark(id);
        }
        Ok(Fetched { entry, tokens })
    }

    async fn tokens(&self, key: &CacheKey, keep: Duration) -> Result<[Token; TAGS], Away> {
        let ids = key.tags().each_ref().map(id_of);
        let now = self.file.now();
        let find = async |c: &mut SqliteConnection| {
            let query = bind_all(sqlx::query(LASTING_TOKENS), ids).bind(now.plus(keep));
            pairs(&query.fetch_all(c).await?)
        };
        if let Some(tokens) = in_order(ids, &self.file.read(find).await?) {
            return Ok(tokens);
        }
        self.file.room().take(TOKENS_BYTES);
        let make = async |c: &mut SqliteConnection| {
            let query = bind_all(sqlx::query(MAKE_TOKENS), ids);
            let query = bind_all(query, ids.map(|_| Token::random().0.cast_signed()));
            pairs(&query.bind(now.plus(keep.saturating_mul(2))).fetch_all(c).await?)
        };
        in_order(ids, &self.file.write(make).await?).ok_or(Away)
    }

    async fn put(&self, key: &CacheKey, entry: Bytes, keep: Duration) -> Result<(), Away> {
        let fits = self.file.room().take(entry.len() + key.as_str().len());
        if self.file.room().is_short() || !fits {
            self.file.make_room();
        }
        if !fits {
            // What is there under this key is older than what it should be.
            return self.remove(key).await;
        }
        let now = self.file.now();
        self.file
            .write(async |c| {
                let query = sqlx::query(PUT).bind(id_of(key)).bind(now.plus(keep));
                let query = query.bind(crc::of(&entry).to_i64()).bind(key.as_str()).bind(entry.as_ref());
                query.execute(c).await.map(drop)
            })
            .await
    }

    async fn remove(&self, key: &CacheKey) -> Result<(), Away> {
        self.remove_all(&[id_of(key)]).await.map(drop)
    }

    async fn remove_matching(&self, pattern: &str) -> Result<u64> {
        let away = |_| Error::new(Code::Unavailable, "the cache's file is away: try again in a moment");
        self.search(&Glob::new(pattern)).await.map_err(away)
    }

    async fn renew(&self, tags: &[Tag]) -> Result<(), Away> {
        let done = self.renew_all(tags).await;
        if done.is_err() {
            self.file.doubt();
        }
        done
    }

    async fn lock(&self, _: &CacheKey, _: Token, _: Duration) -> Result<bool, Away> {
        Ok(true)
    }

    async fn unlock(&self, _: &CacheKey, _: Token) -> Result<(), Away> {
        Ok(())
    }

    async fn cursor(&self) -> Result<Option<Cursor>, Away> {
        let stood: Option<String> = self
            .file
            .read(async |c| sqlx::query_scalar("SELECT cursor FROM origin WHERE one = 1").fetch_one(c).await)
            .await?;
        Ok(stood.as_deref().and_then(tier::cursor_of))
    }

    async fn advance(&self, to: &Cursor) -> Result<Option<Cursor>, Away> {
        let stood = self.cursor().await?;
        if stood.as_ref().is_none_or(|stood| stood.place < to.place) {
            let move_on = "UPDATE origin SET cursor = $1 WHERE one = 1 AND (cursor IS NULL OR cursor < $1)";
            self.file
                .write(async |c| sqlx::query(move_on).bind(to.to_string()).execute(c).await.map(drop))
                .await?;
        }
        Ok(stood)
    }

    async fn restart(&self, to: &Cursor) -> Result<(), Away> {
        let set = "UPDATE origin SET cursor = $1 WHERE one = 1";
        self.file.write(async |c| sqlx::query(set).bind(to.to_string()).execute(c).await.map(drop)).await
    }

    async fn size(&self) -> TierSize {
        let counted = self.file.read(async |c| {
            let entries: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM entries").fetch_one(&mut *c).await?;
            Ok((entries.unsigned_abs(), room::used(c).await?))
        });
        let (entries, bytes) = counted.await.ok().unzip();
        TierSize { entries, bytes }
    }
}

fn bind_all(
    query: Query<'_, Sqlite, SqliteArguments>,
    values: impl IntoIterator<Item = i64>,
) -> Query<'_, Sqlite, SqliteArguments> {
    values.into_iter().fold(query, Query::bind)
}

/// Rows of two numbers.
fn pairs(rows: &[SqliteRow]) -> sqlx::Result<Vec<(i64, i64)>> {
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Two keys, or two tags, with one id get along: an entry has its key beside it, and a token too many invalidates more.
fn id_of(name: &impl std::fmt::Display) -> i64 {
    let digest = Sha256::digest(name.to_string());
    i64::from_le_bytes(std::array::from_fn(|at| digest[at]))
}

fn token_of(stored: i64) -> Token {
    Token(stored.cast_unsigned())
}

/// `None` unless there is one for each id.
fn in_order(ids: [i64; TAGS], found: &[(i64, i64)]) -> Option<[Token; TAGS]> {
    let token = |id: i64| found.iter().find(|(of, _)| *of == id).map(|(_, token)| token_of(*token));
    let tokens = ids.map(token);
    tokens.iter().all(Option::is_some).then(|| tokens.map(|token| token.unwrap_or(Token(0))))
}
