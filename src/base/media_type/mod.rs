//! What a file is: decided from its first bytes and what its sender claims.
//!
//! The bytes have the last word, so that nothing that can run in a browser passes as a picture or as plain text. A
//! claim counts where the bytes say nothing, and where they name only a container: a zip may well be a docx.
//! Signatures are `file-format`'s; what is markup is decided here, because that is what safety hangs on.
//! Called by `upload` when a file becomes one.

#[cfg(test)]
mod tests;

use file_format::{FileFormat, Kind};

/// So many first bytes are looked at: all signatures of containers, pictures and media lie within, and a prolog of XML.
pub const HEAD_BYTES: usize = 4096;

/// Of a file of which nobody knows anything (RFC 9110 8.3).
const UNKNOWN: &str = "application/octet-stream";

/// The media type of a file that begins with `head` ([`HEAD_BYTES`] of it, or all) and is claimed to be `claimed`.
pub fn decide(head: &[u8], claimed: Option<&str>) -> String {
    let claim = claimed.map_or_else(Claim::none, Claim::of);
    if head.is_empty() {
        return claim.or(UNKNOWN);
    }
    let text = as_text(head);
    if let Some(found) = text.as_deref().and_then(markup) {
        return if found.may_be(&claim) { claim.or(found.name()) } else { found.name().to_owned() };
    }
    match signature(head, text.is_some(), &claim) {
        Some(found) if found == claim.essence || may_contain(&found, &claim) => claim.or(&found),
        Some(found) => found,
        // Text is no picture and no sound, whatever its sender says: only of those formats that are written as text.
        None if text.is_some() && claim.is_media() && !TEXTUAL_IMAGES.contains(&claim.essence.as_str()) => {
            "text/plain".to_owned()
        }
        None => claim.or(UNKNOWN),
    }
}

/// The same for whom a claim alone is not enough: what is claimed to be a picture, sound, film or font and begins like
/// none of them is unknown.
pub fn decide_strictly(head: &[u8], claimed: Option<&str>) -> String {
    let found = decide(head, claimed);
    let media = claimed.map_or_else(Claim::none, Claim::of).is_media() && Claim::of(&found).is_media();
    if media && !Claim::of(&decide(head, None)).is_media() { UNKNOWN.to_owned() } else { found }
}

/// What the sender says.
struct Claim<'a> {
    whole: Option<&'a str>,
    /// `type/subtype` in lower case; empty if nothing is claimed.
    essence: String,
}

impl<'a> Claim<'a> {
    fn none() -> Self {
        Self { whole: None, essence: String::new() }
    }

    fn of(whole: &'a str) -> Self {
        let essence = whole.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence == UNKNOWN { Self::none() } else { Self { whole: Some(whole), essence } }
    }

    fn or(&self, other: &str) -> String {
        self.whole.unwrap_or(other).to_owned()
    }

    fn kind(&self) -> &str {
        self.essence.split('/').next().unwrap_or_default()
    }

    fn is_media(&self) -> bool {
        matches!(self.kind(), "image" | "audio" | "video" | "font")
    }

    fn is_xml(&self) -> bool {
        self.essence.ends_with("+xml") || matches!(self.essence.as_str(), "text/xml" | "application/xml")
    }
}

/// Pictures that are text.
const TEXTUAL_IMAGES: &[&str] = &[
    "image/x-portable-anymap",
    "image/x-portable-bitmap",
    "image/x-portable-graymap",
    "image/x-portable-pixmap",
    "image/x-xbitmap",
    "image/x-xpixmap",
];

/// Text that a browser may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Markup {
    Html,
    Xhtml,
    Svg,
    Xml,
}

impl Markup {
    fn name(self) -> &'static str {
        match self {
            Self::Html => "text/html",
            Self::Xhtml => "application/xhtml+xml",
            Self::Svg => "image/svg+xml",
            Self::Xml => "application/xml",
        }
    }

    /// Whether the claim says the same, or the same in more detail.
    fn may_be(self, claim: &Claim<'_>) -> bool {
        match self {
            Self::Xml => claim.is_xml(),
            _ => claim.essence == self.name(),
        }
    }
}

/// The first bytes as text; `None` if they are none. UTF-16 loses its upper halves: what is looked for is ASCII.
fn as_text(head: &[u8]) -> Option<Vec<u8>> {
    let utf16 = |offset: usize| head[2..].iter().skip(offset).step_by(2).copied().collect::<Vec<_>>();
    let text = match head {
        [0xFF, 0xFE, ..] => utf16(0),
        [0xFE, 0xFF, ..] => utf16(1),
        [0xEF, 0xBB, 0xBF, rest @ ..] => rest.to_vec(),
        _ => head.to_vec(),
    };
    // What WHATWG's MIME Sniffing calls a binary data byte (3.1).
    let binary = |byte: u8| matches!(byte, 0x00..=0x08 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F);
    (!text.iter().copied().any(binary)).then_some(text)
}

