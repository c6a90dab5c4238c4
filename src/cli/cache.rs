//! `cifra cache`: what the cache of a server does, and what it is to forget; and which tables of this machine's database
//! it watches.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::Failure;
use super::local::Local;
use super::output::{self, Format};
use super::remote::Remote;
use crate::app;
use crate::base::EntityName;
use crate::client::Invalidate;

const EXAMPLES: &str = "\
Examples:
  cifra cache stats
  cifra cache stats --json | jq .hit_rate
  cifra cache invalidate --entity Contact --id 42
  cifra cache invalidate --pattern 'cifra:acme:Deal:list:*'
  cifra cache clear
  cifra cache watch Contact

watch and unwatch work on the database that the configuration names, whether `cifra serve` runs or not; run them as the
same user.";

/// See what the cache does, and have things read from the database again
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CacheCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show hit rates, times and sizes
    Stats {
        #[command(flatten)]
        remote: Remote,
    },
    /// Have everything read from the database again; for operators
    Clear {
        #[command(flatten)]
        remote: Remote,
    },
    /// Read what is likely to be asked for: tenants, what was read last, entities marked warm; for operators
    Warm {
        #[command(flatten)]
        remote: Remote,
    },
    /// Have a tenant's, an entity's or one record's values read from the database again
    #[command(after_help = "Without options: everything of the key's tenant.")]
    Invalidate {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        remote: Remote,
    },
    /// Put triggers on an entity's table: what any program changes is seen within a second
    #[command(after_help = "To be repeated after the table's key or tenant column got another name.")]
    Watch {
        /// The entity, as the configuration names it
        entity: EntityName,
        #[command(flatten)]
        local: Local,
    },
    /// Take the triggers away: changes are seen when the entity's ttl is over
    Unwatch {
        /// The entity, whether the configuration names it or not
        entity: EntityName,
        #[command(flatten)]
        local: Local,
    },
}

#[derive(Debug, Args)]
struct What {
    /// Whose; `global` for what is no tenant's. Others than one's own: for operators
    #[arg(long)]
    tenant: Option<String>,
    /// Of this kind only
    #[arg(long)]
    entity: Option<String>,
    /// This record only
    #[arg(long, requires = "entity")]
    id: Option<String>,
    /// Keys like this one: `*` any text, `?` one character
    #[arg(long, conflicts_with_all = ["tenant", "entity", "id"])]
    pattern: Option<String>,
}

impl CacheCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Stats { remote } => {
                let stats = remote.client(Duration::ZERO)?.cache_stats().await?;
                match remote.format() {
                    Format::Json => output::print_json(&stats),
                    Format::Text => print_stats(&stats),
                }
            }
            Action::Clear { remote } => {
                let done = remote.client(Duration::ZERO)?.clear_cache().await?;
                print_done(&done, remote.format())
            }
            Action::Warm { remote } => {
                let done = remote.client(Duration::ZERO)?.warm_cache().await?;
                print_done(&done, remote.format())
            }
            Action::Invalidate { what: What { tenant, entity, id, pattern }, remote } => {
                let what = Invalidate { tenant, entity, id, pattern };
                let done = remote.client(Duration::ZERO)?.invalidate(what).await?;
                print_done(&done, remote.format())
            }
            Action::Watch { entity, local } => {
                let table = app::watch(&local.load()?.config, &entity).await?;
                let message = format!("watching {table} for {entity}");
                let told =
                    json!({ "entity": entity.as_str(), "table": table, "watched": true, "message": message });
                print_done(&told, local.format())
            }
            Action::Unwatch { entity, local } => {
                app::unwatch(&local.load()?.config, &entity).await?;
                let message = format!("the table of {entity} is not watched");
                print_done(
                    &json!({ "entity": entity.as_str(), "watched": false, "message": message }),
                    local.format(),
                )
            }
        }
    }
}

fn print_done(done: &Value, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::print_json(done),
        Format::Text => {
            let message = done["message"].as_str().unwrap_or("done");
            output::print(&format!("{}\n", output::printable(message)))
        }
    }
}

fn print_stats(stats: &Value) -> Result<(), Failure> {
    let on = match (stats["enabled"].as_bool(), stats["global_enabled"].as_bool()) {
        (Some(true), _) => "on",
        (_, Some(true)) => "off for this key",
        _ => "off",
    };
    let hit_rate = stats["hit_rate"].as_f64().unwrap_or(0.0) * 100.0;
    let (hits, misses) = (&stats["total_hits"], &stats["total_misses"]);
    let saved = &stats["queries_saved"];
    let mut rows = vec![
        ("cache".to_owned(), format!("{on}, {}", word(&stats["cache_type"]))),
        ("hit rate".to_owned(), format!("{hit_rate:.1} % of {hits} hits and {misses} misses")),
        (
            "queries saved".to_owned(),
            format!("{} today, {} this week, {} in all", saved["today"], saved["week"], saved["total"]),
        ),
    ];
    for (name, tier) in members(&stats["tiers"]) {
        rows.push((name.clone(), tier_text(tier)));
    }
    for (name, counts) in members(&stats["entities"]) {
        let times = &stats["response_times"][name];
        let took = |which: &str| times[which].as_f64().map(|milliseconds| duration(milliseconds * 1e3));
        let faster = times["improvement_percent"].as_f64().zip(took("cached_ms")).zip(took("database_ms"));
        let faster = faster.map(|((percent, cached), database)| {
            format!("; {cached}, from the database {database}: {percent:.1} % faster")
        });
        let text =
            format!("{} hits, {} misses{}", counts["hits"], counts["misses"], faster.unwrap_or_default());
        rows.push((name.clone(), text));
    }
    let rows: Vec<(&str, Option<String>)> =
        rows.iter().map(|(name, text)| (name.as_str(), Some(text.clone()))).collect();
    output::print_table(&rows)
}

fn tier_text(tier: &Value) -> String {
    let counts = format!("{} hits, {} misses", tier["hits"], tier["misses"]);
    let size = tier["entries"].as_u64().zip(tier["bytes"].as_u64());
    let size = size.map(|(entries, bytes)| format!("{entries} entries, {bytes} bytes"));
    let times = tier["p50_us"].as_f64().zip(tier["p99_us"].as_f64());
    let times =
        times.map(|(p50, p99)| format!("half within {}, 99 % within {}", duration(p50), duration(p99)));
    [Some(counts), size, times].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn duration(microseconds: f64) -> String {
    if microseconds < 1_000.0 {
        format!("{microseconds:.1} us")
    } else {
        format!("{:.1} ms", microseconds / 1e3)
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_short_and_say_their_unit() {
        for (microseconds, text) in [(0.23, "0.2 us"), (999.0, "999.0 us"), (3407.872, "3.4 ms")] {
            assert_eq!(super::duration(microseconds), text);
        }
    }
}
