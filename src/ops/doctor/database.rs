//! The database: whether it opens, is whole, is as new as this program, and counts right.

use std::path::Path;
use std::time::Duration;

use crate::base::finding::Finding;
use crate::db::inspect::{self, Inspector};

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
