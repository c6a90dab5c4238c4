//! What can be wrong with a machine before the service meets it: folders, room, rights, limits, the database.
//!
//! Looks, and changes nothing, apart from an object of its own that it puts into each object store and removes: it
//! opens the database for reading only and takes no lock, so it can run beside `serve`. What speaks HTTP is
//! `client::probe`'s. Called by `cifra doctor`.

mod database;
mod disk;
mod redis;
mod store;

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

pub use self::store::examine as examine_store;
use super::descriptors;
use crate::base::finding::Finding;
use crate::base::{Clock, Timestamp};
use crate::config::{AuthMode, Backend, Config, DatabaseUrl};
use crate::db::DbOptions;

/// A clock that shows an earlier time was never set.
const OLDEST: Timestamp = Timestamp::from_micros(1_767_225_600_000_000); // 2026-01-01
/// And a later one was set wrong.
const LATEST: Timestamp = Timestamp::from_micros(4_102_444_800_000_000); // 2100-01-01
/// A wall clock that ran this much further than time did is being set by somebody.
const JUMP: Duration = Duration::from_secs(1);

/// Looks at everything that needs no running server.
pub async fn examine(config: &Config, clock: &dyn Clock) -> Vec<Finding> {
    let begun = (clock.now(), clock.uptime());
    let mut findings = vec![access(config), clients(config)];
    let examined = config.clone();
    let disk = tokio::task::spawn_blocking(move || disk::examine(&examined)).await;
    findings.extend(disk.unwrap_or_else(|error| {
        vec![Finding::fail("disk", format!("the checks broke off: {error}"), "report this as a bug")]
    }));
    match &config.database.url {
        DatabaseUrl::Sqlite(file) => findings.extend(database::examine(file).await),
        DatabaseUrl::Postgres(url) => {
            findings.extend(database::examine_server(url, &DbOptions::of(config), clock).await);
        }
    }
    if config.redis.url.is_some() {
        findings.extend(redis::examine(&config.redis).await);
    }
    findings.push(open_files(config));
    findings.extend(memory(config));
    findings.push(time(clock, begun));
    findings
}

fn access(config: &Config) -> Finding {
    const CHECK: &str = "access";
    let listen = config.server.listen;
    if config.auth.mode == AuthMode::Open && !listen.ip().to_canonical().is_loopback() {
        let detail = format!("everybody who reaches {listen} may read, change and delete everything");
        return Finding::warn(CHECK, detail, "set auth.mode: keys, or let only trusted machines reach it");
    }
    if config.auth.mode == AuthMode::Open && config.server.public_url.is_some() {
        let detail = "nobody needs a key, and server.public_url says that others come through a proxy";
        return Finding::warn(CHECK, detail, "set auth.mode: keys, or let the proxy ask who comes");
    }
    Finding::ok(CHECK, format!("auth.mode fits a listener on {listen}"))
}

/// Whose requests are whose, behind a proxy.
fn clients(config: &Config) -> Finding {
    const CHECK: &str = "trusted_proxies";
    if config.server.public_url.is_some() && config.server.trusted_proxies.is_empty() {
        let detail =
            "server.public_url says that there is a proxy, but none is trusted: all clients look like one";
        let advice = "set server.trusted_proxies to its address, and let it send X-Forwarded-For";
        return Finding::warn(CHECK, detail, advice);
    }
    Finding::ok(CHECK, format!("{} networks of proxies are trusted", config.server.trusted_proxies.len()))
}

/// `serve` raises its own limit as far as it may.
fn open_files(config: &Config) -> Finding {
    const CHECK: &str = "open_files";
    let (limit, connections) = (getrlimit(Resource::Nofile).maximum, config.server.max_connections);
    let Some(files) = limit else { return Finding::ok(CHECK, "this user may open any number of files") };
    if descriptors::suffice_for(connections, limit) {
        return Finding::ok(
            CHECK,
            format!("this user may open {files} files, enough for {connections} connections"),
        );
    }
    Finding::warn(
        CHECK,
        format!("this user may open {files} files, too few for server.max_connections: {connections}"),
        "lower that, or raise the limit of the service: LimitNOFILE=65536 (systemd), --ulimit nofile=65536 (Docker)",
    )
}

/// Whether the machine has the memory that parts on their way to an object store may take.
fn memory(config: &Config) -> Option<Finding> {
    const CHECK: &str = "memory";
    let upload = &config.file_upload;
    let mut stores = std::iter::once(&upload.storage).chain(&upload.other_stores);
    stores.find(|storage| storage.backend != Backend::Local)?;
    let (room, parts) = (memory_bytes()?, upload.parts_in_flight.bytes());
    let detail = format!(
        "file_upload.parts_in_flight may take {} MiB of the {} MiB that this process may use",
        parts >> 20,
        room >> 20
    );
    if parts > room / 2 {
        let advice =
            "lower it (a part is a quarter of it at most, a file 10,000 parts), or give the service more";
        return Some(Finding::warn(CHECK, detail, advice));
    }
    Some(Finding::ok(CHECK, detail))
}

/// Of the machine, or of the container if that has less.
fn memory_bytes() -> Option<u64> {
    let read = |path| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
    });
    let container = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(container).min()
}

fn time(clock: &dyn Clock, (begun, uptime): (Timestamp, Duration)) -> Finding {
    const CHECK: &str = "clock";
    let now = clock.now();
    if !(OLDEST..LATEST).contains(&now) {
        let advice = "set the clock, and let it be kept right (chrony, systemd-timesyncd)";
        return Finding::fail(CHECK, format!("the clock shows {now}"), advice);
    }
    let (wall, passed) = (now.since(begun), clock.uptime().saturating_sub(uptime));
    if now < begun || wall.abs_diff(passed) > JUMP {
        let detail = format!("the clock went on by {wall:?} in {passed:?}: it is being set");
        return Finding::warn(CHECK, detail, "let it be slewed instead (chrony, systemd-timesyncd)");
    }
    Finding::ok(CHECK, format!("it is {now}, and the clock runs evenly"))
}
