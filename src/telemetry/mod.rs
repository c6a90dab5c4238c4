//! What the service tells about itself: logs, metrics, named tasks.
//!
//! Logs go to standard error, as text or as a JSON object a line. Metric names live in [`metrics`] and nowhere
//! else. Every background task is spawned through [`Tasks`]. What somebody must know of goes to Sentry, see [`reports`];
//! memory that nobody uses goes back to the system, see [`heap`].

pub mod failpoint;
pub mod heap;
pub mod metrics;
pub mod reports;
pub mod tasks;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt};

pub use tasks::Tasks;

use crate::config::LogFormat;

/// Starts logging for the whole process. `filter` is a level (`info`) or directives (`info,sqlx=debug`).
///
/// # Errors
/// If `filter` cannot be read.
pub fn start_logging(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log.level `{filter}`: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter).with(reports::layer());
    let colors = std::io::stderr().is_terminal();
    let started: Result<(), TryInitError> = match format {
        LogFormat::Text => registry
            .with(fmt::layer().with_writer(std::io::stderr).with_ansi(colors).with_target(false))
            .try_init(),
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
    };
    started.map_err(|error| error.to_string())
}
