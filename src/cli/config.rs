//! `cifra config`: check it, show what is in effect, print the documented default.

use clap::{Args, Subcommand};
use serde_json::json;

use super::ConfigFile;
use super::exit::Failure;
use super::output::{self, Format};
use crate::config::default_yaml;

const EXAMPLES: &str = "\
Examples:
  cifra config default > cifra.yaml
  cifra config check --config cifra.yaml
  CIFRA__SERVER__LISTEN=127.0.0.1:9000 cifra config show";

/// Check the configuration, show it, or print a documented default
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConfigCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read the configuration as `serve` would, and list everything that is wrong with it
    #[command(after_help = "Exits with 2 when there are faults; each is told with its file, line and key.")]
    Check {
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Print the values in effect, each with where it comes from
    #[command(after_help = "The output is YAML; read as a configuration file it means the same.")]
    Show {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Print a file with every key, its default and its meaning
    #[command(after_help = "Example:\n  cifra config default > cifra.yaml")]
    Default,
}

impl ConfigCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Check { json, config } => {
                let source = config.load()?.source.to_string();
                match Format::from(json) {
                    Format::Json => output::print_json(&json!({ "source": source, "faults": [] })),
                    Format::Text => output::print(&format!("the configuration is right ({source})\n")),
                }
            }
            Action::Show { config } => output::print(&config.load()?.show()),
            Action::Default => output::print(&default_yaml()),
        }
    }
}
