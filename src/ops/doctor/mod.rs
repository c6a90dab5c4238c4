//! What can be wrong with a machine before the service meets it: folders, room, rights, limits, the database.
//!
//! Looks, and changes nothing: it opens the database for reading only and takes no lock, so it can run beside
//! `serve`. What speaks HTTP is `client::probe`'s. Called by `cifra doctor`.

mod database;
mod disk;

use std::time::Duration;

use crate::base::finding::Finding;
use crate::base::{Clock, Timestamp};
use crate::config::{AuthMode, Config, DatabaseUrl};

/// A clock that shows an earlier time was never set.
const OLDEST: Timestamp = Timestamp::from_micros(1_767_225_600_000_000); // 2026-01-01
/// And a later one was set wrong.
const LATEST: Timestamp = Timestamp::from_micros(4_102_444_800_000_000); // 2100-01-01
/// A server with 1,000 clients has a few files open for each of them.
const FILES_ENOUGH: u64 = 4_096;
/// A wall clock that ran this much further than time did is being set by somebody.
const JUMP: Duration = Duration::from_secs(1);

/// Looks at everything that needs no running server.
pub async fn examine(config: &Config, clock: &dyn Clock) -> Vec<Finding> {
    let begun = (clock.now(), clock.uptime());
    let mut findings = vec![access(config)];
    let examined = config.clone();
    let disk = tokio::task::spawn_blocking(move || disk::examine(&examined)).await;
    findings.extend(disk.unwrap_or_else(|error| {
        vec![Finding::fail("disk", format!("the checks broke off: {error}"), "report this as a bug")]
    }));
    let DatabaseUrl::Sqlite(file) = &config.database.url;
    findings.extend(database::examine(file).await);
    findings.push(open_files());
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

fn open_files() -> Finding {
    const CHECK: &str = "open_files";
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < FILES_ENOUGH => Finding::warn(
            CHECK,
            format!("this process may open {limit} files; each connection and each upload needs one"),
            "raise the limit of the service: LimitNOFILE=65536 (systemd), --ulimit nofile=65536 (Docker), \
             ulimit -n 65536 (a shell)",
        ),
        Some(limit) => Finding::ok(CHECK, format!("a process started like this one may open {limit} files")),
        None => Finding::ok(CHECK, "a process started like this one may open any number of files"),
    }
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
