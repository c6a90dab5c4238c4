//! From what this node counts to what all nodes counted: numbered batches into the database, each once, and sums back.
//!
//! While the database is away the last batch waits, and counting goes on; what is shown then is what was read last, with
//! what this node counted since.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::counted::{Answers, BUCKETS, Then, begins};
use super::{Figures, Shown};
use crate::base::{Result, Timestamp};
use crate::db::cache_figures::{self, Batch, Counts, Day};
use crate::db::{Db, Urgency};
use crate::telemetry::metrics;

/// As rows and metrics call them.
pub(super) const TIERS: [&str; 3] = ["l1", "l2", "l3"];
/// Figures of a day are kept for so long.
const DAYS_KEPT: i64 = 400;
/// A process that was not heard of for so long will not send its last batch again.
const NODE_DAYS_KEPT: i64 = 30;
const DAY_MICROS: i64 = 86_400_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    /// This process.
    node: Uuid,
    /// Of the last batch.
    number: i64,
    /// The last batch, with its day, while nobody knows whether it arrived.
    pending: Option<(i64, Batch)>,
    known: Sums,
    /// When old rows were dropped, as a day.
    pruned_on: i64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { node: Uuid::new_v4(), number: 0, pending: None, known: Sums::default(), pruned_on: 0 }
    }
}

/// What all nodes counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub(super) entities: BTreeMap<String, Counts>,
    /// By tier and bucket.
    pub(super) answers: BTreeMap<(String, i64), i64>,
    /// Of this week, Monday first.
    pub(super) days: Vec<Day>,
}

impl Figures {
    /// Adds what was counted to what is in the database.
    ///
    /// # Errors
    /// Those of the database; nothing is lost, the next call sends it again.
    pub async fn flush(&self, db: &Db, now: Timestamp, urgency: Urgency) -> Result<()> {
        let mut ledger = self.ledger.lock().await;
        let sent = self.send(&mut ledger, db, now, urgency).await?;
        if sent && ledger.pruned_on != day_of(now) {
            let (first, heard) = (day_of(now) - DAYS_KEPT, now.as_micros() - NODE_DAYS_KEPT * DAY_MICROS);
            let heard = Timestamp::from_micros(heard);
            db.write(Urgency::Background, move |c| Box::pin(cache_figures::prune(c, first, heard))).await?;
            ledger.pruned_on = day_of(now);
        }
        Ok(())
    }

    /// What all nodes counted: this one up to now, the others up to about a second ago. While the database is away, what
    /// was known of the others when it was there.
    pub async fn show(&self, db: &Db, now: Timestamp) -> Shown {
        let mut ledger = self.ledger.lock().await;
        let today = day_of(now);
        let read = match self.send(&mut ledger, db, now, Urgency::Normal).await {
            Ok(_) => Sums::read(db, today).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(sums) => ledger.known = sums,
            Err(error) => {
                tracing::debug!(%error, "the figures of the cache could not be read: {error}");
                let mut sums = ledger.known.clone();
                if let Some((day, batch)) = &ledger.pending {
                    sums.add(*day, batch);
                }
                sums.add(today, &self.batch(Then::Keep));
                return Shown::of(&sums, today);
            }
        }
        Shown::of(&ledger.known, today)
    }

    /// Sends the batch that waits, and what was counted since; whether there was anything.
    async fn send(&self, ledger: &mut Ledger, db: &Db, now: Timestamp, urgency: Urgency) -> Result<bool> {
        let mut sent = false;
        loop {
            if ledger.pending.is_none() {
                let batch = self.batch(Then::Forget);
                if batch == Batch::default() {
                    return Ok(sent);
                }
                tell_metrics(&batch);
                ledger.number += 1;
                ledger.pending = Some((day_of(now), batch));
            }
            let Some((day, batch)) = ledger.pending.clone() else { return Ok(sent) };
            let name = (ledger.node, ledger.number);
            db.write(urgency, move |c| {
                let batch = batch.clone();
                Box::pin(async move { cache_figures::add(c, name, now, day, &batch).await })
            })
            .await?;
            (ledger.pending, sent) = (None, true);
        }
    }

