//! What every page has: the frame, the style, and text that cannot become markup.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::http::fixed::Fixed;

const STYLE: &str = include_str!("style.css");

/// Nothing may be loaded or run but the style below, named by its digest.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// A page; `body` is markup already.
pub(super) fn page(title: &str, body: &str) -> Fixed {
    let title = escape(title);
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<header><a class=\"brand\" href=\"/docs\">cifra <small>{version}</small></a>\n\
         <nav><a href=\"/docs\">Operations</a> <a href=\"/problems\">Problems</a> \
         <a href=\"/openapi.json\">OpenAPI</a></nav></header>\n<main>\n{body}</main>\n</body>\n</html>\n"
    );
    Fixed::new("text/html; charset=utf-8", text)
        .with(header::CONTENT_SECURITY_POLICY, &POLICY)
        .with(header::REFERRER_POLICY, "no-referrer")
}

/// `text` so that it stands for itself, in content and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A line of text; what stands in backticks is code.
pub(super) fn line(text: &str) -> String {
    let mut markup = String::new();
    for (at, part) in text.split('`').enumerate() {
        let part = escape(part);
        let _ = if at % 2 == 0 { write!(markup, "{part}") } else { write!(markup, "<code>{part}</code>") };
    }
    markup
}

/// Paragraphs of text, with an empty line between them.
pub(super) fn prose(text: &str) -> String {
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    paragraphs.fold(String::new(), |mut markup, paragraph| {
        let _ = writeln!(markup, "<p>{}</p>", line(paragraph.trim()));
        markup
    })
}
