//! `cifra storage`: the stores that the configuration names.

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::Failure;
use super::local::Local;
use super::output::{self, Format, printable};
use crate::app;
use crate::ops::orphans::{Orphan, Summary, Treatment};

const EXAMPLES: &str = "\
Examples:
  cifra storage orphans
  cifra storage orphans --store old --json
  cifra storage orphans --confirm

It may run beside `cifra serve`, and looks at the bytes of one store: those that no file, upload or deletion in the \
database names, and that are at least a day old. Nothing is removed without --confirm. After a database was restored \
from a backup, look before you remove: what came after the backup is in the store and not in the database.";

/// Look after the stores
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StorageCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what is in a store although nothing in the database names it
    #[command(after_help = "Exits with 3 when no store of this name is configured, with 6 when it is away.")]
    Orphans {
        /// The store's name [default: the one that takes new files]
        #[arg(long, value_name = "NAME")]
        store: Option<String>,
        /// Remove them; each is looked up in the database once more before
        #[arg(long)]
        confirm: bool,
        #[command(flatten)]
        local: Local,
    },
}

impl StorageCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Action::Orphans { store, confirm, local } = self.action;
        let treatment = if confirm { Treatment::Remove } else { Treatment::Report };
        let (loaded, format) = (local.load()?, local.format());
        let mut printed = Ok(());
        let told = app::orphans(&loaded.config, store.as_deref(), treatment, |orphan| {
            if printed.is_ok() {
                printed = print(orphan, treatment, format);
            }
        });
        let (name, summary) = told.await?;
        printed?;
        print_summary(&name, summary, treatment, format)
    }
}

fn print(orphan: &Orphan, treatment: Treatment, format: Format) -> Result<(), Failure> {
    let removed = treatment == Treatment::Remove;
    let (kind, key, size, since) = match orphan {
        Orphan::Blob(meta) => ("blob", &meta.key, Some(meta.size), meta.modified),
        Orphan::Unfinished(unfinished) => ("unfinished", &unfinished.key, None, unfinished.begun),
    };
    match format {
        Format::Json => output::print_json(
            &json!({ "kind": kind, "key": key.as_str(), "size": size, "since": since, "removed": removed }),
        ),
        Format::Text => {
            let size = size.map_or_else(String::new, |size| format!("  {size} bytes"));
            let removed = if removed { "  removed" } else { "" };
            output::print(&format!("{kind:10}  {since}  {}{size}{removed}\n", printable(key.as_str())))
        }
    }
}

fn print_summary(name: &str, found: Summary, treatment: Treatment, format: Format) -> Result<(), Failure> {
    let Summary { looked_at, blobs, bytes, unfinished, foreign, removed } = found;
    if let Format::Json = format {
        return output::print_json(&json!({
            "kind": "summary", "store": name, "looked_at": looked_at, "blobs": blobs, "bytes": bytes,
            "unfinished": unfinished, "foreign": foreign, "removed": removed,
        }));
    }
    let foreign = match foreign {
        0 => String::new(),
        _ => format!(", {foreign} names that are not cifra's (left alone)"),
    };
    let done = match treatment {
        Treatment::Remove => format!("; removed {removed}"),
        Treatment::Report if blobs + unfinished > 0 => "; --confirm removes them".to_owned(),
        Treatment::Report => String::new(),
    };
    output::print(&format!(
        "store {name}: {blobs} orphans with {bytes} bytes among {looked_at} blobs, \
         {unfinished} unfinished uploads of nobody{foreign}{done}\n"
    ))
}
