//! Table `cifra_invalidations`: what changed, for those who keep copies. Triggers add rows when somebody changes what may
//! be kept, whoever it is; [`add`] adds those that no row shows. [`Reader`] tells what is new; [`sweep`] removes what
//! nobody needs any more. What a row means to a cache is its business (`cache/feed`).

mod cursor;
mod reader;

use std::time::Duration;

pub use self::cursor::Cursor;
pub use self::reader::{News, Reader};
use super::conn::{Conn, on};
use crate::base::{Result, Timestamp};

/// What changed, as its row tells.
#[derive(Debug, Clone, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct Change {
    /// `record`, `entity`, `everywhere`, `tenant`, `all`, `pattern` or `switches`.
    pub kind: String,
    /// Whose; `None`: of no tenant. As the changed row has it, which may be no tenant of ours.
    pub tenant_id: Option<String>,
    /// Of what kind.
    pub entity: Option<String>,
    /// Which one.
    pub record_id: Option<String>,
    /// Which keys.
    pub pattern: Option<String>,
    /// A trigger on a table that is not ours told it.
    pub automatic: bool,
}

/// Tells everybody, once this transaction is committed.
pub async fn add(c: &mut Conn, changes: &[Change]) -> Result<()> {
    const ADD: &str = "
        INSERT INTO cifra_invalidations (kind, tenant_id, entity, record_id, pattern, automatic)
        VALUES ($1, $2, $3, $4, $5, $6)
    ";
    for change in changes {
        on!(c, c => sqlx::query(ADD)
            .bind(&change.kind)
            .bind(&change.tenant_id)
            .bind(&change.entity)
            .bind(&change.record_id)
            .bind(&change.pattern)
            .bind(change.automatic)
            .execute(&mut *c)
            .await
            .map(drop))?;
    }
    Ok(())
}

/// Removes rows that everybody had `kept` long to see since they became visible, at most `limit`; how many. PostgreSQL
/// goes by its own clock, SQLite by `now`; one that was set makes some cursors too old, and nothing is missed.
pub async fn sweep(c: &mut Conn, now: Timestamp, kept: Duration, limit: u32) -> Result<u64> {
    // Old is what was there already when the clock was looked at last, and that is long ago. A row's own time would not
    // do: it becomes visible when its transaction is committed, however long that takes.
    const MOVE_SQLITE: &str = "
        UPDATE cifra_invalidation_horizon
        SET swept_below = next_below,
            next_below = COALESCE((SELECT MAX(seq) FROM cifra_invalidations), 0),
            next_at = $1
        WHERE one = 1
          AND next_at NOT BETWEEN $2 AND $1
    ";
    // The last row stays: by its token a cursor is known again.
    const SWEEP_SQLITE: &str = "
        DELETE FROM cifra_invalidations
        WHERE seq IN (
            SELECT seq
            FROM cifra_invalidations
            WHERE seq < (SELECT swept_below FROM cifra_invalidation_horizon WHERE one = 1)
            ORDER BY seq
            LIMIT $1
        )
    ";
    // A number beyond the last transaction's comes from another server, by pg_restore.
    const MOVE_POSTGRES: &str = "
        WITH here AS MATERIALIZED (
            SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS xmin,
                CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS now
        )
        UPDATE cifra_invalidation_horizon
        SET swept_below = LEAST(next_below, here.xmin),
            next_below = here.xmin,
            next_at = here.now
        FROM here
        WHERE one = 1
          AND (next_at NOT BETWEEN here.now - $1 AND here.now OR next_below > here.xmin)
    ";
    const SWEEP_POSTGRES: &str = "
        DELETE FROM cifra_invalidations
        WHERE id IN (
            SELECT id
            FROM cifra_invalidations
            WHERE xid < (SELECT swept_below FROM cifra_invalidation_horizon WHERE one = 1)
               OR xid >= CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT)
            LIMIT $1
        )
    ";
    let swept = match c {
        Conn::Sqlite(c) => {
            sqlx::query(MOVE_SQLITE).bind(now).bind(now.minus(kept)).execute(&mut **c).await?;
            sqlx::query(SWEEP_SQLITE).bind(i64::from(limit)).execute(&mut **c).await?.rows_affected()
        }
        Conn::Postgres(c) => {
            let kept = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
            sqlx::query(MOVE_POSTGRES).bind(kept).execute(&mut **c).await?;
            sqlx::query(SWEEP_POSTGRES).bind(i64::from(limit)).execute(&mut **c).await?.rows_affected()
        }
    };
    Ok(swept)
}
