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
    #[expect(clippy::unused_async, reason = "the service runs until it is told to stop")]
    pub(super) async fn run(self) -> Result<(), Failure> {
        let _loaded = self.config.load()?;
        // INTEGRATION: `crate::app::serve(loaded).await`, its error as `Exit::Failed`.
        Err(Failure::new(Exit::Failed, "this build has no service yet"))
    }
}