    /// What was counted, sorted.
    fn batch(&self, then: Then) -> Batch {
        let mut answers: Answers = [[0; BUCKETS]; 3];
        let mut batch = Batch::default();
        for place in self.places() {
            let counts = place.counted.read(then, &mut answers);
            if counts != Counts::default() {
                batch.entities.push((place.entity.to_string(), counts));
            }
        }
        batch.entities.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (tier, answers) in TIERS.into_iter().zip(&answers) {
            for (bucket, count) in (0..).zip(answers).filter(|(_, count)| **count > 0) {
                batch.latencies.push((tier, bucket, i64::try_from(*count).unwrap_or(i64::MAX)));
            }
        }
        batch
    }
}

impl Sums {
    async fn read(db: &Db, today: i64) -> Result<Self> {
        let monday = monday_of(today);
        let (totals, answers, days) = db
            .read(move |c| {
                Box::pin(async move {
                    Ok((
                        cache_figures::totals(c).await?,
                        cache_figures::latencies(c).await?,
                        cache_figures::days(c, monday, today).await?,
                    ))
                })
            })
            .await?;
        let answers = answers.into_iter().map(|(tier, bucket, count)| ((tier, bucket), count)).collect();
        Ok(Self { entities: totals.into_iter().collect(), answers, days })
    }

    /// As [`cache_figures::add`] does it.
    fn add(&mut self, day: i64, batch: &Batch) {
        let (mut reads, mut loads) = (0, 0);
        for (entity, counts) in &batch.entities {
            let sum = self.entities.entry(entity.clone()).or_default();
            *sum = plus(sum, counts);
            reads += counts.l1_hits + counts.l2_hits + counts.stale_hits + counts.misses;
            loads += counts.loads + counts.failed_loads;
        }
        for (tier, bucket, count) in &batch.latencies {
            *self.answers.entry(((*tier).to_owned(), *bucket)).or_default() += count;
        }
        self.days.push(Day { day, reads, loads });
    }
}

fn plus(one: &Counts, other: &Counts) -> Counts {
    Counts {
        l1_hits: one.l1_hits + other.l1_hits,
        l2_hits: one.l2_hits + other.l2_hits,
        stale_hits: one.stale_hits + other.stale_hits,
        misses: one.misses + other.misses,
        bypassed: one.bypassed + other.bypassed,
        l1_nanos: one.l1_nanos + other.l1_nanos,
        l2_nanos: one.l2_nanos + other.l2_nanos,
        bypassed_nanos: one.bypassed_nanos + other.bypassed_nanos,
        loads: one.loads + other.loads,
        failed_loads: one.failed_loads + other.failed_loads,
        loads_nanos: one.loads_nanos + other.loads_nanos,
    }
}

/// Prometheus learns of it once for each batch: that costs readers nothing.
fn tell_metrics(batch: &Batch) {
    for (entity, counts) in &batch.entities {
        for (source, count) in [
            ("l1", counts.l1_hits),
            ("l2", counts.l2_hits),
            ("stale", counts.stale_hits),
            ("database", counts.misses),
            ("bypass", counts.bypassed),
        ] {
            metrics::cache_reads(entity, source, count.unsigned_abs());
        }
        metrics::cache_loads(entity, "answered", counts.loads.unsigned_abs());
        metrics::cache_loads(entity, "failed", counts.failed_loads.unsigned_abs());
    }
    let times: [i64; 3] = batch.entities.iter().fold([0; 3], |[l1, l2, l3], (_, counts)| {
        [l1 + counts.l1_nanos, l2 + counts.l2_nanos, l3 + counts.loads_nanos]
    });
    for (tier, nanos) in TIERS.into_iter().zip(times) {
        let answers =
            batch.latencies.iter().filter(|(of, _, _)| *of == tier).map(|(_, bucket, count)| {
                (begins(usize::try_from(*bucket).unwrap_or(0)), count.unsigned_abs())
            });
        metrics::cache_answers(tier, nanos.unsigned_abs(), answers);
    }
}

/// Days since 1970 (UTC).
pub(super) fn day_of(now: Timestamp) -> i64 {
    now.as_micros().div_euclid(DAY_MICROS)
}

/// The Monday of the week of `day` (ISO 8601): day 0 was a Thursday.
pub(super) fn monday_of(day: i64) -> i64 {
    day - (day + 3).rem_euclid(7)
}
