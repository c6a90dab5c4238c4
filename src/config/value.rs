//! What a configuration value is: a type that a text becomes, with words for what is expected. Every source
//! gives text (the scalars of YAML too), so that a value means the same wherever it stands. Here: the trait
//! and the plain types; `size`, `time` and `network` have the others, and sections their own. Called by
//! `reader`.

use std::path::{Component, Path, PathBuf};

/// A type that configuration values can have. `render` gives a text that `parse` reads back as the same
/// value.
pub(super) trait Value: Sized {
    /// Whether a YAML list can stand for it.
    const IS_LIST: bool = false;

    /// What is expected, in words that complete "expected …".
    fn expected() -> String;

    /// Reads `text`; relative paths in it are relative to `base`.
    fn parse(text: &str, base: &Path) -> Result<Self, Refusal>;

    /// The value as text.
    fn render(&self) -> String;

    /// The choices of a closed list, for the documented file.
    fn choices() -> Option<String> {
        None
    }

    /// A wrong text as it may be shown to people and written to logs.
    fn describe(text: &str) -> String {
        quoted(text)
    }
}

/// Reads an argument of the command line, which no path is relative to.
pub(super) fn parse_argument<T: Value>(text: &str) -> Result<T, String> {
    T::parse(text, Path::new("")).map_err(|_| format!("expected {}", T::expected()))
}

/// Why a text is not a value.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is not what is expected.
    Malformed,
    /// It is right, but this version has not got it.
    NotBuilt,
    /// It is nearly what is expected: these words complete "expected …".
    Expected(&'static str),
}

/// A closed list of words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every word with its meaning.
    const ALL: &'static [(&'static str, Self)];
    /// Words whose part is not built yet.
    const NOT_BUILT: &'static [&'static str] = &[];
}

impl<T: Choice> Value for T {
    fn expected() -> String {
        let words: Vec<&str> = T::ALL.iter().map(|(word, _)| *word).collect();
        words.join(" or ")
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        if T::NOT_BUILT.contains(&text) {
            return Err(Refusal::NotBuilt);
        }
        T::ALL.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or(Refusal::Malformed)
    }

    fn render(&self) -> String {
        let word = T::ALL.iter().find(|(_, value)| value == self).map(|(word, _)| *word);
        word.expect("INVARIANT: every variant is in ALL").to_owned()
    }

    fn choices() -> Option<String> {
        let words: Vec<&str> = T::ALL.iter().map(|(word, _)| *word).collect();
        Some(words.join(" | "))
    }
}

/// Several values: a YAML list, or one text with commas between them, in brackets or not.
impl<T: Value> Value for Vec<T> {
    const IS_LIST: bool = true;

    fn expected() -> String {
        format!("a list, each of it {}", T::expected())
    }

    fn parse(text: &str, base: &Path) -> Result<Self, Refusal> {
        let text = text.trim();
        let items = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).trim();
        if items.is_empty() {
            return Ok(Self::new());
        }
        items.split(',').map(|item| T::parse(item.trim(), base)).collect()
    }

    fn render(&self) -> String {
        let items: Vec<String> = self.iter().map(T::render).collect();
        format!("[{}]", items.join(", "))
    }
}

impl Value for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::Malformed)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    fn expected() -> String {
        format!("a whole number from 0 to {}", Self::MAX)
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::Malformed)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for u64 {
    fn expected() -> String {
        format!("a whole number from 0 to {}", Self::MAX)
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::Malformed)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for PathBuf {
    fn expected() -> String {
        "a path".to_owned()
    }

    fn parse(text: &str, base: &Path) -> Result<Self, Refusal> {
        resolve(text, base)
    }

    fn render(&self) -> String {
        self.to_string_lossy().into_owned()
    }
}

/// `text` as a path, relative to `base`, without `.` components.
pub(super) fn resolve(text: &str, base: &Path) -> Result<PathBuf, Refusal> {
    if text.is_empty() || text.contains('\0') {
        return Err(Refusal::Malformed);
    }
    // The shell would have expanded it; here it would become a folder of that name.
    if text == "~" || text.starts_with("~/") {
        return Err(Refusal::Expected("a path (`~` is not expanded: write the folder out)"));
    }
    Ok(base.join(text).components().filter(|part| *part != Component::CurDir).collect())
}

/// A wrong text as people may see it: short, on one line, without the credentials of a URL.
pub(super) fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    let masked = match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => text.to_owned(),
    };
    if masked.chars().count() <= MAX_CHARS {
        return format!("{masked:?}");
    }
    let start: String = masked.chars().take(MAX_CHARS).collect();
    format!("{:?}", start + "…")
}
