//! `cifra db`: the database itself.

use clap::{Args, Subcommand};
use serde_json::json;

use super::ConfigFile;
use super::exit::Failure;
use super::output;
use crate::app;

const EXAMPLES: &str = "\
Examples:
  cifra db migrate
  cifra db migrate --config /etc/cifra/cifra.yaml --json

`cifra serve` does the same when it starts; with many nodes it is done once before them. It may run while older nodes \
serve. A database that a newer cifra has used is refused.";

/// Look after the database
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DbCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Bring the database's schema up to this version, and say what that took
    Migrate {
        /// Print JSON instead of text, one migration a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
}

impl DbCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Action::Migrate { json, config } = self.action;
        let applied = app::migrate(&config.load()?.config).await?;
        if applied.is_empty() && !json {
            output::say("the database is up to date: there was nothing to apply");
        }
        applied.iter().try_for_each(|step| {
            if json {
                return output::print_json(&json!({ "number": step.number, "name": step.name }));
            }
            output::print(&format!("applied {:04} {}\n", step.number, step.name))
        })
    }
}
