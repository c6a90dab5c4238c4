//! The database: whether it opens, is whole, is as new as this program, and counts right; what a server allows.

use std::path::Path;
use std::time::Duration;

use crate::base::finding::Finding;
use crate::base::{Clock, Correction, Timestamp};
use crate::db::DbOptions;
use crate::db::inspect::{self, Inspector, Server};

/// As the server counts: 14.0.
const VERSION_MIN: i64 = 140_000;

/// Looking at every page of a large database takes longer than anybody waits.
const LOOK_MAX: Duration = Duration::from_secs(20);

pub(super) async fn examine(file: &Path) -> Vec<Finding> {
    const CHECK: &str = "database";
    let shown = file.display();
    if !file.exists() {
        return vec![Finding::ok(CHECK, format!("{shown} will be made at the first start"))];
    }
    let mut inspector = match Inspector::open(file).await {
        Ok(inspector) => inspector,
        Err(error) => {
            let advice = "run doctor as the user of the service; if it is damaged, restore a backup";
            return vec![Finding::fail(CHECK, format!("{shown} cannot be read: {error}"), advice)];
        }
    };
    let findings = vec![
        Finding::ok(CHECK, format!("{shown} can be read")),
        schema(&mut inspector).await,
        whole(&mut inspector).await,
        usage(&mut inspector).await,
    ];
    inspector.close().await;
    findings
}

/// Looks at a PostgreSQL server as the service sees it.
pub(super) async fn examine_server(url: &str, options: &DbOptions, clock: &dyn Clock) -> Vec<Finding> {
    const CHECK: &str = "database";
    let asked = clock.now();
    let mut found = None;
    let connected = async {
        let inspector = found.insert(Inspector::connect(url, options).await?);
        inspector.server().await
    };
    let server = match connected.await {
        Ok(Some(server)) => server,
        Ok(None) => return Vec::new(),
        Err(error) => {
            let why = std::error::Error::source(&error).map(|why| format!(": {why}")).unwrap_or_default();
            let advice = "look at database.url, at the server's log, and at its pg_hba.conf";
            return vec![Finding::fail(CHECK, format!("PostgreSQL cannot be reached: {error}{why}"), advice)];
        }
    };
    let middle = asked.plus(clock.now().since(asked) / 2);
    let mut findings = vec![
        version(&server),
        rights(&server),
        settings(&server),
        connections(&server, options),
        difference(&server, middle),
    ];
    if let Some(inspector) = &mut found {
        findings.push(schema(inspector).await);
        findings.push(usage(inspector).await);
    }
    findings
}

fn version(server: &Server) -> Finding {
    const CHECK: &str = "database";
    if server.version_number < VERSION_MIN {
        let detail = format!("it is PostgreSQL {}, and cifra needs 14", server.version);
        return Finding::fail(CHECK, detail, "upgrade the server (pg_upgrade)");
    }
    if server.encoding != "UTF8" {
        let detail = format!("the database's encoding is {}, which cannot keep every name", server.encoding);
        return Finding::fail(
            CHECK,
            detail,
            "make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
        );
    }
    Finding::ok(CHECK, format!("it is PostgreSQL {}, in {}", server.version, server.encoding))
}

fn rights(server: &Server) -> Finding {
    const CHECK: &str = "database.rights";
    if server.may_write {
        return Finding::ok(CHECK, "this user may write and make tables");
    }
    let advice = "name the primary in database.url, and own the database: ALTER DATABASE … OWNER TO …";
    Finding::fail(CHECK, "it only reads (is it a replica?), or this user may not make tables", advice)
}

/// A pooler between us may drop what a connection asks for when it begins.
fn settings(server: &Server) -> Finding {
    const CHECK: &str = "database.settings";
    if server.has_our_settings {
        return Finding::ok(CHECK, "its time-outs are those of the configuration");
    }
    let advice = "connect to the server itself, or let the pooler (in session mode) pass the startup parameter \
                  `options` on";
    Finding::warn(CHECK, "our statement_timeout does not arrive: is there a pooler between us?", advice)
}

