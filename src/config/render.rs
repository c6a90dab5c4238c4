//! Writes configuration as YAML: the documented file of all defaults, and the effective values.
//! Called by `cli` through [`default_yaml`] and `Loaded::show`.

use super::document::{Document, Node};
use super::load::Source;
use super::reader::{Entry, Key};

/// What `config/cifra.yaml` begins with.
const HEAD: &str = "\
# cifra's configuration: every key, its default and what it means.
# Nothing is set here. To change a value, remove the `# ` in front of its key.
#
# Files are looked for in this order: --config, $CIFRA_CONFIG, ./cifra.yaml, ./config/cifra.yaml,
# /etc/cifra/cifra.yaml. Relative paths are relative to the file that they stand in; those of defaults, of the
# environment and of the command line, to the working directory.
# Environment variables override the file, for example CIFRA__FILE_UPLOAD__CHUNK_SIZE=16MiB; DATABASE_URL,
# REDIS_URL and RUST_LOG stand for database.url, redis.url and log.level. The command line overrides all.
# Sizes: 64KiB, 8MiB, 10MB or a number of bytes. Durations: 250ms, 10s, 5m, 24h, 7d or a number of seconds.
";

/// Where the comments after keys begin, so that they stand below each other.
const COMMENT_COLUMN: usize = 36;

/// The documented file: every key, commented out, with its default and its meaning. Loading it changes
/// nothing.
pub fn default_yaml() -> String {
    let mut text = HEAD.to_owned();
    let mut layout = Layout::default();
    for Key { path, default, doc } in super::keys() {
        layout.add(&mut text, &path, Mark::CommentedOut, default, &doc);
    }
    text
}

/// The effective values, each with where it came from.
pub(super) fn effective_yaml(source: &Source, entries: &[Entry]) -> String {
    let mut text = format!("# the configuration in effect, from: {}\n", source.to_string().escape_debug());
    let mut layout = Layout::default();
    for Entry { key, value, origin, .. } in entries {
        let origin = origin.to_string();
        layout.add(&mut text, &key.path, Mark::Set, value.as_deref(), &origin.escape_debug().to_string());
    }
    text
}

/// Whether a key counts or is only shown.
#[derive(Clone, Copy)]
enum Mark {
    Set,
    CommentedOut,
}

/// Opens sections as their keys come.
#[derive(Default)]
struct Layout {
    section: Vec<String>,
}

impl Layout {
    fn add(&mut self, text: &mut String, path: &str, mark: Mark, value: Option<&str>, comment: &str) {
        let mut section: Vec<String> = path.split('.').map(str::to_owned).collect();
        let name = section.pop().unwrap_or_default();
        if section.is_empty() {
            text.push('\n');
        }
        let common = self.section.iter().zip(&section).take_while(|(a, b)| a == b).count();
        for (depth, title) in section.iter().enumerate().skip(common) {
            let gap = if depth == 0 { "\n" } else { "" };
            text.extend([gap, &"  ".repeat(depth), &scalar(title), ":\n"]);
        }
        let indent = "  ".repeat(section.len());
        let mark = match mark {
            Mark::Set => "",
            Mark::CommentedOut => "# ",
        };
        let key = format!("{indent}{mark}{name}: {}", value.map_or_else(|| "null".to_owned(), scalar));
        let line = format!("{key:COMMENT_COLUMN$}  # {comment}\n");
        text.push_str(&line);
        self.section = section;
    }
}

/// `text` as a YAML scalar that is read back as the same text: plain where that is possible.
fn scalar(text: &str) -> String {
    let harmless = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._:%=+,-[]{} ".contains(c));
    let same = || {
        let document = Document::parse(&format!("key: {text}")).ok()?;
        Some(match &document.find("key")?.value {
            Node::Text(read) => read == text,
            Node::List(Some(read)) => format!("[{}]", read.join(", ")) == text,
            Node::Map(members) => members.is_empty() && text == "{}",
            _ => false,
        })
    };
    if harmless && same() == Some(true) {
        return text.to_owned();
    }
    // Every JSON string is a double-quoted YAML scalar (YAML 1.2, section 1.3).
    serde_json::Value::from(text).to_string()
}
