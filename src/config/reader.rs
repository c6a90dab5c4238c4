//! Reads keys out of the layers (command line > environment > file > default) and remembers what it saw: the
//! keys that there are, their effective values and every fault. Sections call `take`, `optional`, `derived`,
//! `section` and `check`; `load` and `render` take what was remembered. No I/O.

mod named;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::document::{Document, Member, Node};
use super::environment::{Environment, key_of_name, name_of_key};
use super::fault::{Fault, Origin, Problem, nearest};
use super::secret::InFile;
use super::value::{Refusal, Value};
use super::{not_built, secret};
use crate::base::Secret;

/// Variables of other programs' making that stand for a key, weaker than the key's own `CIFRA__…`.
pub(super) const COMMON_VARIABLES: &[(&str, &str)] = &[
    ("database.url", "DATABASE_URL"),
    ("redis.url", "REDIS_URL"),
    ("redis.url_file", "REDIS_URL_FILE"),
    ("cache.enabled", "CACHE_ENABLED"),
    ("cache.l1.ttl", "CACHE_L1_TTL"),
    ("cache.l2.ttl", "CACHE_L2_TTL"),
    ("log.level", "RUST_LOG"),
];

/// Everything that values can come from, besides the defaults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layers<'a> {
    /// Key and value, as the command line gives them; the last one of a key counts.
    pub(super) flags: &'a [(String, String)],
    pub(super) environment: &'a Environment,
    pub(super) file: Option<&'a ConfigFile>,
    /// Absolute: where relative paths that are not in the file begin.
    pub(super) working_dir: &'a Path,
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    /// Absolute: where relative paths in the file begin.
    pub(super) folder: PathBuf,
    pub(super) document: Document,
}

/// A key that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Sections and name, such as `file_upload.storage.local.root`.
    pub path: String,
    /// As it would be written; `None` is `null`.
    pub default: Option<&'static str>,
    /// One line.
    pub doc: String,
}

/// A key with its effective value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// `None` is `null`.
    pub(super) value: Option<String>,
    pub(super) origin: Origin,
    faulty: bool,
}

#[derive(Debug)]
pub(super) struct Reader<'a> {
    layers: Layers<'a>,
    /// The section that is being read, such as `file_upload.storage`.
    section: String,
    sections: Vec<String>,
    entries: Vec<Entry>,
    faults: Vec<Fault>,
}

/// A value as one of the layers has it.
struct Found<'a> {
    origin: Origin,
    base: &'a Path,
    node: FoundNode<'a>,
}

