//! `cifra upload`: files and folders, several at a time, with what an interrupted run left.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use futures_util::{StreamExt, stream};

use super::exit::{Exit, Failure};
use super::folder;
use super::output::{self, Format};
use super::progress::{Bars, Wanted};
use super::remote::{Patience, Remote};
use crate::client::upload::{Item, Options, Resume, Uploaded, Uploader};
use crate::client::{Client, Kind};
use crate::config::{self, ByteSize};

const EXAMPLES: &str = "\
Examples:
  cifra upload film.mkv
  cifra upload --server https://media.example.com photos/ notes.txt
  cifra upload --json film.mkv | jq -r .id
  CIFRA_API_KEY_FILE=~/.cifra-key cifra upload --parallel 8 backup.tar

Prints a line for each file: its id, the URL of its bytes, its path. With --json: the file's record.

An interrupted upload (Ctrl-C, a crash, a server away for longer than --retry-for) goes on when the same command \
is run again: the unchanged file is recognized by its path, size, modification time and inode.";

/// Upload files, and folders with everything below them
///
/// Small files go up in one request, others in chunks, several at a time, each with a checksum (CRC64NVME) that the
/// server verifies; the whole file's checksum is verified at the end, so that a file edited meanwhile is caught. Files of a folder keep their
/// path within it as `metadata.path`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Upload {
    /// What to upload
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// How many chunks travel at a time
    #[arg(short, long, value_name = "N", default_value = "4", value_parser = parallel)]
    parallel: NonZeroUsize,
    /// Start over: end what an interrupted upload left, and store the file anew
    #[arg(long)]
    fresh: bool,
    /// The size of chunks to ask for; the server decides [default: the server's]
    #[arg(long, value_name = "SIZE", value_parser = config::parse_size)]
    chunk_size: Option<ByteSize>,
    /// Send larger files by chunks, others in one request
    #[arg(long, value_name = "SIZE", default_value = "10MB", value_parser = config::parse_size)]
    chunked_above: ByteSize,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    patience: Patience,
}

/// More connections than this help nobody.
const PARALLEL_MAX: usize = 64;

fn parallel(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= PARALLEL_MAX);
    number.ok_or_else(|| format!("expected a number from 1 to {PARALLEL_MAX}"))
}

impl Upload {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.remote.client(self.patience.retry_for)?;
        let paths = self.paths.clone();
        let found = tokio::task::spawn_blocking(move || folder::find(&paths)).await;
        let found = found.map_err(|error| Failure::new(Exit::Failed, error.to_string()))??;
        let format = self.remote.format();
        let wanted = Wanted::by(self.patience.quiet, format);
        let bytes = found.items.iter().map(|(_, bytes)| bytes).sum();
        let bars = Bars::new(wanted, found.items.len(), bytes);
        for path in &found.skipped {
            let path = output::printable(&path.to_string_lossy());
            bars.say(&format!("skipped {path}: neither a file nor a folder, or a link to a folder"));
        }
        let items: Vec<Item> = found.items.into_iter().map(|(item, _)| item).collect();
        let job =
            Job { client: client.clone(), uploader: Uploader::new(client, self.options()), bars, format };
        tokio::select! {
            result = job.upload_all(items, self.parallel.get()) => result,
            _ = tokio::signal::ctrl_c() => Err(Failure::new(
                Exit::Failed,
                "interrupted: the server keeps what was sent; run the same command again to go on",
            )),
        }
    }

    fn options(&self) -> Options {
        Options {
            parallel: self.parallel.get(),
            resume: if self.fresh { Resume::Fresh } else { Resume::Yes },
            chunk_size: self.chunk_size.map(ByteSize::bytes),
            // Who wishes for chunks of a size wants chunks.
            chunked_above: if self.chunk_size.is_some() { 0 } else { self.chunked_above.bytes() },
        }
    }
}

/// One run of the command.
struct Job {
    client: Client,
    uploader: Uploader,
    bars: Bars,
    format: Format,
}

impl Job {
    /// Uploads all files. One that fails does not stop the others, unless the server is away.
    async fn upload_all(&self, items: Vec<Item>, at_a_time: usize) -> Result<(), Failure> {
        let count = items.len();
        let mut failures: Vec<Failure> = Vec::new();
        let mut uploads = stream::iter(items).map(|item| self.upload(item)).buffer_unordered(at_a_time);
        while let Some(result) = uploads.next().await {
            let Err(failure) = result else { continue };
            if failure.exit == Exit::Unavailable {
                return Err(failure);
            }
            if count > 1 {
                self.bars.suspend(|| output::complain(&failure.message));
            }
            failures.push(failure);
        }
        let failed = failures.len();
        match failures.into_iter().next() {
            Some(first) if count == 1 => Err(first),
            Some(first) => {
                Err(Failure::new(first.exit, format!("{failed} of {count} files were not uploaded")))
            }
            None => Ok(()),
        }
    }

    async fn upload(&self, item: Item) -> Result<(), Failure> {
        let path = item.path.to_string_lossy();
        let (observer, bar) = self.bars.watch(&path);
        let result = self.uploader.upload(&item, &observer).await;
        bar.finish();
        match result {
            Ok(uploaded) => self.bars.suspend(|| self.print(&path, &uploaded)),
            Err(error) => {
                let mut failure = Failure::from(error);
                failure.message = format!("{}: {}", output::printable(&path), failure.message);
                if failure.exit == Kind::Unavailable.into() {
                    failure.message +=
                        "; the server keeps what was sent: run the same command again to go on";
                }
                Err(failure)
            }
        }
    }

    fn print(&self, path: &str, uploaded: &Uploaded) -> Result<(), Failure> {
        let file = &uploaded.file;
        if self.format == Format::Json {
            return output::print_json(&file.json);
        }
        if uploaded.was_there {
            output::say(&format!(
                "{} is there already, unchanged; --fresh stores it anew",
                output::printable(path)
            ));
        }
        let url = self.client.absolute(&file.content_url);
        output::print(&format!("{}  {}  {}\n", file.id, output::printable(&url), output::printable(path)))
    }
}
