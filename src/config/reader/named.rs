//! Sections whose names are the operator's own, such as `file_upload.other_stores`: a map from names to sections
//! that all have the same keys. Called by sections; what nobody asked for inside is found as everywhere else.

use std::collections::BTreeSet;

use super::super::document::Node;
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
                let parsed = N::parse(&name, from.layers.working_dir);
                if parsed.is_err() {
                    let key = from.path(&name);
                    let problem = Problem::WrongValue { found: quoted(&name), expected: N::expected() };
                    from.refuse_section(&key, problem);
                }
                let known = parsed.is_ok();
                let value =
                    from.section(&name, |from| read(from, parsed.unwrap_or_else(|_| fallback.clone())));
                all.extend(known.then_some(value));
            }
            all
        })
    }

    /// Notes that the section at `path` must not be there.
    pub(in crate::config) fn refuse_section(&mut self, path: &str, problem: Problem) {
        let origin = self.origin_of_section(path);
        self.faults.push(Fault { origin, key: path.to_owned(), problem });
    }

    /// The names that any layer has below `path`. One with a dot would look like two: the search for unknown keys
    /// tells of it.
    fn names_in(&self, path: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let inside = |key: &str| {
            let rest = key.strip_prefix(path)?.strip_prefix('.')?;
            Some(rest.split_once('.')?.0.to_owned())
        };
        names.extend(self.layers.flags.iter().filter_map(|(key, _)| inside(key)));
        names.extend(self.layers.environment.overrides().filter_map(|name| inside(&key_of_name(name))));
        let member = self.layers.file.and_then(|file| file.document.find(path));
        if let Some(Node::Map(members)) = member.map(|member| &member.value) {
            let plain = members.iter().map(|member| &member.key).filter(|name| !name.contains('.'));
            names.extend(plain.cloned());
        }
        names
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