enum FoundNode<'a> {
    Null,
    Text(&'a str),
    List(&'a [String]),
    /// Something that no key takes, in words.
    Other(&'static str),
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: Layers<'a>) -> Self {
        Self { layers, section: String::new(), sections: Vec::new(), entries: Vec::new(), faults: Vec::new() }
    }

    /// Reads the section `name` with `read`. A section's own sections come after its keys.
    pub(super) fn section<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let path = self.path(name);
        self.sections.push(path.clone());
        let outer = std::mem::replace(&mut self.section, path);
        let value = read(self);
        self.section = outer;
        value
    }

    /// Reads a key that always has a value. After a fault the default stands in, and reading goes on.
    pub(super) fn take<T: Value>(&mut self, name: &str, default: &'static str, doc: &str) -> T {
        let fallback = T::parse(default, self.layers.working_dir).expect("INVARIANT: defaults are right");
        let entry = self.entry::<T>(name, Some(default), doc);
        let value = self.read(&entry.key.path, Nullable::No);
        let value = self.settle(entry, value, Some(fallback));
        value.expect("INVARIANT: a fallback was given")
    }

    /// Reads a key whose default is `null`.
    pub(super) fn optional<T: Value>(&mut self, name: &str, doc: &str) -> Option<T> {
        let entry = self.entry::<T>(name, None, doc);
        let value = self.read(&entry.key.path, Nullable::Yes);
        self.settle(entry, value, None)
    }

    /// Reads a key whose default is `null`, which stands for `fallback`.
    pub(super) fn derived<T: Value>(&mut self, name: &str, fallback: T, doc: &str) -> T {
        let entry = self.entry::<T>(name, None, doc);
        let value = self.read(&entry.key.path, Nullable::Yes);
        let value = self.settle(entry, value, Some(fallback));
        value.expect("INVARIANT: a fallback was given")
    }

    /// Reads a secret, which is no key of any file: from the variable `name`, or from the file that `{name}_FILE`
    /// names.
    pub(super) fn secret(&mut self, name: &str, chars_min: usize) -> Option<Secret> {
        let Layers { environment, working_dir, .. } = self.layers;
        match secret::read(environment, name, working_dir, chars_min) {
            Ok(secret) => secret,
            Err((variable, problem)) => {
                let origin = Origin::Environment(variable);
                self.faults.push(Fault { origin, key: String::new(), problem });
                None
            }
        }
    }

    /// Notes a fault unless `holds`. `keys` (whole paths) are those that decide; the first of them that
    /// somebody set is blamed. Nothing is noted when one of them is at fault already.
    pub(super) fn check(&mut self, keys: &[&str], holds: bool, expected: &str) {
        let involved: Vec<&Entry> =
            keys.iter().filter_map(|key| self.entries.iter().find(|entry| entry.key.path == *key)).collect();
        assert_eq!(involved.len(), keys.len(), "INVARIANT: {keys:?} have been read");
        if holds || involved.iter().any(|entry| entry.faulty) {
            return;
        }
        let blamed = involved.iter().find(|entry| entry.origin != Origin::BuiltIn).unwrap_or(&involved[0]);
        let value = |entry: &Entry| entry.value.clone().unwrap_or_else(|| "null".to_owned());
        let found = if let [only] = involved.as_slice() {
            value(only)
        } else {
            let all: Vec<String> =
                involved.iter().map(|entry| format!("{} = {}", entry.key.path, value(entry))).collect();
            all.join(", ")
        };
        let problem = Problem::WrongValue { found, expected: expected.to_owned() };
        let (key, origin) = (blamed.key.path.clone(), blamed.origin.clone());
        self.blame(&key, origin, problem);
    }

    /// What was seen, after looking for keys in the layers that nobody asked for.
    pub(super) fn finish(mut self) -> (Vec<Entry>, Vec<Fault>) {
        if let Some(file) = self.layers.file {
            self.unknown_in(file, &file.document.root, "");
        }
        for name in self.layers.environment.overrides() {
            let key = key_of_name(name);
            // Also refused: the name of a known key in another case, which does not override it.
            let known = |entry: &Entry| name_of_key(&entry.key.path) == name && self.is_key(&entry.key.path);
            if !self.entries.iter().any(known) {
                let suggestion = |key: String| name_of_key(&key);
                let problem = self.why_unknown(&key, suggestion);
                self.faults.push(Fault { origin: Origin::Environment(name.to_owned()), key, problem });
            }
        }
        for (key, _) in self.layers.flags {
            if !self.is_key(key) {
                let problem = self.why_unknown(key, |key| key);
                self.faults.push(Fault { origin: Origin::Flag, key: key.clone(), problem });
            }
        }
        (self.entries, self.faults)
    }

    /// Reads a secret that may stand in the configuration, or in a file of its own that the key `{name}_file` names.
    pub(super) fn kept_secret(&mut self, name: &str, doc: &str) -> Option<Secret> {
        let kept: Option<Secret> = self.optional(name, doc);
        let file_key = format!("{name}_file");
        let file: Option<InFile<Secret>> = self.optional(&file_key, "the file that it stands in");
        let keys = [self.path(name), self.path(&file_key)];
        self.check(&keys.each_ref().map(String::as_str), kept.is_none() || file.is_none(), "one of the two");
        file.map(InFile::into_inner).or(kept)
    }

    /// The variables whose names begin with `prefix`, for programs that understand them as they are.
    pub(super) fn variables(&self, prefix: &str) -> Vec<(String, String)> {
        let found = self.layers.environment.beginning_with(prefix);
        found.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The whole path of the key `name` of this section.
    pub(super) fn path(&self, name: &str) -> String {
        if self.section.is_empty() { name.to_owned() } else { format!("{}.{name}", self.section) }
    }

    fn entry<T: Value>(&self, name: &str, default: Option<&'static str>, doc: &str) -> Entry {
        let doc = T::choices().map_or_else(|| doc.to_owned(), |choices| format!("{choices}: {doc}"));
        let key = Key { path: self.path(name), default, doc };
        Entry { key, value: None, origin: Origin::BuiltIn, faulty: false }
    }

    /// What the layers say about the key; `Ok(None)` when none of them says anything, or says `null`.
    fn read<T: Value>(
        &self,
        path: &str,
        nullable: Nullable,
    ) -> Result<(Option<T>, Origin), (Problem, Origin)> {
        let Some(found) = self.find(path) else { return Ok((None, Origin::BuiltIn)) };
        let expected = T::expected;
        let problem = match (found.node, nullable) {
            (FoundNode::Null | FoundNode::Text("" | "null"), Nullable::Yes) => {
                return Ok((None, found.origin));
            }
            (FoundNode::Null, Nullable::No) => {
                Problem::WrongValue { found: "null".to_owned(), expected: expected() }
            }
            (FoundNode::Other(what), _) => {
                Problem::WrongValue { found: what.to_owned(), expected: expected() }
            }
            (FoundNode::List(_), _) if !T::IS_LIST => {
                Problem::WrongValue { found: "a list".to_owned(), expected: expected() }
            }
            (FoundNode::List(items), _) => match T::parse(&items.join(","), found.base) {
                Ok(value) => return Ok((Some(value), found.origin)),
                Err(refusal) => refusal.problem::<T>(&items.join(", ")),
            },
            (FoundNode::Text(text), _) => match T::parse(text, found.base) {
                Ok(value) => return Ok((Some(value), found.origin)),
                Err(refusal) => refusal.problem::<T>(text),
            },
        };
        Err((problem, found.origin))
    }

    /// Remembers the key with what came of it.
    fn settle<T: Value>(
        &mut self,
        mut entry: Entry,
        value: Result<(Option<T>, Origin), (Problem, Origin)>,
        fallback: Option<T>,
    ) -> Option<T> {
        let value = match value {
            Ok((value, origin)) => {
                entry.origin = origin;
                value.or(fallback)
            }
            Err((problem, origin)) => {
                entry.faulty = true;
                self.blame(&entry.key.path, origin, problem);
                fallback
            }
        };
        entry.value = value.as_ref().map(T::render);
        self.entries.push(entry);
        value
    }

    /// The strongest layer's word on `path`.
    fn find(&self, path: &str) -> Option<Found<'a>> {
        let Layers { flags, environment, file, working_dir } = self.layers;
        let text = |origin, text| Found { origin, base: working_dir, node: FoundNode::Text(text) };
        if let Some((_, value)) = flags.iter().rev().find(|(key, _)| key == path) {
            return Some(text(Origin::Flag, value));
        }
        if let Some(value) = environment.of_key(path) {
            return Some(text(Origin::Environment(name_of_key(path)), value));
        }
        let common = COMMON_VARIABLES.iter().find(|(key, _)| *key == path);
        if let Some((name, value)) = common.and_then(|(_, name)| Some((name, environment.get(name)?))) {
            return Some(text(Origin::Environment((*name).to_owned()), value));
        }
        let file = file?;
        let node = match &file.document.find(path)?.value {
            Node::Null => FoundNode::Null,
            Node::Text(text) => FoundNode::Text(text),
            Node::List(Some(items)) => FoundNode::List(items),
            other @ (Node::List(None) | Node::Map(_)) => FoundNode::Other(other.describe()),
        };
        Some(Found { origin: Origin::File(file.path.clone(), None), base: &file.folder, node })
    }

    /// Notes a fault of `key`, with its position if it is the file's.
    fn blame(&mut self, key: &str, origin: Origin, problem: Problem) {
        let origin = match (origin, self.layers.file) {
            (Origin::File(..), Some(file)) => file.origin_of(file.document.find(key)),
            (origin, _) => origin,
        };
        self.faults.push(Fault { origin, key: key.to_owned(), problem });
    }

    /// Looks below `node`, which stands at `section`, for keys that nobody asked for.
    fn unknown_in(&mut self, file: &ConfigFile, node: &Node, section: &str) {
        let members = match node {
            Node::Map(members) => members,
            // A section whose keys are all commented out.
            Node::Null => return,
            Node::Text(_) | Node::List(_) => {
                let (found, expected) = (node.describe().to_owned(), "a map of keys".to_owned());
                let origin = file.origin_of(file.document.find(section));
                let problem = Problem::WrongValue { found, expected };
                self.faults.push(Fault { origin, key: section.to_owned(), problem });
                return;
            }
        };
        let mut seen = HashSet::new();
        for member in members {
            let key =
                if section.is_empty() { member.key.clone() } else { format!("{section}.{}", member.key) };
            let problem = if !seen.insert(member.key.as_str()) {
                Problem::DuplicateKey
            } else if member.key.contains('.') {
                // Sections and names in one word would look like a known key here, but set nothing.
                let expected = "the name alone, inside the map of its section".to_owned();
                Problem::WrongValue { found: "dots in a key".to_owned(), expected }
            } else if self.sections.contains(&key) {
                self.unknown_in(file, &member.value, &key);
                continue;
            } else if self.is_key(&key) {
                continue;
            } else {
                self.why_unknown(&key, |key| key)
            };
            self.faults.push(Fault { origin: file.origin_of(Some(member)), key, problem });
        }
    }

    fn is_key(&self, path: &str) -> bool {
        let section = || self.sections.iter().any(|section| section == path);
        self.entries.iter().any(|entry| entry.key.path == path) && !section()
    }

    /// Why `path` is no key; `as_written` makes of the key that it should be what belongs in its place.
    fn why_unknown(&self, path: &str, as_written: impl FnOnce(String) -> String) -> Problem {
        if not_built::contains(path) {
            return Problem::KeyNotBuilt;
        }
        if self.sections.iter().any(|section| section == path) {
            let expected = "one of its keys".to_owned();
            return Problem::WrongValue { found: "a value for a section".to_owned(), expected };
        }
        let keys = self.entries.iter().map(|entry| entry.key.path.as_str());
        let sections = self.sections.iter().map(String::as_str);
        Problem::UnknownKey { suggestion: nearest(path, keys.chain(sections)).map(as_written) }
    }
}

/// Whether `null` is a value of the key.
#[derive(Clone, Copy)]
enum Nullable {
    Yes,
    No,
}

impl ConfigFile {
    /// This file, at the key of `member`.
    fn origin_of(&self, member: Option<&Member>) -> Origin {
        Origin::File(self.path.clone(), member.and_then(|member| self.document.position(member)))
    }
}

impl Refusal {
    /// The problem with `text`, which is no `T`.
    fn problem<T: Value>(self, text: &str) -> Problem {
        let found = T::describe(text);
        match self {
            Self::Malformed => Problem::WrongValue { found, expected: T::expected() },
            Self::Expected(expected) => Problem::WrongValue { found, expected: expected.to_owned() },
            Self::NotBuilt => Problem::ValueNotBuilt { found, expected: T::expected() },
        }
    }
}
