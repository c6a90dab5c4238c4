//! `cifra download`: one file, resumed, verified, never over another file by accident.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::{self, Format};
use super::progress::{Bars, Wanted};
use super::remote::{Patience, Remote};
use crate::base::FileId;
use crate::client::FileRecord;
use crate::client::download::{self, Existing};

const EXAMPLES: &str = "\
Examples:
  cifra download 0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c
  cifra download 0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c -o film.mkv
  cifra download 0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c -o - | tar -x

While it is on its way the file is called FILE.part; run the same command again after an interruption and it goes \
on from there. FILE appears only when every byte is verified against the file's checksum.";

/// Download a file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Download {
    /// The file's id
    id: FileId,
    /// Where to: a file, a folder, or - for standard output [default: the file's own name, in this folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there already
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    patience: Patience,
}

impl Download {
    pub(super) async fn run(self) -> Result<(), Failure> {
        tokio::select! {
            result = self.download() => result,
            _ = tokio::signal::ctrl_c() => Err(Failure::new(
                Exit::Failed,
                if self.to_stdout() { "interrupted" } else { "interrupted: run the same command again to go on" },
            )),
        }
    }

    fn to_stdout(&self) -> bool {
        self.output.as_deref() == Some(Path::new("-"))
    }

    async fn download(&self) -> Result<(), Failure> {
        let client = self.remote.client(self.patience.retry_for)?;
        let format = self.remote.format();
        let wanted = Wanted::by(self.patience.quiet, format);
        let bars = Bars::new(wanted, 1, 0);
        let (observer, bar) = bars.watch(&self.id.to_string());
        let file = client.file_patiently(self.id, &observer).await?;
        bar.rename(&file.filename);
        if self.to_stdout() {
            let mut out = std::io::stdout();
            let written = download::to_writer(&client, &file, &mut out, &observer).await;
            bar.finish();
            written?;
            return out
                .flush()
                .map_err(|error| Failure::new(Exit::Failed, format!("writing the output: {error}")));
        }
        let target = self.target(&file);
        let existing = if self.force { Existing::Replace } else { Existing::Keep };
        let saved = download::to_file(&client, &file, &target, existing, &observer).await;
        bar.finish();
        saved?;
        let path = target.to_string_lossy();
        match format {
            Format::Json => output::print_json(&json!({ "path": path, "file": file.json })),
            Format::Text => output::print(&format!("{}\n", output::printable(&path))),
        }
    }

    fn target(&self, file: &FileRecord) -> PathBuf {
        match &self.output {
            Some(path) if path.is_dir() => download::target_in(path, file),
            Some(path) => path.clone(),
            None => download::target_in(Path::new(""), file),
        }
    }
}
