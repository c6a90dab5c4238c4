//! `cifra key`: the keys of the service on this machine.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::Failure;
use super::local::{Local, all};
use super::output::{self, Format};
use crate::auth::NewKey;
use crate::base::principal::Scopes;
use crate::base::{KeyId, TenantId};
use crate::config;
use crate::http::{IssuedView, KeyView};

const EXAMPLES: &str = "\
Examples:
  cifra key create --name website --tenant acme --scopes read
  cifra key create --name deploy --operator --expires-in 90d > deploy.key
  cifra key list
  cifra key revoke 0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c

Works on the database that the configuration names, whether `cifra serve` runs or not; run it as the same user.
A running service accepts a new key at once, and refuses a revoked one within a second.";

/// Make, list and revoke keys
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct KeyCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it; it is never shown again
    Create(Create),
    /// List all keys, revoked ones too, newest first
    List {
        /// Only those of this tenant
        #[arg(long)]
        tenant: Option<TenantId>,
        #[command(flatten)]
        local: Local,
    },
    /// Revoke a key
    Revoke {
        /// The key's id, as `list` shows it
        id: KeyId,
        #[command(flatten)]
        local: Local,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// What people call it
    #[arg(long)]
    name: String,
    /// The tenant it reaches [default: default]
    #[arg(long)]
    tenant: Option<TenantId>,
    /// What it may do there: read, write, admin, with commas between them [default: write, which includes read]
    #[arg(long)]
    scopes: Option<Scopes>,
    /// An operator's key: reaches every tenant and manages the service
    #[arg(long, conflicts_with_all = ["tenant", "scopes"])]
    operator: bool,
    /// When it ends by itself, such as 90d [default: never]
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration)]
    expires_in: Option<Duration>,
    #[command(flatten)]
    local: Local,
}

impl KeyCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Create(create) => create.run().await,
            Action::List { tenant, local } => {
                let listed = local.with(async |on| {
                    let who = on.auth.command_line(tenant.as_ref()).await?;
                    all(async |limit, cursor| on.auth.keys(&who, limit, cursor).await).await
                });
                let shown = |key: &KeyView| tenant.is_none() || key.tenant == tenant;
                let mut keys = listed.await?.into_iter().map(KeyView::from).filter(shown);
                keys.try_for_each(|key| print(&key, local.format()))
            }
            Action::Revoke { id, local } => {
                local
                    .with(async |on| on.auth.revoke_key(&on.auth.command_line(None).await?, id).await)
                    .await?;
                match local.format() {
                    Format::Json => output::print_json(&json!({ "id": id, "revoked": true })),
                    Format::Text => output::print(&format!("revoked {id}\n")),
                }
            }
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let Self { name, tenant, scopes, operator, expires_in, local } = self;
        let new = NewKey { name, scopes, operator, expires_in };
        let made = local
            .with(async |on| on.auth.create_key(&on.auth.command_line(tenant.as_ref()).await?, new).await);
        let made = IssuedView::from(made.await?);
        match local.format() {
            Format::Json => output::print_json(&json!(made)),
            Format::Text => {
                output::say(&format!(
                    "made key {}; keep what follows, it is not shown again",
                    made.record.id
                ));
                output::print(&format!("{}\n", made.key))
            }
        }
    }
}

fn print(key: &KeyView, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::print_json(&json!(key)),
        Format::Text => {
            let whose = key.tenant.as_ref().map_or("operator", TenantId::as_str);
            let state = match (key.revoked_at, key.expires_at) {
                (Some(at), _) => format!("revoked {at}"),
                (None, Some(at)) => format!("expires {at}"),
                (None, None) => "good".to_owned(),
            };
            let (id, scopes, name) = (key.id, key.scopes.join(","), output::printable(&key.name));
            output::print(&format!("{id}  {whose}  {scopes}  {state}  {name}\n"))
        }
    }
}
