//! Secrets: from a variable, or from a file that a variable or a `*_file` key names; never shown. Called by `reader`
//! and by sections.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::fault::Problem;
use super::value::{Refusal, Value, resolve};
use crate::base::Secret;

/// No secret is longer: a larger file was named by mistake.
const MAX_FILE_BYTES: u64 = 4096;

/// The secret that the variable `name` has, or the file that `{name}_FILE` names (relative to `base`), without white
/// space around it; at least `chars_min` characters that can be sent in a header. An error names the variable.
pub(super) fn read(
    environment: &Environment,
    name: &str,
    base: &Path,
    chars_min: usize,
) -> Result<Option<Secret>, (String, Problem)> {
    let file_variable = format!("{name}_FILE");
    let (variable, text) = match (environment.get(name), environment.get(&file_variable)) {
        (None, None) => return Ok(None),
        (Some(text), None) => (name, text.to_owned()),
        (None, Some(path)) => {
            let text = read_file(&base.join(path))
                .map_err(|why| (file_variable.clone(), Problem::Unreadable(format!("{path}: {why}"))))?;
            (file_variable.as_str(), text)
        }
        (Some(_), Some(_)) => {
            let why = format!("{name} is set too: set one of them");
            return Err((file_variable, Problem::Unreadable(why)));
        }
    };
    let text = text.trim();
    if text.len() < chars_min || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let found = format!("a text of {} characters", text.chars().count());
        let expected = format!(
            "at least {chars_min} letters, digits and signs of ASCII without spaces (`openssl rand -hex 32` makes them)"
        );
        return Err((variable.to_owned(), Problem::WrongValue { found, expected }));
    }
    Ok(Some(Secret::new(text)))
}

fn read_file(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// A value that stands in a file which the configuration names. Shown by the file's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InFile<T> {
    path: PathBuf,
    value: T,
}

impl<T> InFile<T> {
    pub(super) fn into_inner(self) -> T {
        self.value
    }
}

impl<T: Value> Value for InFile<T> {
    fn expected() -> String {
        format!("null or a file that can be read and has {}", T::expected().trim_start_matches("null or "))
    }

    fn parse(text: &str, base: &Path) -> Result<Self, Refusal> {
        let path = resolve(text, base)?;
        let content = read_file(&path).map_err(|_| Refusal::Malformed)?;
        Ok(Self { value: T::parse(content.trim(), base)?, path })
    }

    fn render(&self) -> String {
        self.path.render()
    }
}

impl Value for Secret {
    fn expected() -> String {
        "a secret".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        if text.trim().is_empty() { Err(Refusal::Malformed) } else { Ok(Self::new(text.trim())) }
    }

    /// Not the secret: it is not shown, so it is not read back either.
    fn render(&self) -> String {
        "(not shown)".to_owned()
    }

    fn describe(_: &str) -> String {
        "a text (not shown)".to_owned()
    }
}
