//! `cifra ls`: the files on the server, a page of them or all.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;
use indicatif::BinaryBytes;
use serde_json::Value;

use super::exit::Failure;
use super::output::{self, Format};
use super::remote::Remote;
use crate::client::FileQuery;

const EXAMPLES: &str = "\
Examples:
  cifra ls
  cifra ls --type 'image/*' --sort -size --limit 10
  cifra ls --query holiday --all --json | jq -r .id";

/// List files
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Ls {
    /// Only files whose name begins with this, in upper or lower case
    #[arg(short, long, value_name = "TEXT")]
    query: Option<String>,
    /// Only files of this type: image/png, or image/* for all images
    #[arg(short, long = "type", value_name = "TYPE")]
    content_type: Option<String>,
    /// By what: `created_at`, `filename` or `size`; with - before it, the largest or latest first
    #[arg(short, long, value_name = "FIELD", default_value = "-created_at", allow_hyphen_values = true)]
    sort: String,
    /// How many files at most
    #[arg(short, long, value_name = "N", default_value = "50", conflicts_with = "all")]
    limit: NonZeroU32,
    /// All files, however many
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Ls {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.remote.client(Duration::ZERO)?;
        let query =
            FileQuery { filename_start: self.query, content_type: self.content_type, sort: self.sort };
        let mut left = if self.all { u32::MAX } else { self.limit.get() };
        let mut cursor = None;
        while left > 0 {
            let page = client.files(&query, left, cursor.as_deref()).await?;
            match self.remote.format() {
                Format::Json => page.items.iter().try_for_each(output::print_json)?,
                Format::Text => output::print(&table(&page.items))?,
            }
            left = left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(());
            }
        }
        output::say("there are more: --limit N or --all shows them");
        Ok(())
    }
}

/// A line for each file: id, size, when it was made, type, name.
fn table(files: &[Value]) -> String {
    let text = |file: &Value, name: &str| output::printable(file[name].as_str().unwrap_or_default());
    let width = files.iter().map(|file| text(file, "content_type").len()).max().unwrap_or(0);
    let line = |file: &Value| {
        let size = BinaryBytes(file["size"].as_u64().unwrap_or_default()).to_string();
        let created: String = text(file, "created_at").chars().take("2026-11-21T12:00:00".len()).collect();
        let (id, kind, name) = (text(file, "id"), text(file, "content_type"), text(file, "filename"));
        format!("{id}  {size:>10}  {created}Z  {kind:width$}  {name}\n")
    };
    files.iter().map(line).collect()
}
