//! What can be wrong with a configuration, and how it is told: one line a fault, all at once.
//! Made by `load` and `reader`; `cli` prints.

use std::fmt;
use std::path::PathBuf;

/// Everything that is wrong with a configuration; at least one fault. `Display` has a line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it came from.
    pub origin: Origin,
    /// The key, such as `server.listen`; empty when the whole source is at fault.
    pub key: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// cifra's own default.
    BuiltIn,
    /// A file; the position is that of the key, or where the file stops being YAML.
    File(PathBuf, Option<Position>),
    /// An environment variable, by its name.
    Environment(String),
    /// The command line.
    Flag,
}

/// A place in a text; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// There is no such key.
    UnknownKey {
        /// A key of nearly this name.
        suggestion: Option<String>,
    },
    /// The key belongs to a part that this version has not got.
    KeyNotBuilt,
    /// The value belongs to a part that this version has not got.
    ValueNotBuilt {
        /// What was found.
        found: String,
        /// What there is.
        expected: String,
    },
    /// The value is not right.
    WrongValue {
        /// What was found.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// The key stands twice in the file.
    DuplicateKey,
    /// The source can't be read; the text says why.
    Unreadable(String),
}

impl Faults {
    /// The faults, in the order of their sources and lines; `None` when there are none.
    pub(super) fn of(mut faults: Vec<Fault>) -> Option<Self> {
        faults.sort_by(|a, b| a.origin.cmp(&b.origin));
        if faults.is_empty() { None } else { Some(Self(faults)) }
    }

    /// A source that can't be read.
    pub(super) fn unreadable(origin: Origin, why: String) -> Self {
        Self(vec![Fault { origin, key: String::new(), problem: Problem::Unreadable(why) }])
    }

    /// The faults, in the order of their sources and lines.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a fault:")?,
            n => write!(f, "the configuration has {n} faults:")?,
        }
        self.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        self.problem.fmt(f)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("default"),
            Self::File(path, None) => path.display().fmt(f),
            Self::File(path, Some(at)) => write!(f, "{}:{}:{}", path.display(), at.line, at.column),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { suggestion: None } => f.write_str("unknown key"),
            Self::UnknownKey { suggestion: Some(key) } => write!(f, "unknown key; did you mean {key}?"),
            Self::KeyNotBuilt => {
                f.write_str("this part of cifra is not built yet in this version; remove the key")
            }
            Self::ValueNotBuilt { found, expected } => {
                write!(f, "{found} is not available in this version, expected {expected}")
            }
            Self::WrongValue { found, expected } => write!(f, "found {found}, expected {expected}"),
            Self::DuplicateKey => f.write_str("the key stands here a second time"),
            Self::Unreadable(why) => f.write_str(why),
        }
    }
}

/// The one of `known` that `path` is probably meant to be. Case, `-` and `_` don't count: `maxFileSize` is
/// near.
pub(super) fn nearest<'a>(path: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
    let last = |text: &str| plain(text.rsplit('.').next().unwrap_or(text));
    let (wanted, wanted_last) = (plain(path), last(path));
    // A third of the last word may be wrong, but no more than three letters: else anything is near.
    let allowed = (wanted_last.chars().count() / 3).clamp(1, 3);
    let near = known
        .clone()
        .map(|key| (distance(&wanted, &plain(key)), key))
        .filter(|(distance, _)| *distance <= allowed)
        .min();
    // Else the right word in the wrong section, unless it could be more than one.
    let mut same_word = known.filter(|key| last(key) == wanted_last);
    let elsewhere = same_word.next().filter(|_| same_word.next().is_none());
    near.map(|(_, key)| key).or(elsewhere).map(str::to_owned)
}

/// Letters to insert, remove or replace to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
