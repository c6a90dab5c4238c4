//! The environment, read once. Called by `cli`; tests make their own. Nothing else in cifra reads variables.

use std::collections::BTreeMap;

/// What begins the names of the variables that override keys.
pub(super) const PREFIX: &str = "CIFRA__";

/// Environment variables by name. An empty one that is not a `CIFRA__…` counts as not set.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    unreadable: Vec<String>,
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        let mut read = Self::default();
        for (name, value) in std::env::vars_os() {
            // A name that is not UTF-8 is none of ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(read.variables.insert(name, value)),
                Err(_) => read.unreadable.push(name),
            }
        }
        read
    }

    /// The value of the variable `name`, unless it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value of the variable that overrides `key` (`server.listen`: `CIFRA__SERVER__LISTEN`).
    pub(super) fn of_key(&self, key: &str) -> Option<&str> {
        self.variables.get(&name_of_key(key)).map(String::as_str)
    }

    /// Names of all variables that are there to override keys.
    pub(super) fn overrides(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str).filter(|name| name.starts_with(PREFIX))
    }

    /// Names and values of the variables whose names begin with `prefix`, but for empty ones.
    pub(super) fn beginning_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        let all = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(move |(name, value)| name.starts_with(prefix) && !value.is_empty())
    }

    /// Names of the variables whose values are not UTF-8.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, unreadable: Vec::new() }
    }
}

/// The variable that overrides `key`.
pub(super) fn name_of_key(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// The key that the variable `name` would override, were there one.
pub(super) fn key_of_name(name: &str) -> String {
    name.strip_prefix(PREFIX).unwrap_or(name).replace("__", ".").to_ascii_lowercase()
}
