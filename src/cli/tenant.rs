//! `cifra tenant`: the tenants of the service on this machine.

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::Failure;
use super::local::{Local, all};
use super::output::{self, Format};
use crate::base::TenantId;
use crate::http::TenantView;

const EXAMPLES: &str = "\
Examples:
  cifra tenant create acme
  cifra tenant list --json

Works on the database that the configuration names, whether `cifra serve` runs or not; run it as the same user.";

/// Make and list tenants
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TenantCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a tenant
    #[command(after_help = "Exits with 5 when there is one of this name already.")]
    Create {
        /// Its name: 1 to 63 characters of a-z, 0-9 and -
        id: TenantId,
        #[command(flatten)]
        local: Local,
    },
    /// List all tenants
    List {
        #[command(flatten)]
        local: Local,
    },
}

impl TenantCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Create { id, local } => {
                let made = local
                    .with(async |on| on.auth.create_tenant(&on.auth.command_line(None).await?, id).await);
                print(&made.await?.into(), local.format())
            }
            Action::List { local } => {
                let listed = local.with(async |on| {
                    let who = on.auth.command_line(None).await?;
                    all(async |limit, cursor| {
                        on.auth.tenants(&who, limit, cursor).await.map(|seen| seen.value)
                    })
                    .await
                });
                listed.await?.into_iter().try_for_each(|tenant| print(&tenant.into(), local.format()))
            }
        }
    }
}

fn print(tenant: &TenantView, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::print_json(&json!(tenant)),
        Format::Text => output::print(&format!("{}\n", tenant.id)),
    }
}
