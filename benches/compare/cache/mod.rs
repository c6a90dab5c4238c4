//! The cache beside others: a file's record beside the same bytes as a static file of nginx, and a read of the first tier
//! beside bentocache's.
//!
//! This file decides the order of runs and writes the report; `web` asks the servers, `tiers` the caches, `zipf` counts hits. Started by
//! `make bench-cache` (run.sh beside this file); see README.md one folder up.

mod tiers;
mod web;
mod zipf;

use std::fmt::Write as _;

use crate::servers::Places;
use crate::{Result, goals, interrupt, report};

/// Everything, `rounds` times, as a report.
pub(crate) fn measure(places: &Places, rounds: usize) -> Result<String> {
    let (mut pages, mut caches, mut hits) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        interrupt::check()?;
        pages.push(web::round(places, round)?);
        caches.push(tiers::round(places, round)?);
        hits.push(zipf::round(places)?);
    }
    let mut text = format!("# The cache\n\n{}; {rounds} rounds.\n\n", report::machine());
    let goals = [
        goals::at_least(
            "a hot file record, of nginx's rate for a static file of its size",
            "",
            Some(median(pages.iter().map(|page| page.cifra.rate / page.nginx.rate))),
            Some(0.5),
        ),
        goals::at_most(
            "its p99 at half the highest rate",
            "ms",
            Some(median(pages.iter().map(|page| page.paced_p99_ms))),
            Some(2.0),
        ),
        goals::at_least(
            "reads of L1 in a second, of bentocache's",
            "",
            Some(median(caches.iter().map(|cache| cache.cifra.per_second / cache.bentocache.per_second))),
            Some(1.0),
        ),
        goals::at_least(
            "reads of L1 in a second",
            "",
            Some(median(caches.iter().map(|cache| cache.cifra.per_second))),
            Some(2e6),
        ),
        goals::at_least(
            "hits among reads of 100,000 keys, Zipf 1.0, with room for a quarter, as shown too",
            "",
            Some(median(hits.iter().map(|round| round.warm))),
            Some(0.82),
        ),
    ];
    report::goal_table(&mut text, &goals);
    text.push_str("\n| round | cifra /s | us CPU | nginx /s | us CPU | p99 ms at half | nginx ms | L1 /s | p50 ns | bentocache /s | p50 ns | hits, cold | hits |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (round, ((page, cache), hits)) in pages.iter().zip(&caches).zip(&hits).enumerate() {
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.1} | {:.0} | {:.1} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} | {:.3} | {:.3} |",
            round + 1,
            page.cifra.rate,
            page.cifra.cpu_us,
            page.nginx.rate,
            page.nginx.cpu_us,
            page.paced_p99_ms,
            page.nginx_paced_p99_ms,
            cache.cifra.per_second,
            cache.cifra.p50_ns,
            cache.bentocache.per_second,
            cache.bentocache.p50_ns,
            hits.cold,
            hits.warm,
        );
    }
    Ok(text)
}

/// The middle one; of an even number the mean of both.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}
