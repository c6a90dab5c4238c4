//! Progress bars: one for each file on its way, one for all of them; only on a terminal.
//!
//! Without a terminal (or with `--quiet`, `--json`) there are no bars, and a server that lets us wait is told
//! now and then as a line, whether it is away or at work.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{self, Format};
use crate::client::{Event, Observer};

/// Between two lines that say the server lets us wait.
const WAITING_LINES_EVERY: Duration = Duration::from_secs(15);

/// Whether bars are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// If there is a terminal to show them on.
    Yes,
    /// No (`--json`); but that the server lets us wait is told now and then.
    Lines,
    /// Nothing at all (`--quiet`).
    No,
}

impl Wanted {
    /// As `--quiet` and `--json` say.
    pub(super) fn by(quiet: bool, format: Format) -> Self {
        match format {
            _ if quiet => Self::No,
            Format::Json => Self::Lines,
            Format::Text => Self::Yes,
        }
    }
}

/// All bars of one command.
pub(super) struct Bars {
    multi: MultiProgress,
    wanted: Wanted,
    visible: bool,
    /// The sum over all files, when there are several.
    total: Option<ProgressBar>,
    waiting_line: Arc<Mutex<Option<Instant>>>,
}

impl Bars {
    /// Bars for `files` files of `bytes` bytes in all.
    pub(super) fn new(wanted: Wanted, files: usize, bytes: u64) -> Self {
        let visible = wanted == Wanted::Yes && std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let multi = MultiProgress::with_draw_target(target);
        let total = (files > 1).then(|| {
            let bar = multi.add(bar(bytes));
            bar.set_prefix(format!("{files} files"));
            bar
        });
        Self { multi, wanted, visible, total, waiting_line: Arc::default() }
    }

    /// Watches one file, called `name`, until the returned bar is finished.
    pub(super) fn watch(&self, name: &str) -> (Observer, FileBar) {
        let bar = bar(0);
        bar.set_prefix(output::printable(name));
        let bar = match &self.total {
            Some(total) => self.multi.insert_before(total, bar),
            None => self.multi.add(bar),
        };
        let file = FileBar { bar, total: self.total.clone(), counted: Arc::default() };
        let (watched, multi, waiting_line) =
            (file.clone(), self.multi.clone(), Arc::clone(&self.waiting_line));
        let (visible, quiet) = (self.visible, self.wanted == Wanted::No);
        let observer = Arc::new(move |event| match event {
            Event::Note(text) if visible => drop(multi.println(output::printable(&text))),
            Event::Note(text) => output::say(&output::printable(&text)),
            Event::Waiting { .. } | Event::Finishing { .. } if quiet => {}
            Event::Waiting { why, wait } if !visible => tell_waiting(&waiting_line, || {
                let why = output::printable(&why);
                format!("waiting {:.1} s before the next attempt: {why}", wait.as_secs_f64())
            }),
            Event::Finishing { done, total } if !visible => {
                tell_waiting(&waiting_line, || finishing(done, total));
            }
            event => watched.show(event),
        });
        (observer, file)
    }

    /// Tells the user something, above the bars.
    pub(super) fn say(&self, message: &str) {
        if self.visible {
            drop(self.multi.println(message));
        } else {
            output::say(message);
        }
    }

    /// How far all files are together, when there are several.
    #[cfg(test)]
    pub(super) fn total_position(&self) -> Option<u64> {
        self.total.as_ref().map(ProgressBar::position)
    }

    /// Calls `print` while no bar is in its way.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.multi.suspend(print)
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some(total) = &self.total {
            total.finish_and_clear();
        }
    }
}

/// The bar of one file.
#[derive(Clone)]
pub(super) struct FileBar {
    bar: ProgressBar,
    total: Option<ProgressBar>,
    /// How much of the total is this file's doing.
    counted: Arc<AtomicU64>,
}

impl FileBar {
    fn show(&self, event: Event) {
        match event {
            Event::Started(bytes) => {
                let counted = self.counted.swap(0, Ordering::Relaxed);
                if let Some(total) = &self.total {
                    total.dec(counted);
                }
                self.bar.set_length(bytes);
                self.bar.set_position(0);
                self.bar.reset_eta();
            }
            Event::Found(bytes) => {
                self.count(bytes);
                // These bytes did not travel: the rate and what is left of the time are not theirs.
                self.bar.reset_eta();
            }
            Event::Moved(bytes) => {
                self.count(bytes);
                if !self.bar.message().is_empty() {
                    self.bar.set_message("");
                }
            }
            Event::Lost(bytes) => {
                self.counted.fetch_sub(bytes, Ordering::Relaxed);
                for bar in self.total.iter().chain([&self.bar]) {
                    bar.dec(bytes);
                }
            }
            Event::Waiting { why, wait } => {
                let why = output::printable(&why);
                self.bar.set_message(format!("  waiting {:.1} s: {why}", wait.as_secs_f64()));
            }
            Event::Finishing { done, total } => {
                self.bar.set_message(format!("  {}", finishing(done, total)));
            }
            Event::Note(_) => {}
        }
    }

    fn count(&self, bytes: u64) {
        self.counted.fetch_add(bytes, Ordering::Relaxed);
        for bar in self.total.iter().chain([&self.bar]) {
            bar.inc(bytes);
        }
    }

    /// How far the file is.
    #[cfg(test)]
    pub(super) fn position(&self) -> u64 {
        self.bar.position()
    }

    /// Shows another name.
    pub(super) fn rename(&self, name: &str) {
        self.bar.set_prefix(output::printable(name));
    }

    /// Takes the bar away: the file is done, or given up.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix:.bold} {wide_bar} {percent:>3}% {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} \
         {eta}{msg:.yellow}",
    );
    let style = style.expect("INVARIANT: the template is a constant that the tests draw");
    ProgressBar::new(bytes).with_style(style)
}

/// What the server is doing when it has all bytes.
fn finishing(done: u64, total: u64) -> String {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    format!("the server is verifying the file: {percent}%")
}

fn tell_waiting(last: &Mutex<Option<Instant>>, line: impl FnOnce() -> String) {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_none_or(|last| last.elapsed() >= WAITING_LINES_EVERY) {
        *last = Some(Instant::now());
        output::say(&line());
    }
}
