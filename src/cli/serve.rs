//! `cifra serve`: loads the configuration, builds the service, opens its door, and stops it when asked to.

use std::future::Future;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output;
use crate::app::App;
use crate::base::{Code, Error, Result, SystemClock};
use crate::config::{Environment, Loaded};
use crate::http::Server;
use crate::ops::descriptors;
use crate::telemetry::reports;

const EXAMPLES: &str = "\
Examples:
  cifra serve
  cifra serve --config /etc/cifra/cifra.yaml
  CIFRA__SERVER__LISTEN=127.0.0.1:9000 cifra serve

Without a configuration it listens on 127.0.0.1:8080 and keeps everything in ./data.
SIGTERM or Ctrl-C stops it gracefully, within server.shutdown_timeout.";

/// Run the service
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let loaded = self.config.load()?;
        let environment = Environment::of_process();
        crate::telemetry::failpoint::install(environment.get("CIFRA_FAILPOINT"))
            .map_err(|fault| Failure::new(Exit::Usage, fault))?;
        let ended = serve(&loaded, &environment).await;
        let orderly = ended.map_err(|error| Failure::new(Exit::Failed, output::explain(&error)))?;
        if !orderly {
            return Err(Failure::new(Exit::Failed, "stopped before every request had ended"));
        }
        Ok(())
    }
}

/// Runs the service as configured until the process is asked to stop (SIGTERM, or SIGINT as from Ctrl-C).
/// Whether everything ended by itself in the time it had.
///
/// # Errors
/// What keeps the service from starting, in words for its operator.
async fn serve(loaded: &Loaded, environment: &Environment) -> Result<bool> {
    let config = &loaded.config;
    crate::telemetry::start_logging(config.log.format, config.log.level.as_str()).map_err(broken)?;
    let _reports = reports::start(environment.get("SENTRY_DSN")).map_err(broken)?;
    tracing::info!("configuration: {}", loaded.source);
    let (limit, connections) = (descriptors::raise(), config.server.max_connections);
    if !descriptors::suffice_for(connections, limit) {
        let limit = limit.unwrap_or_default();
        tracing::warn!(
            limit,
            "{limit} files may be open at once, too few for server.max_connections: {connections} with a file each; \
             raise the limit (ulimit -n, LimitNOFILE) or lower the key"
        );
    }
    let signals = stop_signals().map_err(|error| broken(format!("signals cannot be received: {error}")))?;
    let app = App::build(config, Arc::new(SystemClock::default())).await?;
    let server = Server::bind(config.server.listen, app.services()).await?;
    let address =
        server.address().map_err(|error| broken(format!("the listener has no address: {error}")))?;
    tracing::info!(%address, "cifra {} listens on http://{address}", env!("CARGO_PKG_VERSION"));
    let orderly = app.run(server.run(), signals).await;
    tracing::info!("stopped");
    Ok(orderly)
}

/// Ready when the process is asked to stop; registered before anything is opened, so that no signal is lost.
fn stop_signals() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn broken(detail: String) -> Error {
    Error::new(Code::Internal, detail)
}
