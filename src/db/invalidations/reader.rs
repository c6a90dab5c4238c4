//! Asks a few times a second what is new, on a connection of its own: it has to have an answer when all others are busy.
//!
//! PostgreSQL: rows become visible when their transactions commit, in any order. What a snapshot did not see is exactly
//! what transactions wrote that were running then or began later; so a cursor is a snapshot, each row is told once, and
//! a transaction that takes hours holds up nobody. SQLite has one writer: rows become visible in their order, and
//! `PRAGMA data_version` tells for next to nothing that there are none.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row, SqliteConnection};

use super::Change;
use super::cursor::{Cursor, Snapshot};
use crate::base::{Error, Result};
use crate::db::Db;
use crate::db::postgres::Pool;
use crate::db::sqlite::SqliteDb;

/// More at once are not worth being told one by one.
const CHANGES_MAX: u32 = 10_000;

/// What is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// How far was read.
    pub now: Cursor,
    /// What became visible between the cursor and `now`; `None`: anything, because the cursor is of another history, or
    /// too old, or too much happened since.
    pub changes: Option<Vec<Change>>,
}

/// Reads. Dropped in the middle of it, it connects again.
#[derive(Debug)]
pub struct Reader(Engine);

#[derive(Debug)]
enum Engine {
    Sqlite { db: SqliteDb, watched: Option<Watched> },
    Postgres(Pool),
}

/// A connection with what it saw last.
#[derive(Debug)]
struct Watched {
    connection: SqliteConnection,
    /// Changes when another connection commits something, whatever it is.
    version: i64,
    at: Option<Cursor>,
}

impl Reader {
    /// It connects when it is asked.
    pub fn new(db: &Db) -> Self {
        Self(match db {
            Db::Sqlite(db) => Engine::Sqlite { db: db.clone(), watched: None },
            Db::Postgres(db) => Engine::Postgres(db.watcher()),
        })
    }

    /// What became visible since `cursor`; without one, nothing but where we are.
    ///
    /// # Errors
    /// `Unavailable` if the database is away; when is up to it.
    pub async fn since(&mut self, cursor: Option<&Cursor>) -> Result<News> {
        match &mut self.0 {
            Engine::Sqlite { db, watched } => {
                let mut watching = match watched.take() {
                    Some(watching) => watching,
                    None => Watched { connection: db.connect_watcher().await?, version: 0, at: None },
                };
                let news = watching.since(cursor).await?;
                *watched = Some(watching);
                Ok(news)
            }
            Engine::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                let news = snapshot_since(&mut connection, cursor).await;
                connection.settle(&news);
                news
            }
        }
    }

    /// Closes its connection.
    pub async fn close(self) {
        match self.0 {
            Engine::Sqlite { watched, .. } => {
                if let Some(watched) = watched {
                    // It has nothing to lose.
                    let _ = watched.connection.close().await;
                }
            }
            Engine::Postgres(pool) => pool.close().await,
        }
    }
}

impl Watched {
    async fn since(&mut self, cursor: Option<&Cursor>) -> Result<News> {
        let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.connection).await?;
        if let (Some(at), Some(cursor)) = (&self.at, cursor)
            && at == cursor
            && version == self.version
        {
            return Ok(News { now: at.clone(), changes: Some(Vec::new()) });
        }
        // What is committed between the two is seen now, and looked for once more the next time.
        let news = rows_since(&mut self.connection, cursor).await?;
        (self.version, self.at) = (version, Some(news.now.clone()));
        Ok(news)
    }
}

/// A row with its place.
#[derive(Debug, sqlx::FromRow)]
struct Placed {
    seq: i64,
    token: i64,
    #[sqlx(flatten)]
    change: Change,
}

