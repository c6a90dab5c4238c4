//! Sections whose names are the operator's own, such as `file_upload.other_stores`: a map from names to sections
//! that all have the same keys. Called by sections; what nobody asked for inside is found as everywhere else.

use std::collections::BTreeSet;

use super::super::document::{Member, Node};
use super::super::environment::key_of_name;
use super::super::fault::{Fault, Origin, Problem};
use super::super::value::{Value, quoted};
use super::{Entry, Key, Reader};

impl Reader<'_> {
    /// Reads the map `name` with `read`, once for each name in it that is an `N`, in order of the names. Another
    /// name is a fault, and its section is read all the same, so that its faults are told too.
    pub(in crate::config) fn named_sections<N: Value + Clone, T>(
        &mut self,
        name: &str,
        doc: &str,
        fallback: &N,
        mut read: impl FnMut(&mut Self, N) -> T,
    ) -> Vec<T> {
        let path = self.path(name);
        let names = self.names_in(&path);
        if names.is_empty() {
            self.note_empty(&path, doc);
        }
        self.section(name, |from| {
            let mut all = Vec::new();
            for name in names {
                let parsed = from.parse_name::<N>(&name);
                let known = parsed.is_some();
                let value =
                    from.section(&name, |from| read(from, parsed.unwrap_or_else(|| fallback.clone())));
                all.extend(known.then_some(value));
            }
            all
        })
    }

    /// Reads the map `name` with `read`, once for each name in it. A file that has the map replaces `defaults`, each a
    /// name and the text of its value; an empty one with nothing.
    pub(in crate::config) fn named<N: Value, T>(
        &mut self,
        name: &str,
        doc: &str,
        defaults: &'static [(&'static str, &'static str)],
        mut read: impl FnMut(&mut Self, N, &'static str) -> T,
    ) -> Vec<T> {
        let path = self.path(name);
        let mut written = self.names_in(&path);
        let standing = if self.map_at(&path).is_none() { defaults } else { &[] };
        let mut names: Vec<String> = standing.iter().map(|(name, _)| (*name).to_owned()).collect();
        written.retain(|name| !names.contains(name));
        names.extend(written);
        if names.is_empty() {
            self.note_empty(&path, doc);
        }
        self.section(name, |from| {
            let mut all = Vec::new();
            for name in names {
                let default = defaults.iter().find(|(known, _)| *known == name).unwrap_or(&defaults[0]).1;
                match from.parse_name::<N>(&name) {
                    Some(parsed) => all.push(read(from, parsed, default)),
                    None => from.note_faulty(&name),
                }
            }
            all
        })
    }

    /// Reads the map `name`, a value of each name. What is not written has its default; other names may be written too.
    /// In an environment variable a name is not told from one in another case, so only those of `defaults` can be meant.
    pub(in crate::config) fn named_values<N: Value, T: Value>(
        &mut self,
        name: &str,
        defaults: &'static [(&'static str, &'static str)],
        doc: &str,
    ) -> Vec<(N, T)> {
        let path = self.path(name);
        let known = |name: &str| defaults.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let written = self.names_in(&path).into_iter().filter(|name| known(name).is_none());
        let mut names: Vec<String> = defaults.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.extend(written);
        self.section(name, |from| {
            let mut all = Vec::new();
            for name in names {
                let default = known(&name).unwrap_or(&defaults[0]).1;
                match from.parse_name::<N>(&name) {
                    Some(parsed) => all.push((parsed, from.take(&name, default, doc))),
                    None => from.note_faulty(&name),
                }
            }
            all
        })
    }

    /// Whether `name` of this section is written as a map of keys.
    pub(in crate::config) fn is_section(&self, name: &str) -> bool {
        let path = self.path(name);
        self.map_at(&path).is_some() || !self.names_in(&path).is_empty()
    }

    /// Whether any layer has a value at `path`.
    pub(in crate::config) fn is_written(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    /// Notes a fault of the map at `path` unless `holds`.
    pub(in crate::config) fn check_section(&mut self, path: &str, holds: bool, found: &str, expected: &str) {
        if !holds {
            let (found, expected) = (found.to_owned(), expected.to_owned());
            self.refuse_section(path, Problem::WrongValue { found, expected });
        }
    }

    /// Remembers `name` of this section as looked at, so that it is not told twice.
    fn note_faulty(&mut self, name: &str) {
        let key = Key { path: self.path(name), default: None, doc: String::new() };
        self.entries.push(Entry { key, value: None, origin: Origin::BuiltIn, faulty: true });
    }

    /// A name of this section's map as an `N`; another one is a fault.
    fn parse_name<N: Value>(&mut self, name: &str) -> Option<N> {
        let parsed = N::parse(name, self.layers.working_dir).ok();
        if parsed.is_none() {
            let key = self.path(name);
            let problem = Problem::WrongValue { found: quoted(name), expected: N::expected() };
            self.refuse_section(&key, problem);
        }
        parsed
    }

    /// Notes that the section at `path` must not be there.
    pub(in crate::config) fn refuse_section(&mut self, path: &str, problem: Problem) {
        let origin = self.origin_of_section(path);
        self.faults.push(Fault { origin, key: path.to_owned(), problem });
    }

    /// The names that any layer has below `path`. One with a dot would look like two: the search for unknown keys
    /// tells of it. A variable's name is in capitals: it means the name that stands elsewhere, whatever its case.
    fn names_in(&self, path: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let inside = |key: &str| {
            let rest = key.strip_prefix(path)?.strip_prefix('.')?;
            rest.split('.').next().map(str::to_owned)
        };
        names.extend(self.layers.flags.iter().filter_map(|(key, _)| inside(key)));
        let plain = self.map_at(path).into_iter().flatten().map(|member| &member.key);
        names.extend(plain.filter(|name| !name.contains('.')).cloned());
        for name in self.layers.environment.overrides().filter_map(|name| inside(&key_of_name(name))) {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                names.insert(name);
            }
        }
        names
    }

    /// The file's map at `path`.
    fn map_at(&self, path: &str) -> Option<&[Member]> {
        match &self.layers.file?.document.find(path)?.value {
            Node::Map(members) => Some(members),
            _ => None,
        }
    }

    /// A map without names is shown as one key, so that it can be documented.
    fn note_empty(&mut self, path: &str, doc: &str) {
        let key = Key { path: path.to_owned(), default: Some("{}"), doc: doc.to_owned() };
        // As of every other value: which file, not where in it.
        let origin = match self.origin_of_section(path) {
            Origin::File(file, _) => Origin::File(file, None),
            other => other,
        };
        self.entries.push(Entry { key, value: Some("{}".to_owned()), origin, faulty: false });
    }

    fn origin_of_section(&self, path: &str) -> Origin {
        let below = |key: &str| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        if let Some(file) = self.layers.file
            && let member @ Some(_) = file.document.find(path)
        {
            return file.origin_of(member);
        }
        let variable = self.layers.environment.overrides().find(|name| below(&key_of_name(name)));
        match variable {
            Some(name) => Origin::Environment(name.to_owned()),
            None if self.layers.flags.iter().any(|(key, _)| below(key)) => Origin::Flag,
            None => Origin::BuiltIn,
        }
    }
}
