//! Tables `cifra_cache_figures`, `cifra_cache_latencies` and `cifra_cache_nodes`: what the caches of all nodes did, added up.
//!
//! A node adds what it counted since the last time as a [`Batch`] with a number, and sends it again under the same one
//! when it does not know whether it arrived: it counts once. What is counted is the business of `cache/figures`.

use uuid::Uuid;

use super::conn::{Conn, on};
use crate::base::{Result, Timestamp};

/// The row that has all days together.
const ALL_DAYS: i64 = 0;

/// What was counted of one entity; as columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Counts {
    /// Reads that memory of a process answered.
    pub l1_hits: i64,
    /// Reads that the second tier answered.
    pub l2_hits: i64,
    /// Reads that were answered with an aged value.
    pub stale_hits: i64,
    /// Reads that waited for the database.
    pub misses: i64,
    /// Reads of those for whom the cache is off.
    pub bypassed: i64,
    /// What `l1_hits` took together.
    pub l1_nanos: i64,
    /// What `l2_hits` took together.
    pub l2_nanos: i64,
    /// What `bypassed` took together.
    pub bypassed_nanos: i64,
    /// How often the database was asked on behalf of the cache, and answered.
    pub loads: i64,
    /// How often it did not answer.
    pub failed_loads: i64,
    /// What `loads` took together.
    pub loads_nanos: i64,
}

/// What a node counted since its last batch. Sorted, so that nodes that write at once do not wait for each other crosswise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// By entity, each once.
    pub entities: Vec<(String, Counts)>,
    /// By tier and bucket, each once: so many answers took so long.
    pub latencies: Vec<(&'static str, i64, i64)>,
}

/// Reads and loads of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Day {
    /// Since 1970 (UTC).
    pub day: i64,
    /// Reads that did not bypass the cache.
    pub reads: i64,
    /// How often the database was asked for them.
    pub loads: i64,
}

/// Adds the batch `number` of `node` to the day `day` and to all days; `false`: it was added before. Numbers of a node
/// grow.
pub async fn add(
    c: &mut Conn,
    (node, number): (Uuid, i64),
    now: Timestamp,
    day: i64,
    batch: &Batch,
) -> Result<bool> {
    const CLAIM: &str = "
        INSERT INTO cifra_cache_nodes (node, added, added_at)
        VALUES ($1, $2, $3)
        ON CONFLICT (node) DO UPDATE
        SET added = excluded.added,
            added_at = excluded.added_at
        WHERE cifra_cache_nodes.added < excluded.added
    ";
    let claimed = on!(c, c => sqlx::query(CLAIM)
        .bind(node)
        .bind(number)
        .bind(now)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected() > 0))?;
    if claimed {
        for (entity, counts) in &batch.entities {
            add_counts(c, ALL_DAYS, entity, counts).await?;
            add_counts(c, day, entity, counts).await?;
        }
        for (tier, bucket, answers) in &batch.latencies {
            add_answers(c, tier, *bucket, *answers).await?;
        }
    }
    Ok(claimed)
}

