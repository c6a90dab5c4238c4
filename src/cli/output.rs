//! Everything that is printed, except progress: results to standard output, words to standard error.

use std::io::{self, Write};

use serde_json::Value;

use super::exit::{Exit, Failure};
use crate::base::Error;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON value a line.
    Json,
}

impl From<bool> for Format {
    /// From the flag `--json`.
    fn from(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Prints a result. A reader that went away (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("writing the output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a result as one line of JSON.
pub(super) fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value}\n"))
}

/// Prints names and values below each other; those without a value are left out.
pub(super) fn print_table(rows: &[(&str, Option<String>)]) -> Result<(), Failure> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = rows.iter().filter_map(|(name, value)| {
        let value = printable(value.as_ref()?);
        Some(format!("{name:width$}  {value}\n"))
    });
    print(&lines.collect::<Vec<_>>().concat())
}

/// Tells the user that something went wrong.
pub(super) fn complain(message: &str) {
    say(&format!("cifra: {message}"));
}

/// Tells the user something.
pub(super) fn say(message: &str) {
    let _ = writeln!(io::stderr().lock(), "{message}"); // without standard error there is nobody to tell
}

/// `text` without the control characters by which a foreign filename could steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// An error of this machine with what lies behind it: for its operator, not for a client.
pub(super) fn explain(error: &Error) -> String {
    let mut text = error.detail().to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
