//! `Content-Disposition` of a part: its field's name and its file's (RFC 7578 4.2). Pure.
//!
//! Three spellings are in the wild and all are read: quoted strings with backslashes (RFC 2183), the HTML standard's,
//! which writes `"`, CR and LF as `%22`, `%0D` and `%0A`, and `filename*` (RFC 8187), which some libraries send
//! although RFC 7578 forbids it.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::scanner::malformed;
use crate::base::Result;

/// What a part says that it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    /// The field.
    pub(super) name: String,
    /// The file; `None` for a plain field.
    pub(super) filename: Option<String>,
}

/// Reads the header's value.
///
/// # Errors
/// `InvalidRequest` if it is not `form-data`, has no name, or says anything twice.
pub(super) fn parse(value: &[u8]) -> Result<Disposition> {
    let text = std::str::from_utf8(value).map_err(|_| malformed("a Content-Disposition is not UTF-8"))?;
    let (kind, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(malformed("a Content-Disposition is not form-data"));
    }
    let mut parameters = parameters(rest)?;
    let extended = parameters.remove("filename*").as_deref().map(extended_value).transpose()?;
    let name = parameters.remove("name").ok_or_else(|| malformed("a part has no name"))?;
    Ok(Disposition { name, filename: extended.or(parameters.remove("filename")) })
}

/// The parameters of a header's value, each behind a semicolon; their names in lower case.
///
/// # Errors
/// `InvalidRequest` if they cannot be read, or one is there twice.
pub(super) fn parameters(mut rest: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    while let Some(parameter) = rest.strip_prefix(';') {
        let parameter = parameter.trim_start();
        if parameter.is_empty() {
            return Ok(found); // some send a last semicolon
        }
        let (key, after) = parameter.split_once('=').ok_or_else(unreadable)?;
        let (value, behind) = value_of(after.trim_start())?;
        if found.insert(key.trim().to_ascii_lowercase(), value).is_some() {
            return Err(malformed("a header says the same twice"));
        }
        rest = behind.trim_start();
    }
    if rest.is_empty() { Ok(found) } else { Err(unreadable()) }
}

/// A parameter's value, and what follows it.
fn value_of(text: &str) -> Result<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        return Ok((token.trim().to_owned(), rest));
    };
    let mut value = String::with_capacity(quoted.len());
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((html_decoded(&value), &quoted[at + 1..])),
            // Only these two are escaped: browsers send any other backslash as it is.
            '\\' if quoted[at + 1..].starts_with(['"', '\\']) => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    Err(unreadable())
}

/// What the HTML standard encodes in names, and nothing else: another `%` is a percent sign.
fn html_decoded(value: &str) -> String {
    const ENCODED: [(&str, &str); 5] =
        [("%22", "\""), ("%0D", "\r"), ("%0d", "\r"), ("%0A", "\n"), ("%0a", "\n")];
    ENCODED.iter().fold(value.to_owned(), |value, (from, to)| value.replace(from, to))
}

/// RFC 8187 3.2, in UTF-8, which is the one encoding that all must know.
fn extended_value(value: &str) -> Result<String> {
    let mut pieces = value.splitn(3, '\'');
    let (charset, _language, encoded) = (pieces.next(), pieces.next(), pieces.next());
    let (Some(charset), Some(encoded)) = (charset, encoded) else { return Err(unreadable()) };
    if !charset.eq_ignore_ascii_case("utf-8") {
        return Err(malformed("a filename* is not in UTF-8"));
    }
    let decoded =
        percent_decode_str(encoded).decode_utf8().map_err(|_| malformed("a filename* is not UTF-8"))?;
    Ok(decoded.into_owned())
}

fn unreadable() -> crate::base::Error {
    malformed("the parameters of a header cannot be read")
}