async fn add_counts(c: &mut Conn, day: i64, entity: &str, counts: &Counts) -> Result<()> {
    const ADD: &str = "
        INSERT INTO cifra_cache_figures AS f (
            day, entity, l1_hits, l2_hits, stale_hits, misses, bypassed, l1_nanos, l2_nanos, bypassed_nanos, loads,
            failed_loads, loads_nanos
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        ON CONFLICT (day, entity) DO UPDATE
        SET l1_hits = f.l1_hits + excluded.l1_hits,
            l2_hits = f.l2_hits + excluded.l2_hits,
            stale_hits = f.stale_hits + excluded.stale_hits,
            misses = f.misses + excluded.misses,
            bypassed = f.bypassed + excluded.bypassed,
            l1_nanos = f.l1_nanos + excluded.l1_nanos,
            l2_nanos = f.l2_nanos + excluded.l2_nanos,
            bypassed_nanos = f.bypassed_nanos + excluded.bypassed_nanos,
            loads = f.loads + excluded.loads,
            failed_loads = f.failed_loads + excluded.failed_loads,
            loads_nanos = f.loads_nanos + excluded.loads_nanos
    ";
    Ok(on!(c, c => sqlx::query(ADD)
        .bind(day)
        .bind(entity)
        .bind(counts.l1_hits)
        .bind(counts.l2_hits)
        .bind(counts.stale_hits)
        .bind(counts.misses)
        .bind(counts.bypassed)
        .bind(counts.l1_nanos)
        .bind(counts.l2_nanos)
        .bind(counts.bypassed_nanos)
        .bind(counts.loads)
        .bind(counts.failed_loads)
        .bind(counts.loads_nanos)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

async fn add_answers(c: &mut Conn, tier: &str, bucket: i64, answers: i64) -> Result<()> {
    const ADD: &str = "
        INSERT INTO cifra_cache_latencies AS l (tier, bucket, answers)
        VALUES ($1, $2, $3)
        ON CONFLICT (tier, bucket) DO UPDATE
        SET answers = l.answers + excluded.answers
    ";
    Ok(on!(c, c => sqlx::query(ADD)
        .bind(tier)
        .bind(bucket)
        .bind(answers)
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// What was counted since the beginning, by entity.
pub async fn totals(c: &mut Conn) -> Result<Vec<(String, Counts)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        entity: String,
        #[sqlx(flatten)]
        counts: Counts,
    }
    const TOTALS: &str = "
        SELECT entity, l1_hits, l2_hits, stale_hits, misses, bypassed, l1_nanos, l2_nanos, bypassed_nanos, loads,
            failed_loads, loads_nanos
        FROM cifra_cache_figures
        WHERE day = $1
        ORDER BY entity
    ";
    let rows: Vec<Row> = on!(c, c => sqlx::query_as(TOTALS).bind(ALL_DAYS).fetch_all(&mut *c).await)?;
    Ok(rows.into_iter().map(|row| (row.entity, row.counts)).collect())
}

/// Reads and loads of each day from `first` to `last`.
pub async fn days(c: &mut Conn, first: i64, last: i64) -> Result<Vec<Day>> {
    const DAYS: &str = "
        SELECT day, CAST(SUM(l1_hits + l2_hits + stale_hits + misses) AS BIGINT) AS reads,
            CAST(SUM(loads + failed_loads) AS BIGINT) AS loads
        FROM cifra_cache_figures
        WHERE day BETWEEN $1 AND $2
        GROUP BY day
        ORDER BY day
    ";
    Ok(on!(c, c => sqlx::query_as(DAYS).bind(first).bind(last).fetch_all(&mut *c).await)?)
}

/// How many answers took about so long: tier, bucket, answers; in this order.
pub async fn latencies(c: &mut Conn) -> Result<Vec<(String, i64, i64)>> {
    const LATENCIES: &str = "
        SELECT tier, bucket, answers
        FROM cifra_cache_latencies
        ORDER BY tier, bucket
    ";
    Ok(on!(c, c => sqlx::query_as(LATENCIES).fetch_all(&mut *c).await)?)
}

/// Drops the days before `day`, and nodes of which nothing came since `heard`.
pub async fn prune(c: &mut Conn, day: i64, heard: Timestamp) -> Result<()> {
    const DAYS: &str = "
        DELETE FROM cifra_cache_figures
        WHERE day <> $1
          AND day < $2
    ";
    const NODES: &str = "
        DELETE FROM cifra_cache_nodes
        WHERE added_at < $1
    ";
    on!(c, c => sqlx::query(DAYS).bind(ALL_DAYS).bind(day).execute(&mut *c).await.map(drop))?;
    Ok(on!(c, c => sqlx::query(NODES).bind(heard).execute(&mut *c).await.map(drop))?)
}
