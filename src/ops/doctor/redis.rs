//! Redis: whether it is there, new and quick enough, takes writes, and what it drops when it is full.

use std::time::Duration;

use crate::base::finding::Finding;
use crate::config;
use crate::redis::PATIENCE;
use crate::redis::inspect::{self, Seen, Server};

/// A script that reads the time and then writes needs this one; older ones refuse it.
const VERSION_MIN: u32 = 7;
/// Every chunk waits for one round trip.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(5);
/// What drops the least used keys first leaves claims alone, which are seconds old.
const HARMLESS: &[&str] = &["noeviction", "volatile-lru", "volatile-lfu"];

pub(super) async fn examine(config: &config::Redis) -> Vec<Finding> {
    const CHECK: &str = "redis";
    let servers = match inspect::look(config).await {
        Ok(servers) => servers,
        Err(error) => {
            return vec![Finding::fail(
                CHECK,
                error.detail().to_owned(),
                "correct redis in the configuration",
            )];
        }
    };
    let mut findings = Vec::new();
    for Server { address, seen } in servers {
        match seen {
            Ok(seen) => findings.extend([
                latency(&address, &seen),
                version(&address, &seen),
                role(&address, &seen),
                eviction(&address, &seen),
            ]),
            Err(error) => findings.push(Finding::fail(
                CHECK,
                format!("{address} cannot be used: {error}"),
                "start it, or correct redis.url; until then the service works without it, slower",
            )),
        }
    }
    findings
}

fn latency(address: &str, seen: &Seen) -> Finding {
    const CHECK: &str = "redis.latency";
    let detail = format!("{address} answers in {:?}", seen.round_trip);
    if seen.round_trip >= PATIENCE {
        let advice = "nobody waits that long: the service works as if there were none; move it nearer";
        return Finding::fail(CHECK, detail, advice);
    }
    if seen.round_trip >= ROUND_TRIP_MAX {
        return Finding::warn(CHECK, detail, "every chunk waits for one answer: move it nearer");
    }
    Finding::ok(CHECK, detail)
}

fn version(address: &str, seen: &Seen) -> Finding {
    const CHECK: &str = "redis.version";
    let Some(version) = seen.info("redis_version") else {
        return Finding::skip(CHECK, format!("this account may not ask {address} for INFO"));
    };
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let detail = match seen.info("valkey_version") {
        Some(valkey) => format!("{address} is Valkey {valkey}"),
        None => format!("{address} is Redis {version}"),
    };
    if major.is_none_or(|major| major < VERSION_MIN) {
        return Finding::fail(CHECK, detail, "use Redis 7 or newer, or Valkey");
    }
    Finding::ok(CHECK, detail)
}

fn role(address: &str, seen: &Seen) -> Finding {
    const CHECK: &str = "redis.role";
    match seen.info("role") {
        None => Finding::skip(CHECK, format!("{address} does not tell")),
        // In a cluster any server leads to the others.
        Some("slave") if seen.info("cluster_enabled") != Some("1") => Finding::fail(
            CHECK,
            format!("{address} is a replica and takes no writes"),
            "let redis.url name the primary, by an address that follows it when another takes over",
        ),
        Some(_) => Finding::ok(CHECK, format!("{address} takes writes")),
    }
}

fn eviction(address: &str, seen: &Seen) -> Finding {
    const CHECK: &str = "redis.eviction";
    let Some(policy) = seen.info("maxmemory_policy") else {
        return Finding::skip(CHECK, format!("{address} does not tell its maxmemory-policy"));
    };
    let unlimited = seen.info("maxmemory") == Some("0");
    if unlimited || HARMLESS.contains(&policy) {
        let limit = if unlimited { "no maxmemory" } else { "a maxmemory" };
        return Finding::ok(CHECK, format!("{address} has {limit}, maxmemory-policy {policy}"));
    }
    Finding::warn(
        CHECK,
        format!("{address} drops keys by {policy} when it is full, claims that stand among them"),
        "set maxmemory-policy to noeviction or volatile-lru: two senders of one chunk would both send it for nothing",
    )
}
