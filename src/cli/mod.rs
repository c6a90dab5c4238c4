//! The command line: reads the arguments, calls one function, prints, and answers with an exit code.
//!
//! A file for each command; `remote` is what those share that talk to a server, `output` is everything that is
//! printed, `exit` the meaning of the codes. Results go to standard output, everything else to standard error.
//! Called by `main` only.

mod cache;
mod config;
mod db;
mod doctor;
mod download;
mod exit;
mod folder;
mod health;
mod info;
mod key;
mod local;
mod ls;
mod output;
mod progress;
mod remote;
mod rm;
mod serve;
mod storage;
mod tenant;
mod thumbnails;
mod upload;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use exit::{Exit, Failure};

/// After Ctrl-C or an error, a read that is under way may take this long to end; then it is left behind.
const RUNTIME_STOP_TIMEOUT: Duration = Duration::from_millis(200);

/// Self-hosted storage for large files: resumable, checksummed, one binary
#[derive(Debug, Parser)]
#[command(name = "cifra", version, arg_required_else_help = true, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Upload(upload::Upload),
    Download(download::Download),
    Ls(ls::Ls),
    Info(info::Info),
    Rm(rm::Rm),
    Cache(cache::CacheCommand),
    Health(health::Health),
    Config(config::ConfigCommand),
    Doctor(doctor::Doctor),
    Storage(storage::StorageCommand),
    Thumbnails(thumbnails::ThumbnailsCommand),
    Tenant(tenant::TenantCommand),
    Key(key::KeyCommand),
    Db(db::DbCommand),
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file [default: the one that the environment's `CIFRA_CONFIG` names, else the first of
    /// ./cifra.yaml, ./config/cifra.yaml, /etc/cifra/cifra.yaml, else built-in values]
    #[arg(long = "config", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl ConfigFile {
    /// # Errors
    /// [`Exit::Usage`] with all faults.
    fn load(&self) -> Result<crate::config::Loaded, Failure> {
        let sources = crate::config::Sources::of_process(self.file.clone(), Vec::new());
        let sources =
            sources.map_err(|error| Failure::new(Exit::Failed, format!("working directory: {error}")))?;
        crate::config::load(&sources).map_err(|faults| Failure::new(Exit::Usage, faults.to_string()))
    }
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    crate::telemetry::heap::bound();
    let cli = Cli::parse(); // answers --help, --version and usage errors (2) by itself
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(Exit::Failed, format!("can't start threads: {error}")).report(),
    };
    let result = runtime.block_on(run(cli.command));
    runtime.shutdown_timeout(RUNTIME_STOP_TIMEOUT);
    match result {
        Ok(()) => Exit::Done.into(),
        Err(failure) => failure.report(),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(command) => command.run().await,
        Command::Upload(command) => command.run().await,
        Command::Download(command) => command.run().await,
        Command::Ls(command) => command.run().await,
        Command::Info(command) => command.run().await,
        Command::Rm(command) => command.run().await,
        Command::Cache(command) => command.run().await,
        Command::Health(command) => command.run().await,
        Command::Config(command) => command.run(),
        Command::Doctor(command) => command.run().await,
        Command::Storage(command) => command.run().await,
        Command::Thumbnails(command) => command.run().await,
        Command::Tenant(command) => command.run().await,
        Command::Key(command) => command.run().await,
        Command::Db(command) => command.run().await,
    }
}
