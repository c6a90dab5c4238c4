//! The house's own rules, read from its sources: who may import whom, what every file begins with, how long it is.
//!
//! The floors are those of `src/lib.rs`; the table here is the law, and the table there is held to it.

use std::path::{Path, PathBuf};

const LINES_MAX: usize = 400;

/// A module's floor; a module imports only from floors below its own.
const FLOORS: &[(&str, u8)] = &[
    ("cli", 8),
    ("http", 7),
    ("app", 6),
    ("upload", 5),
    ("files", 5),
    ("media", 5),
    ("entities", 5),
    ("ops", 5),
    ("auth", 4),
    ("idempotency", 4),
    ("jobs", 4),
    ("blob", 3),
    ("session", 3),
    ("cache", 3),
    ("db", 2),
    ("redis", 2),
    ("config", 1),
    ("telemetry", 1),
    ("client", 1),
    ("imaging", 1),
    ("base", 0),
];

/// Edges on one floor, and those that are forbidden although they go down.
const SIDEWAYS: &[(&str, &str)] = &[
    ("upload", "files"),
    ("media", "files"),
    ("telemetry", "config"),
    ("entities", "files"),
    ("ops", "upload"),
    ("ops", "files"),
    ("ops", "entities"),
];
const HTTP_NAMES_SERVICES_ONLY: &[&str] = &["blob", "session", "cache", "db", "redis"];

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// Why `from` may not import `to`; `None` if it may.
fn forbidden(from: &str, to: &str) -> Option<String> {
    if from == to || from == "lib" || from == "main" {
        return None;
    }
    let (Some(above), Some(below)) = (floor(from), floor(to)) else {
        return Some(format!("`{from}` imports `{to}`, and one of them has no floor"));
    };
    if from == "http" && HTTP_NAMES_SERVICES_ONLY.contains(&to) {
        return Some(format!("`http` names services only, not `{to}`"));
    }
    if to == "client" && from != "cli" {
        return Some(format!("`client` is for `cli` only, not for `{from}`"));
    }
    if below < above || SIDEWAYS.contains(&(from, to)) {
        return None;
    }
    Some(format!("`{from}` (floor {above}) imports `{to}` (floor {below})"))
}

/// A source without what the compiler does not read: comments, and the insides of strings.
fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(len) = raw_string_len(rest) {
            len
        } else if first == '"' {
            string_len(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if let Some(escape) = rest.strip_prefix("'\\") {
            // The character after the backslash may be the quote itself.
            escape.char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(rest.len(), |(end, _)| end + 3)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..taken].chars().filter(|c| *c == '\n'));
        rest = &rest[taken..];
    }
    code
}

fn string_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The length of a raw string that `text` begins with.
fn raw_string_len(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?;
    let opened = hashes.trim_start_matches('#');
    let count = hashes.len() - opened.len();
    let body = opened.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(count));
    Some(1 + count + 1 + body.find(&close).map_or(body.len(), |end| end + close.len()))
}

/// `code` without its modules of unit tests: `#[cfg(test)]` and the item after it.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..start]);
        let item = &rest[start..];
        let end = item.find([';', '{']).map_or(item.len(), |end| match item.as_bytes()[end] {
            b'{' => end + block_len(&item[end..]),
            _ => end + 1,
        });
        rest = &item[end..];
    }
    kept + rest
}

