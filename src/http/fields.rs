//! JSON objects and query strings from clients, read field by field: every fault is told at once.
//!
//! serde would stop at the first fault and name fields its own way; here each fault has a JSON pointer
//! (RFC 6901), and a field that nobody asked for is a fault too.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::document::{self, escape};
use crate::base::metadata::Metadata;
use crate::base::{Code, Error, Result};

/// The fields of a JSON object, taken one by one.
#[derive(Debug, Default)]
pub(super) struct Fields {
    values: Map<String, Value>,
    faults: Vec<Fault>,
}

#[derive(Debug)]
struct Fault {
    pointer: String,
    detail: String,
    code: Code,
}

impl Fields {
    /// Reads `body`; no body at all is an empty object.
    pub(super) fn parse(body: &[u8]) -> Result<Self> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        match document::parse(body) {
            Ok((Value::Object(values), repeated)) => {
                let mut fields = Self { values, faults: Vec::new() };
                for pointer in repeated {
                    fields.fault::<()>(&pointer[1..], "is there more than once");
                }
                Ok(fields)
            }
            Ok(_) => Err(Error::new(Code::InvalidRequest, "the body is not a JSON object")),
            Err(error) => Err(Error::new(Code::InvalidRequest, format!("the body is not JSON: {error}"))),
        }
    }

    /// A string; absent and null are the same.
    pub(super) fn string(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => self.fault(name, "expected a string"),
        }
    }

    /// A whole number from 0.
    pub(super) fn number(&mut self, name: &str) -> Option<u64> {
        let value = self.take(name)?;
        match value.as_u64().or_else(|| whole(value.as_f64()?)) {
            Some(number) => Some(number),
            None => self.fault(name, "expected a whole number from 0 to 18446744073709551615"),
        }
    }

    /// A string that reads as a `T`.
    pub(super) fn parsed<T: FromStr<Err = Error>>(&mut self, name: &str) -> Option<T> {
        let text = self.string(name)?;
        self.settled(name, text.parse())
    }

    /// True or false; absent is false.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.take(name) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(_) => self.fault(name, "expected true or false").unwrap_or_default(),
        }
    }

    /// True or false, where it makes a difference whether it is there.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(value) => Some(value),
            _ => self.fault(name, "expected true or false"),
        }
    }

    /// A string that reads as a `T`; what is wrong with it is told with the other faults.
    pub(super) fn read<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        match self.string(name)?.parse() {
            Ok(value) => Some(value),
            Err(error) => self.fault(name, &format!("it is {error}")),
        }
    }

    /// A list of strings that each read as a `T`.
    pub(super) fn list<T: FromStr<Err = Error>>(&mut self, name: &str) -> Option<Vec<T>> {
        let Value::Array(values) = self.take(name)? else {
            return self.fault(name, "expected a list of strings");
        };
        let mut list = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let fault = match value.as_str().map(str::parse::<T>) {
                Some(Ok(value)) => {
                    list.push(value);
                    continue;
                }
                Some(Err(error)) => error.detail().to_owned(),
                None => "expected a string".to_owned(),
            };
            self.fault::<()>(&format!("{name}/{index}"), &fault);
        }
        Some(list)
    }

    /// A string that `check` takes.
    pub(super) fn checked(&mut self, name: &str, check: impl Fn(&str) -> Result<()>) -> Option<String> {
        let text = self.string(name)?;
        let checked = check(&text);
        self.settled(name, checked.map(|()| text))
    }

    /// A client's own pairs, in `metadata`.
    pub(super) fn metadata(&mut self) -> Option<Metadata> {
        let pairs = self.strings("metadata")?;
        self.settled("metadata", Metadata::new(pairs))
    }

    /// What came of the field `name`; what is wrong with it is told with all the rest.
    fn settled<T>(&mut self, name: &str, value: Result<T>) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(error) => {
                let (pointer, detail) = (format!("/{name}"), error.detail().to_owned());
                self.faults.push(Fault { pointer, detail, code: error.code() });
                None
            }
        }
    }

    /// An object of strings; absent and null are the same.
    fn strings(&mut self, name: &str) -> Option<BTreeMap<String, String>> {
        match self.take(name)? {
            Value::Object(pairs) => {
                let mut strings = BTreeMap::new();
                for (key, value) in pairs {
                    match value {
                        Value::String(text) => drop(strings.insert(key, text)),
                        _ => drop(self.fault::<()>(&format!("{name}/{}", escape(&key)), "expected a string")),
                    }
                }
                Some(strings)
            }
            _ => self.fault(name, "expected an object of strings"),
        }
    }

    /// A value that must be there. What [`Fields::finish`] then says counts, not the placeholder.
    pub(super) fn required<T: Default>(&mut self, name: &str, value: Option<T>) -> T {
        let told = |fault: &Fault| fault.pointer == format!("/{name}");
        if value.is_none() && !self.faults.iter().any(told) {
            self.fault::<()>(name, "is required");
        }
        value.unwrap_or_default()
    }

    /// Says that `name` is wrong, beside what else is.
    pub(super) fn refuse(&mut self, name: &str, detail: &str) {
        self.fault::<()>(name, detail);
    }

    /// # Errors
    /// `InvalidRequest` `{ errors: [{ pointer, detail }] }` if anything was wrong, or is left over; the code of the
    /// faults where all share another one.
    pub(super) fn finish(mut self) -> Result<()> {
        for name in std::mem::take(&mut self.values).keys() {
            self.fault::<()>(&escape(name), "is not a field of this request");
        }
        let Some(first) = self.faults.first() else { return Ok(()) };
        let shared = self.faults.iter().all(|fault| fault.code == first.code);
        let code = if shared { first.code } else { Code::InvalidRequest };
        let detail = match self.faults.as_slice() {
            [one] => format!("{} {}", one.pointer, one.detail),
            many => format!("{} fields are wrong", many.len()),
        };
        let tell = |fault: &Fault| json!({ "pointer": fault.pointer, "detail": fault.detail });
        let errors: Vec<Value> = self.faults.iter().map(tell).collect();
        let error = Error::new(code, detail);
        Err(if code == Code::InvalidRequest { error.with("errors", errors) } else { error })
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name).filter(|value| !value.is_null())
    }

    fn fault<T>(&mut self, path: &str, detail: &str) -> Option<T> {
        let (pointer, detail) = (format!("/{path}"), detail.to_owned());
        self.faults.push(Fault { pointer, detail, code: Code::InvalidRequest });
        None
    }
}

