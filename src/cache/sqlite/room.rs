//! How large the file may grow, and what goes first: what has lapsed, then what came first and was not read since.
//!
//! What is read is marked in memory. When its turn to go comes, it goes to the end of the queue instead, and loses the mark.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use sqlx::sqlite::SqliteConnection;

use super::file::OpenFile;
use crate::base::Timestamp;

/// Rows of one step; whoever writes waits for one at most.
const STEP: i64 = 50;
/// What is larger is not worth being written again because it was read.
const KEPT_BYTES_MAX: i64 = 16 * 1024;
/// Marks of what was read; beyond, all begin anew.
const MARKS_MAX: usize = 100_000;
/// What SQLite keeps beside an entry: its row's head, places in indexes, and perhaps a token.
const OVERHEAD: u64 = 150;

/// How full the file is.
#[derive(Debug)]
pub(super) struct Room {
    limit: u64,
    /// At the last look.
    used: AtomicU64,
    /// Since the last look, at the most.
    written: AtomicU64,
    read: Mutex<HashSet<i64>>,
}

impl Room {
    /// For a file of so many bytes at the most.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0), written: AtomicU64::new(0), read: Mutex::default() }
    }

    /// Whether there is room for so much more; it is taken.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let bytes = bytes as u64 + OVERHEAD;
        let written = self.written.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let fits = self.used.load(Ordering::Relaxed) + written <= self.limit;
        if !fits {
            self.written.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Whether somebody should make room now: a sixteenth is left.
    pub(super) fn is_short(&self) -> bool {
        let used = self.used.load(Ordering::Relaxed) + self.written.load(Ordering::Relaxed);
        used > self.limit - self.limit / 16
    }

    /// An entry was read.
    pub(super) fn mark(&self, id: i64) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.len() >= MARKS_MAX {
            read.clear();
        }
        read.insert(id);
    }

    /// Clears away what has lapsed, then, if it must, what was not read for long, until an eighth is free.
    pub(super) async fn make(&self, file: &OpenFile, now: Timestamp) -> sqlx::Result<()> {
        for table in [
            "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE until <= $1 LIMIT $2)",
            "DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE until <= $1 LIMIT $2)",
        ] {
            loop {
                let mut writer = file.writer.lock().await;
                let step = sqlx::query(table).bind(now).bind(STEP).execute(&mut *writer).await?;
                if step.rows_affected() == 0 {
                    break;
                }
            }
        }
        self.look(&mut *file.writer.lock().await).await?;
        if !self.is_short() {
            return Ok(());
        }
        while self.used.load(Ordering::Relaxed) > self.limit - self.limit / 8 {
            let mut writer = file.writer.lock().await;
            if !self.evict(&mut writer).await? {
                // Nothing but tokens: they go, and with them what nobody has.
                sqlx::query("DELETE FROM tokens").execute(&mut *writer).await?;
                return self.look(&mut writer).await;
            }
            self.look(&mut writer).await?;
        }
        Ok(())
    }

    /// One step; `false` if there is nothing left.
    async fn evict(&self, writer: &mut SqliteConnection) -> sqlx::Result<bool> {
        const OLDEST: &str = "SELECT id, LENGTH(entry) FROM entries ORDER BY place LIMIT $1";
        const TO_THE_END: &str = "
            INSERT OR REPLACE INTO entries (id, until, crc, key, entry)
            SELECT id, until, crc, key, entry
            FROM entries
            WHERE id IN (SELECT value FROM json_each($1))
        ";
        const REMOVE: &str = "DELETE FROM entries WHERE id IN (SELECT value FROM json_each($1))";
        let oldest: Vec<(i64, i64)> = sqlx::query_as(OLDEST).bind(STEP).fetch_all(&mut *writer).await?;
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, len) in &oldest {
                let stays = read.remove(id) && *len <= KEPT_BYTES_MAX;
                if stays {
                    kept.push(*id);
                } else {
                    gone.push(*id);
                }
                bytes += len.unsigned_abs();
                if bytes > self.limit / 16 {
                    break;
                }
            }
        }
        sqlx::query(TO_THE_END).bind(list(&kept)).execute(&mut *writer).await?;
        sqlx::query(REMOVE).bind(list(&gone)).execute(&mut *writer).await?;
        Ok(!oldest.is_empty())
    }

    async fn look(&self, writer: &mut SqliteConnection) -> sqlx::Result<()> {
        let used = used(writer).await?;
        self.used.store(used, Ordering::Relaxed);
        self.written.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// Bytes of pages that are in use.
pub(super) async fn used(connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    let bytes: i64 = sqlx::query_scalar(
        "SELECT (page_count - freelist_count) * page_size
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
    )
    .fetch_one(connection)
    .await?;
    Ok(bytes.unsigned_abs())
}

/// Ids as SQLite's `json_each` takes them.
pub(super) fn list(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("[{}]", ids.join(","))
}