fn block_len(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// The top modules that `code` of the file `path` (relative to `src`) names: by `crate::x`, by `use crate::{x, y}`,
/// by `super::` from a module that stands right below the root, and, in the binary, by `cifra::x`.
fn imports(path: &Path, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut prefixes = vec!["crate::".to_owned(), "cifra::".to_owned()];
    let depth = module_depth(path);
    prefixes.push("super::".repeat(depth));
    for prefix in prefixes.iter().filter(|prefix| !prefix.is_empty()) {
        for (at, _) in code.match_indices(prefix.as_str()) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            found.extend(first_segments(&code[at + prefix.len()..]));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// How many `super::` lead from the file's module to the root.
fn module_depth(path: &Path) -> usize {
    let parts = path.components().count();
    if path.ends_with("mod.rs") { parts - 1 } else { parts }
}

/// The names right after `crate::`: one, or those of a group in braces, also one that is spread over lines.
fn first_segments(text: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    if !text.starts_with('{') {
        return vec![name(text)];
    }
    let group = &text[1..block_len(text) - 1];
    let (mut names, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

/// Every fault of one file of `src`.
fn faults(path: &Path, source: &str) -> Vec<String> {
    let mut faults = form_faults(source);
    if !is_test(path) {
        let top = path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        let code = without_tests(&code_of(source));
        faults.extend(imports(path, &code).iter().filter_map(|to| forbidden(top, to)));
    }
    faults.into_iter().map(|fault| format!("{}: {fault}", path.display())).collect()
}

/// Head and length, which tests have too.
fn form_faults(source: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !source.starts_with("//! ") {
        faults.push("does not begin with //!".to_owned());
    }
    let lines = source.lines().count();
    if lines > LINES_MAX {
        faults.push(format!("has {lines} lines, more than {LINES_MAX}"));
    }
    faults
}

fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// All `.rs` files below `folder`, with their paths relative to it.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((
                    path.strip_prefix(&root).unwrap().to_owned(),
                    std::fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }
    assert!(found.len() > 10, "where are the sources?");
    found
}

#[test]
fn every_source_keeps_the_rules_of_the_house() {
    let faults: Vec<String> = sources("src").iter().flat_map(|(path, source)| faults(path, source)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_test_keeps_the_rules_of_the_house() {
    let all = sources("tests");
    let faults: Vec<String> = all
        .iter()
        .flat_map(|(path, source)| {
            form_faults(source).into_iter().map(|fault| format!("{}: {fault}", path.display()))
        })
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_crate_s_own_table_of_floors_is_the_law() {
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(modules.len(), FLOORS.len(), "{modules:?}");
    for module in modules {
        let floor = floor(module).unwrap_or_else(|| panic!("`{module}` has no floor"));
        let row = lib.lines().find(|line| line.starts_with(&format!("//! | {floor} |")));
        let row = row.unwrap_or_else(|| panic!("floor {floor} is not in the table of src/lib.rs"));
        assert!(row.contains(&format!("[`{module}`]")), "`{module}` is not on floor {floor}: {row}");
    }
}

#[test]
fn a_planted_fault_is_found() {
    let check = |path: &str, code: &str| faults(Path::new(path), &format!("//! Head.\n{code}\n"));
    for (path, code) in [
        ("db/files.rs", "use crate::blob::BlobKey;"),
        ("base/id.rs", "use crate::{base::Clock, config::Config};"),
        ("base/id.rs", "use crate::{\n    base::{Clock, Code},\n    db::{self, Db},\n};"),
        ("blob/mod.rs", "fn f() { crate::session::open(); }"),
        ("session/mod.rs", "fn f() -> crate::blob::BlobKey { todo() }"),
        ("files/mod.rs", "use crate::upload::Upload;"),
        ("http/uploads.rs", "use crate::db::Db;"),
        ("http/uploads.rs", "use crate::blob::BlobKey;"),
        ("upload/mod.rs", "use crate::http::router;"),
        ("upload/mod.rs", "use crate::client::Client;"),
        ("app.rs", "use super::cli::Cli;"),
        ("blob/local/root.rs", "use super::super::super::app::App;"),
        ("base/id.rs", "use crate::unheard_of::Thing;"),
        ("base/id.rs", "const A: char = '\"'; fn f() { crate::db::open('\\'') } const B: &str = \"\";"),
        ("base/id.rs", "#[cfg(test)]\nmod tests;\nuse crate::db::Db;"),
    ] {
        assert_eq!(check(path, code).len(), 1, "{path}: {code}");
    }
    for (path, code) in [
        ("upload/mod.rs", "use crate::files::File;\nuse crate::db::Db;\nuse super::upload::x;"),
        ("telemetry/mod.rs", "use crate::config::LogFormat;"),
        ("base/id.rs", "// use crate::db::Db;\n/* crate::db */ const A: &str = \"crate::db::\";"),
        ("base/id.rs", "const A: &str = r#\"crate::db:: \" \"#;"),
        ("base/id.rs", "#[cfg(test)]\nmod tests { use crate::db::Db; }"),
        ("base/id/tests.rs", "use crate::db::Db;"),
        ("blob/local/root.rs", "use super::super::cli;"),
        ("base/id.rs", "use other_crate::db;"),
        ("main.rs", "fn main() { cifra::cli::run() }"),
    ] {
        assert_eq!(check(path, code), [""; 0], "{code}");
    }
    assert_eq!(faults(Path::new("base/id.rs"), "use std::fmt;\n").len(), 1, "no head");
    let long = format!("//! Head.\n{}", "\n".repeat(LINES_MAX));
    assert_eq!(faults(Path::new("base/id.rs"), &long).len(), 1, "too long");
}
