//! `cifra serve`: loads the configuration and hands it to the service.

use clap::Args;

use super::ConfigFile;
use super::exit::{Exit, Failure};

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
        let sources = crate::config::Environment::of_process();
        crate::telemetry::failpoint::install(sources.get("CIFRA_FAILPOINT"))
            .map_err(|fault| Failure::new(Exit::Usage, fault))?;
        let ended = crate::app::serve(&loaded).await;
        let orderly = ended.map_err(|error| Failure::new(Exit::Failed, explain(&error)))?;
        if !orderly {
            return Err(Failure::new(Exit::Failed, "stopped before every request had ended"));
        }
        Ok(())
    }
}

/// What keeps the service from starting, with what lies behind it: this is for the operator, not a client.
fn explain(error: &crate::base::Error) -> String {
    let mut text = error.detail().to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