async fn rows_since(connection: &mut SqliteConnection, cursor: Option<&Cursor>) -> Result<News> {
    // The row of the cursor too: that it is there shows that nothing after it is missing.
    const SINCE: &str = "
        SELECT seq, token, kind, tenant_id, entity, record_id, pattern, automatic
        FROM cifra_invalidations
        WHERE seq >= $1
        ORDER BY seq
        LIMIT $2
    ";
    const LAST: &str = "
        SELECT seq, token
        FROM cifra_invalidations
        ORDER BY seq DESC
        LIMIT 1
    ";
    if let Some(&Cursor::Sqlite { seq, token }) = cursor {
        let rows: Vec<Placed> = sqlx::query_as(SINCE)
            .bind(seq)
            .bind(i64::from(CHANGES_MAX + 2))
            .fetch_all(&mut *connection)
            .await?;
        let known = match rows.first() {
            Some(first) if seq == 0 => first.seq == 1,
            Some(first) => (first.seq, first.token) == (seq, token),
            None => seq == 0,
        };
        let new = rows.iter().filter(|row| row.seq > seq).count();
        if known && new <= CHANGES_MAX as usize {
            let now = rows.last().map_or((seq, token), |last| (last.seq, last.token));
            let changes = rows.into_iter().filter(|row| row.seq > seq).map(|row| row.change).collect();
            return Ok(News { now: Cursor::Sqlite { seq: now.0, token: now.1 }, changes: Some(changes) });
        }
    }
    let last: Option<(i64, i64)> = sqlx::query_as(LAST).fetch_optional(&mut *connection).await?;
    let (seq, token) = last.unwrap_or_default();
    Ok(News { now: Cursor::Sqlite { seq, token }, changes: None })
}

async fn snapshot_since(connection: &mut PgConnection, cursor: Option<&Cursor>) -> Result<News> {
    // One statement, so that the rows are those that the snapshot sees. After a restart of the server, perhaps of
    // another one, numbers of transactions may be given again: what was committed without waiting for the disk is gone.
    const SINCE: &str = "
        WITH here AS MATERIALIZED (
            SELECT CAST(pg_current_snapshot() AS TEXT) AS snapshot,
                CAST(CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000000 AS BIGINT) AS TEXT)
                    || '.' || CAST(CAST(CAST('cifra_invalidations' AS REGCLASS) AS OID) AS TEXT) AS history,
                COALESCE((SELECT swept_below FROM cifra_invalidation_horizon WHERE one = 1), 0) AS swept_below
        )
        SELECT here.snapshot, here.history, here.swept_below,
            new.xid, new.kind, new.tenant_id, new.entity, new.record_id, new.pattern, new.automatic
        FROM here
        LEFT JOIN cifra_invalidations AS new
            ON new.xid >= $1
            OR new.xid = ANY($2)
        LIMIT $3
    ";
    let cursor = match cursor {
        Some(Cursor::Postgres(snapshot)) => Some(snapshot),
        _ => None,
    };
    let (xmax, running) = cursor.map_or((i64::MAX, &[][..]), |at| (at.xmax, &at.running));
    let rows = sqlx::query(SINCE)
        .bind(xmax)
        .bind(running)
        .bind(i64::from(CHANGES_MAX + 1))
        .fetch_all(connection)
        .await?;
    let first = rows.first().ok_or_else(|| unreadable("no row"))?;
    let (snapshot, history): (String, String) = (first.try_get("snapshot")?, first.try_get("history")?);
    let swept_below: i64 = first.try_get("swept_below")?;
    let now = Snapshot::parse(&history, &snapshot).ok_or_else(|| unreadable("its snapshot"))?;
    let known = cursor.is_some_and(|at| {
        // A number beyond all there are was restored with the table; nothing was removed here yet.
        let swept = swept_below <= now.xmax && at.xmin < swept_below;
        at.history == now.history && at.xmax <= now.xmax && !swept && rows.len() <= CHANGES_MAX as usize
    });
    let changes = if known { Some(changes(&rows, now.xmax)?) } else { None };
    Ok(News { now: Cursor::Postgres(now), changes })
}

/// Those that `rows` tell, which were committed before transaction `xmax`.
fn changes(rows: &[PgRow], xmax: i64) -> Result<Vec<Change>> {
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        // One row without a change stands for none. A number that is not given yet was restored with the table.
        let xid: Option<i64> = row.try_get("xid")?;
        if xid.is_none_or(|xid| xid >= xmax) {
            continue;
        }
        changes.push(Change {
            kind: row.try_get("kind")?,
            tenant_id: row.try_get("tenant_id")?,
            entity: row.try_get("entity")?,
            record_id: row.try_get("record_id")?,
            pattern: row.try_get("pattern")?,
            automatic: row.try_get("automatic")?,
        });
    }
    Ok(changes)
}

fn unreadable(what: &'static str) -> Error {
    Error::internal("the database failed", format!("PostgreSQL answered {what}"))
}