/// In JSON 7.0 is the same number as 7, and some languages write no other. Past 2^53 a float is not exact any more.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and within the range")]
fn whole(float: f64) -> Option<u64> {
    (float.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&float)).then_some(float as u64)
}

/// The parameters of a query string, taken one by one.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query string (`application/x-www-form-urlencoded`).
    pub(super) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// A parameter that may be given once.
    pub(super) fn one<T>(&mut self, name: &str) -> Result<Option<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let mut values = self.take(|key| key == name);
        match (values.pop(), values.is_empty()) {
            (None, _) => Ok(None),
            (Some((_, value)), true) => value.parse().map(Some).map_err(|error| invalid(name, &error)),
            (Some(_), false) => Err(invalid(name, &"it is given more than once")),
        }
    }

    /// All parameters named `{prefix}SOMETHING`, as `(SOMETHING, value)`.
    pub(super) fn prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let taken = self.take(|key| key.starts_with(prefix));
        taken.into_iter().map(|(key, value)| (key[prefix.len()..].to_owned(), value)).collect()
    }

    /// The same, where each may be given once.
    ///
    /// # Errors
    /// `InvalidRequest` if one is given twice.
    pub(super) fn pairs(&mut self, prefix: &str) -> Result<BTreeMap<String, String>> {
        let mut pairs = BTreeMap::new();
        for (key, value) in self.prefixed(prefix) {
            if pairs.contains_key(&key) {
                return Err(invalid(&format!("{prefix}{key}"), &"it is given more than once"));
            }
            pairs.insert(key, value);
        }
        Ok(pairs)
    }

    /// # Errors
    /// `InvalidRequest` if a parameter is left over.
    pub(super) fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(name, &"this request has no such parameter")),
        }
    }

    fn take(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(key, _)| wanted(key));
        self.0 = left;
        taken
    }
}

/// What is wrong with the parameter `name`.
pub(super) fn invalid(name: &str, why: &dyn Display) -> Error {
    let error = Error::new(Code::InvalidRequest, format!("parameter `{name}`: {why}"));
    error.with("errors", json!([{ "pointer": format!("?{name}"), "detail": why.to_string() }]))
}
