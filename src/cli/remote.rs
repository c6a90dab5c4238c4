//! What the commands share that talk to a server: its address, the key, the format, patience.

use std::time::Duration;

use clap::Args;

use super::exit::{Exit, Failure};
use super::output::Format;
use crate::client::{Client, Settings};
use crate::config::{self, Environment};

/// Options of every command that talks to a server.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The server
    #[arg(long, env = "CIFRA_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// Print JSON instead of text, one value a line
    #[arg(long)]
    json: bool,
}

/// Options of the commands that may take long.
#[derive(Debug, Args)]
pub(super) struct Patience {
    /// For how long to try again while the server is away or busy; 0 tries once
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = config::parse_duration)]
    pub(super) retry_for: Duration,
    /// Show no progress
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl Remote {
    /// A client of the server, with the key of the environment.
    pub(super) fn client(&self, retry_for: Duration) -> Result<Client, Failure> {
        client_of(self.server.clone(), retry_for)
    }

    pub(super) fn format(&self) -> Format {
        self.json.into()
    }
}

/// A client of `server`, with the key of the environment.
pub(super) fn client_of(server: String, retry_for: Duration) -> Result<Client, Failure> {
    let key = api_key(&Environment::of_process())?;
    Ok(Client::new(&Settings { server, key, retry_for })?)
}

/// The key from `CIFRA_API_KEY`, or from the file that `CIFRA_API_KEY_FILE` names. Never from an argument: those
/// are visible to every user of the machine.
pub(super) fn api_key(environment: &Environment) -> Result<Option<String>, Failure> {
    match (environment.get("CIFRA_API_KEY"), environment.get("CIFRA_API_KEY_FILE")) {
        (None, None) => Ok(None),
        (Some(key), None) => Ok(Some(key.trim().to_owned())),
        (None, Some(path)) => match std::fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => {
                Err(Failure::new(Exit::Usage, format!("CIFRA_API_KEY_FILE: {path} is empty")))
            }
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) => Err(Failure::new(Exit::Usage, format!("CIFRA_API_KEY_FILE: {path}: {error}"))),
        },
        (Some(_), Some(_)) => {
            Err(Failure::new(Exit::Usage, "CIFRA_API_KEY and CIFRA_API_KEY_FILE are both set: set one"))
        }
    }
}