/// Tags that make a page of any text (WHATWG MIME Sniffing 7.1).
const HTML_TAGS: &[&str] = &[
    "!doctype html",
    "html",
    "head",
    "script",
    "iframe",
    "h1",
    "div",
    "font",
    "table",
    "a",
    "style",
    "title",
    "b",
    "body",
    "br",
    "p",
    "img",
    "form",
    "meta",
    "link",
    "object",
    "embed",
    "base",
    "math",
    "template",
    "video",
    "audio",
];

/// What kind of markup `text` is, if it is any.
fn markup(text: &[u8]) -> Option<Markup> {
    let mut rest = text.trim_ascii_start();
    let mut xml = false;
    loop {
        // What may stand before the first tag.
        if starts_with(rest, "<?xml") {
            (xml, rest) = (true, after(rest, b"?>"));
        } else if xml && rest.starts_with(b"<?") {
            rest = after(rest, b"?>");
        } else if rest.starts_with(b"<!--") {
            rest = after(rest, b"-->");
            if rest.is_empty() {
                return Some(if xml { Markup::Xml } else { Markup::Html });
            }
        } else if starts_with(rest, "<!doctype") && !is_tag(rest, "!doctype html") {
            (xml, rest) = (true, after(rest, b">"));
        } else {
            break;
        }
        rest = rest.trim_ascii_start();
    }
    // Only XML has namespaces.
    let first_tag = rest.split(|byte| *byte == b'>').next().unwrap_or_default();
    let named_tag = rest.len() > 1 && rest[0] == b'<' && rest[1].is_ascii_alphabetic();
    xml |= named_tag && first_tag.windows(5).any(|window| window == b"xmlns");
    // A prefix may stand before the name: `<svg:svg`.
    let local = rest.strip_prefix(b"<").and_then(|tag| {
        let name_end =
            tag.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-' && *byte != b'_')?;
        (tag[name_end] == b':').then(|| &tag[name_end + 1..])
    });
    let svg = is_tag(rest, "svg") || local.is_some_and(|local| named(local, "svg"));
    let html = HTML_TAGS.iter().any(|tag| is_tag(rest, tag));
    match (xml, svg, html) {
        (_, true, _) => Some(Markup::Svg),
        (true, _, true) => Some(Markup::Xhtml),
        (false, _, true) => Some(Markup::Html),
        (true, false, false) => Some(Markup::Xml),
        (false, false, false) => rest.starts_with(b"<!--").then_some(Markup::Html),
    }
}

fn is_tag(text: &[u8], name: &str) -> bool {
    text.strip_prefix(b"<").is_some_and(|tag| named(tag, name))
}

/// Whether `tag` has this name; it may be all there is.
fn named(tag: &[u8], name: &str) -> bool {
    starts_with(tag, name)
        && tag.get(name.len()).is_none_or(|end| end.is_ascii_whitespace() || matches!(end, b'>' | b'/'))
}

fn starts_with(text: &[u8], name: &str) -> bool {
    text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
}

/// What follows `end`; nothing if it does not come.
fn after<'a>(text: &'a [u8], end: &[u8]) -> &'a [u8] {
    let found = text.windows(end.len()).position(|window| window == end);
    found.map_or(&[], |at| &text[at + end.len()..])
}

/// What a signature says, if one is there that can be believed.
fn signature(head: &[u8], is_text: bool, claim: &Claim<'_>) -> Option<String> {
    // Any marker may follow SOI, fill bytes too (ITU-T T.81, B.1.1.2); `file-format` knows the usual ones.
    if head.starts_with(&[0xFF, 0xD8, 0xFF]) {
        return Some("image/jpeg".to_owned());
    }
    let format = FileFormat::from_bytes(head);
    let name = format.media_type();
    if matches!(format, FileFormat::ArbitraryBinaryData | FileFormat::Empty | FileFormat::PlainText)
        || name == UNKNOWN
    {
        return None;
    }
    // Prose may begin like anything; these documents are written as text.
    if is_text
        && !matches!(name, "application/pdf" | "application/postscript" | "application/rtf" | "text/rtf")
    {
        return None;
    }
    // Two bytes are a frame of sound only where nobody says something else.
    let frame = format.kind() == Kind::Audio && head.len() > 1 && head[0] == 0xFF && head[1] >= 0xE0;
    if frame && !claim.essence.is_empty() && claim.kind() != "audio" {
        return None;
    }
    Some(refine(name, head))
}

