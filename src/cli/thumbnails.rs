//! `cifra thumbnails`: small pictures of the files that are there.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::local::Local;
use super::output::{self, Format};
use crate::app::{self, Rebuilding};
use crate::base::TenantId;
use crate::base::thumbnail::SizeName;
use crate::ops::rebuild::Wish;

const EXAMPLES: &str = "\
Examples:
  cifra thumbnails rebuild --missing
  cifra thumbnails rebuild --size small --tenant acme
  cifra thumbnails rebuild --json

Beside a running `cifra serve` it adds the work and watches; without one it does the work. Interrupted, the same command \
goes on where it was, and a service does what is waiting. New pictures, and those that somebody asks for, go first.";

/// Between two lines about how far it is.
const LINES_EVERY: Duration = Duration::from_secs(2);

/// Look after the thumbnails
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ThumbnailsCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make thumbnails again, also those that failed
    #[command(
        after_help = "Exits with 3 when no such size is configured, with 6 when the database or some of the files are away."
    )]
    Rebuild {
        /// Of this size only
        #[arg(long, value_name = "NAME", value_parser = size)]
        size: Option<SizeName>,
        /// Only those that are not there, or were made by another configuration of their size
        #[arg(long)]
        missing: bool,
        /// Of this tenant only
        #[arg(long, value_name = "TENANT")]
        tenant: Option<TenantId>,
        #[command(flatten)]
        local: Local,
    },
}

fn size(text: &str) -> Result<SizeName, &'static str> {
    text.parse().map_err(|()| "expected 1 to 32 of a-z, 0-9, - and _, a letter first")
}

impl ThumbnailsCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Action::Rebuild { size, missing, tenant, local } = self.action;
        let wish = Wish { size, only_missing: missing, tenant };
        let (loaded, format) = (local.load()?, local.format());
        if loaded.config.thumbnails.sizes.is_empty() {
            return Err(Failure::new(
                Exit::NotFound,
                "no thumbnails are configured (thumbnails.sizes)".to_owned(),
            ));
        }
        let mut last = None::<Instant>;
        let looked = app::rebuild(&loaded.config, &wish, |now| {
            let due = last.is_none_or(|last| last.elapsed() >= LINES_EVERY);
            if due || now == Rebuilding::Beside {
                output::say(&line(&now));
                last = Some(Instant::now());
            }
        });
        let looked = looked.await?;
        match format {
            Format::Json => output::print_json(
                &json!({ "kind": "summary", "pictures": looked.pictures, "rebuilt": looked.added }),
            ),
            Format::Text => output::print(&format!(
                "{} pictures were looked at, the thumbnails of {} were made again\n",
                looked.pictures, looked.added
            )),
        }
    }
}

fn line(now: &Rebuilding) -> String {
    match now {
        Rebuilding::Beside => {
            "the work is left to the process that has the data, with the sizes it was started with".to_owned()
        }
        Rebuilding::Looking(looked) => {
            format!("{} pictures looked at, {} to be made again", looked.pictures, looked.added)
        }
        Rebuilding::Waiting { pictures, failed_before: 0 } => format!("{pictures} pictures wait"),
        Rebuilding::Waiting { pictures, failed_before } => {
            format!("{pictures} pictures wait, {failed_before} of them failed before and are tried again")
        }
    }
}