fn connections(server: &Server, options: &DbOptions) -> Finding {
    const CHECK: &str = "database.connections";
    let free = server.connections_max.saturating_sub(server.connections_of_others);
    let ours = i64::from(options.max_connections);
    let nodes = free.max(0) / ours.max(1);
    let detail = format!(
        "{free} connections are there for us: enough for {nodes} nodes with database.max_connections: {ours}"
    );
    let advice = "raise max_connections of the server, or lower database.max_connections";
    match nodes {
        0 => Finding::fail(CHECK, detail, advice),
        1 => Finding::warn(CHECK, detail, advice),
        _ => Finding::ok(CHECK, detail),
    }
}

fn difference(server: &Server, here: Timestamp) -> Finding {
    const CHECK: &str = "database.clock";
    let difference = server.now.since(here).max(here.since(server.now));
    if difference > Correction::BELIEVED_MAX {
        let detail = format!("its clock and this machine's differ by {difference:.0?}: nothing expires here");
        return Finding::fail(CHECK, detail, "keep both right (chrony, systemd-timesyncd)");
    }
    Finding::ok(
        CHECK,
        format!("its clock and this machine's differ by {difference:.1?}; the database's counts"),
    )
}

async fn schema(inspector: &mut Inspector) -> Finding {
    const CHECK: &str = "database.schema";
    match inspector.steps().await {
        Err(error) => Finding::fail(
            CHECK,
            format!("the list of migrations cannot be read: {error}"),
            "restore a backup",
        ),
        Ok(steps) if !steps.unknown.is_empty() => Finding::fail(
            CHECK,
            format!("a newer cifra has used it: this one does not know the migrations {:?}", steps.unknown),
            "start that version, or restore a backup from before",
        ),
        Ok(steps) if !steps.missing.is_empty() => Finding::ok(
            CHECK,
            format!("migrations {:?} come with the next start of this version", steps.missing),
        ),
        Ok(_) => Finding::ok(CHECK, "every migration of this version is applied"),
    }
}

async fn whole(inspector: &mut Inspector) -> Finding {
    const CHECK: &str = "database.integrity";
    match tokio::time::timeout(LOOK_MAX, inspector.damage()).await {
        Err(_) => Finding::skip(
            CHECK,
            format!("it was not looked through in {LOOK_MAX:?}; nothing was wrong until then"),
        ),
        Ok(Ok(None)) => Finding::ok(CHECK, "every page is sound"),
        Ok(Ok(Some(damage))) => {
            Finding::fail(CHECK, format!("it is damaged: {damage}"), inspect::DAMAGE_ADVICE)
        }
        Ok(Err(error)) => {
            Finding::fail(CHECK, format!("it cannot be looked through: {error}"), inspect::DAMAGE_ADVICE)
        }
    }
}

async fn usage(inspector: &mut Inspector) -> Finding {
    const CHECK: &str = "database.usage";
    match tokio::time::timeout(LOOK_MAX, inspector.wrong_usage()).await {
        Err(_) => Finding::skip(CHECK, format!("the rows were not added up in {LOOK_MAX:?}")),
        Ok(Ok(None)) => Finding::skip(CHECK, "nothing is counted before the next start of this version"),
        Ok(Ok(Some(wrong))) if wrong.is_empty() => {
            Finding::ok(CHECK, "what tenants use is what their rows add up to")
        }
        Ok(Ok(Some(wrong))) => {
            let names: Vec<&str> = wrong.iter().map(crate::base::TenantId::as_str).collect();
            Finding::warn(
                CHECK,
                format!("the usage of these tenants is not what their rows add up to: {}", names.join(", ")),
                "restart the service: it counts again at each start",
            )
        }
        Ok(Err(error)) => {
            Finding::fail(CHECK, format!("the rows cannot be added up: {error}"), inspect::DAMAGE_ADVICE)
        }
    }
}