/// Looks a little further into containers that say what they hold near their start; gives types the names that
/// players and browsers know.
fn refine(name: &str, head: &[u8]) -> String {
    let start_has = |wanted: &[u8]| {
        let start = &head[..head.len().min(64)];
        start.windows(wanted.len()).any(|window| window == wanted)
    };
    match name {
        "application/x-ebml" if start_has(b"webm") => "video/webm",
        "application/x-ebml" if start_has(b"matroska") => "video/matroska",
        "application/x-id3v2" => "audio/mpeg",
        "application/mp4" => "video/mp4",
        "audio/vnd.wave" => "audio/wav",
        "audio/x-m4a" => "audio/mp4",
        "application/zip" => return mimetype_entry(head).unwrap_or(name).to_owned(),
        name => name,
    }
    .to_owned()
}

/// What the first entry of a zip says, if it is the one that EPUB (OCF 3.3, 4.3) and `OpenDocument` (1.3, part 2, 3.3)
/// begin with: not compressed, named `mimetype`.
fn mimetype_entry(head: &[u8]) -> Option<&str> {
    let method = u16::from_le_bytes(head.get(8..10)?.try_into().ok()?);
    let size = u32::from_le_bytes(head.get(18..22)?.try_into().ok()?);
    let extra = u16::from_le_bytes(head.get(28..30)?.try_into().ok()?);
    let start = 38 + usize::from(extra);
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    let told = std::str::from_utf8(head.get(start..end)?).ok()?;
    let known = told == "application/epub+zip" || told.starts_with("application/vnd.oasis.opendocument.");
    let sound = told.len() < 100 && told.bytes().all(|byte| byte.is_ascii_graphic());
    (method == 0 && head.get(30..38)? == b"mimetype" && known && sound).then_some(told)
}

/// What is never inside of a container, because its own first bytes would be the file's, or because it is active.
const NOT_INSIDE: &[&str] = &[
    "application/pdf",
    "application/postscript",
    "application/rtf",
    "application/json",
    "application/wasm",
    "application/javascript",
    "application/ecmascript",
    "application/x-javascript",
    "application/x-shockwave-flash",
    "application/zip",
    "application/gzip",
    "application/x-gzip",
    "application/x-7z-compressed",
    "application/vnd.rar",
    "application/x-tar",
];

/// Whether a file that is a `found` may be what is claimed, in more detail or by another of its names.
fn may_contain(found: &str, claim: &Claim<'_>) -> bool {
    let essence = claim.essence.as_str();
    let application = || {
        matches!(claim.kind(), "application" | "model")
            && !NOT_INSIDE.contains(&essence)
            && !claim.is_xml()
            && !essence.ends_with("+json")
    };
    match found {
        "application/zip"
        | "application/x-cfb"
        | "application/gzip"
        | "application/x-xz"
        | "application/x-bzip2"
        | "application/zstd"
        | "application/x-compress"
        | "application/x-lzip"
        | "application/x-lz4"
        | "application/x-tar"
        | "application/vnd.sqlite3"
        | "application/x-executable"
        | "application/vnd.microsoft.portable-executable" => application(),
        "application/ogg"
        | "audio/ogg"
        | "audio/opus"
        | "video/ogg"
        | "video/matroska"
        | "audio/matroska"
        | "video/webm"
        | "video/mp4"
        | "video/quicktime"
        | "video/3gpp"
        | "video/3gpp2"
        | "video/x-m4v"
        | "audio/mp4"
        | "application/vnd.ms-asf"
        | "video/x-ms-asf"
        | "video/x-ms-wmv"
        | "audio/x-ms-wma"
        | "video/mpeg" => {
            matches!(claim.kind(), "audio" | "video")
                || essence == "application/ogg"
                || essence == "application/mp4"
        }
        "audio/mpeg" | "audio/wav" | "audio/aac" | "audio/x-aiff" => claim.kind() == "audio",
        "image/tiff" => essence.starts_with("image/x-"),
        "image/heic" | "image/heif" | "image/heic-sequence" | "image/heif-sequence" => {
            essence.starts_with("image/heic") || essence.starts_with("image/heif")
        }
        "image/vnd.microsoft.icon" => essence == "image/x-icon",
        "font/otf" | "font/ttf" | "font/woff" | "font/woff2" | "font/collection" => {
            claim.kind() == "font" || essence.starts_with("application/") && essence.contains("font")
        }
        _ => false,
    }
}
