//! How a file's content is answered: whole, in part, or not again; under which name, and never as a page.
//!
//! [`plan`] is a pure function of the file and the request's headers; the caller adds the bytes.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

use super::conditions::{self, Validators, Verdict};
use super::multipart::Parts;
use crate::base::range::{RangeRequest, parse_range};
use crate::base::{ByteRange, Code, Error, Result};
use crate::files::File;

/// Whether a browser may show it in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposition {
    /// To be saved.
    Attachment,
    /// In place if its type cannot run anything.
    ByType,
}

/// Which bytes go with the answer.
#[derive(Debug)]
pub(super) enum Part {
    /// None: HEAD, or 304.
    None,
    /// These, or all.
    Range(Option<ByteRange>),
    /// Several ranges, with the text between them.
    Ranges(Parts),
}

/// An answer without its bytes.
#[derive(Debug)]
pub(super) struct Plan {
    status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Part,
}

impl Plan {
    /// The answer with its bytes.
    pub(super) fn respond(self, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// Who may draw it into a page (the Fetch standard, `Cross-Origin-Resource-Policy`).
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Decides how `file` is answered.
///
/// # Errors
/// `PreconditionFailed`, `RangeNotSatisfiable`.
pub(super) fn plan(
    file: &File,
    disposition: Disposition,
    method: &Method,
    request: &HeaderMap,
) -> Result<Plan> {
    let etag = format!("\"{}\"", file.id);
    let validators = Validators { etag: &etag, modified: file.created_at };
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, validators.etag_value());
    headers.insert(header::LAST_MODIFIED, validators.modified_value());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // The bytes of an id never change; who may read them may.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if conditions::evaluate(method, request, &validators)? == Verdict::NotModified {
        return Ok(Plan { status: StatusCode::NOT_MODIFIED, headers, body: Part::None });
    }

    let range = requested_range(file, method, request, &validators)?;
    headers.insert(header::CONTENT_TYPE, content_type(file));
    let name = content_disposition(&file.filename, &file.content_type, disposition);
    headers.insert(header::CONTENT_DISPOSITION, name);
    guard(&mut headers, file);
    if let Some(sha256) = file.sha256 {
        // Of the whole file, also beside a part of it (RFC 9530 3).
        let digest = format!("sha-256=:{}:", STANDARD.encode(sha256));
        headers.insert("repr-digest", HeaderValue::from_str(&digest).expect("INVARIANT: base64 is ASCII"));
    }
    let (status, length, body) = match range {
        RangeRequest::Part(range) => {
            let value = format!("bytes {}-{}/{}", range.start(), range.end() - 1, file.size);
            headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&value).expect("INVARIANT: digits"));
            (StatusCode::PARTIAL_CONTENT, range.len(), Part::Range(Some(range)))
        }
        RangeRequest::Parts(ranges) => {
            let boundary = Uuid::new_v4().simple().to_string();
            let parts =
                Parts::new(boundary, content_type(file).to_str().unwrap_or_default(), file.size, &ranges);
            headers.insert(header::CONTENT_TYPE, parts.content_type());
            (StatusCode::PARTIAL_CONTENT, parts.len(), Part::Ranges(parts))
        }
        RangeRequest::Whole | RangeRequest::Unsatisfiable => (StatusCode::OK, file.size, Part::Range(None)),
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let body = if *method == Method::HEAD { Part::None } else { body };
    Ok(Plan { status, headers, body })
}

/// What keeps a browser from taking a file for more than it is, should somebody open it in place.
fn guard(headers: &mut HeaderMap, file: &File) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A link's address is its secret.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Other sites may link to a file, but not draw it into their pages: in open mode nothing else stops them.
    headers.insert(CORP, HeaderValue::from_static("same-site"));
    // Nothing runs and nothing is loaded but the image or film itself, which browsers show in a page of their own
    // with styles of its own. A PDF's viewer does not start in a sandbox; it has one of its own.
    if essence(&file.content_type) != "application/pdf" {
        const POLICY: &str =
            "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'";
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    }
}

/// The same for a picture that was drawn here: there is nothing in it to run.
pub(super) fn guard_picture(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CORP, HeaderValue::from_static("same-site"));
}

/// What somebody made a link for may stand in a page of any site.
pub(super) fn share(response: &mut Response) {
    response.headers_mut().insert(CORP, HeaderValue::from_static("cross-origin"));
}

/// A type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The ranges that are asked for; only GET has ranges (RFC 9110 14.2).
///
/// # Errors
/// `RangeNotSatisfiable`.
fn requested_range(
    file: &File,
    method: &Method,
    request: &HeaderMap,
    validators: &Validators<'_>,
) -> Result<RangeRequest> {
    if *method != Method::GET || !conditions::range_allowed(request, validators) {
        return Ok(RangeRequest::Whole);
    }
    let Some(value) = request.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Ok(RangeRequest::Whole);
    };
    match parse_range(value, file.size) {
        RangeRequest::Unsatisfiable => {
            let detail = format!("`{value}` lies outside of the file's {} bytes", file.size);
            Err(Error::new(Code::RangeNotSatisfiable, detail).with("size", file.size))
        }
        range => Ok(range),
    }
}

fn content_type(file: &File) -> HeaderValue {
    HeaderValue::from_str(&file.content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// `Content-Disposition` with the name in both forms (RFC 6266 4.3, RFC 8187 3.2).
pub(super) fn content_disposition(filename: &str, content_type: &str, wish: Disposition) -> HeaderValue {
    let kind = match wish {
        Disposition::ByType if is_passive(content_type) => "inline",
        _ => "attachment",
    };
    // A name is no path, and what turns the direction of writing round makes it look like another one.
    let harmless = |c: char| if c.is_control() || matches!(c, '/' | '\\') || turns(c) { '_' } else { c };
    let name: String = filename.chars().map(harmless).collect();
    // What is not plain ASCII, or would end the quoted string, is only in the second form.
    let plain = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '%') || c == ' ' { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let value = if ascii == name {
        format!("{kind}; filename=\"{ascii}\"")
    } else {
        // attr-char of RFC 8187 3.2.1.
        const KEPT: &AsciiSet = &NON_ALPHANUMERIC
            .remove(b'!')
            .remove(b'#')
            .remove(b'$')
            .remove(b'&')
            .remove(b'+')
            .remove(b'-')
            .remove(b'.')
            .remove(b'^')
            .remove(b'_')
            .remove(b'`')
            .remove(b'|')
            .remove(b'~');
        format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, KEPT))
    };
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

/// The characters that change the direction of what follows (Unicode Standard Annex 9, 2).
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Types that a browser shows without running anything in our origin's name.
fn is_passive(content_type: &str) -> bool {
    let essence = essence(content_type);
    let kind = essence.split('/').next().unwrap_or_default();
    match kind {
        "image" => essence != "image/svg+xml",
        "audio" | "video" => true,
        _ => matches!(essence.as_str(), "text/plain" | "application/pdf" | "application/json"),
    }
}
