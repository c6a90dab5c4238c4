//! How a file's content is answered: whole, in part, or not again; under which name, and never as a page.
//!
//! [`plan`] is a pure function of the file and the request's headers; the caller adds the bytes.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::conditions::{self, Validators, Verdict};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// None: HEAD, or 304.
    None,
    /// These, or all.
    Range(Option<ByteRange>),
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
    let length = range.map_or(file.size, |range| range.len());
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CONTENT_TYPE, content_type(file));
    headers.insert(header::CONTENT_DISPOSITION, content_disposition(file, disposition));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(sha256) = file.sha256 {
        // Of the whole file, also beside a part of it (RFC 9530 3).
        let digest = format!("sha-256=:{}:", STANDARD.encode(sha256));
        headers.insert("repr-digest", HeaderValue::from_str(&digest).expect("INVARIANT: base64 is ASCII"));
    }
    let status = match range {
        None => StatusCode::OK,
        Some(range) => {
            let value = format!("bytes {}-{}/{}", range.start(), range.end() - 1, file.size);
            headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&value).expect("INVARIANT: digits"));
            StatusCode::PARTIAL_CONTENT
        }
    };
    let body = if *method == Method::HEAD { Part::None } else { Part::Range(range) };
    Ok(Plan { status, headers, body })
}

/// The range that is asked for; only GET has ranges (RFC 9110 14.2).
fn requested_range(
    file: &File,
    method: &Method,
    request: &HeaderMap,
    validators: &Validators<'_>,
) -> Result<Option<ByteRange>> {
    if *method != Method::GET || !conditions::range_allowed(request, validators) {
        return Ok(None);
    }
    let Some(value) = request.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    match parse_range(value, file.size) {
        RangeRequest::Whole => Ok(None),
        RangeRequest::Part(range) => Ok(Some(range)),
        RangeRequest::Unsatisfiable => {
            let detail = format!("`{value}` lies outside of the file's {} bytes", file.size);
            Err(Error::new(Code::RangeNotSatisfiable, detail).with("size", file.size))
        }
    }
}

fn content_type(file: &File) -> HeaderValue {
    HeaderValue::from_str(&file.content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// `Content-Disposition` with the name in both forms (RFC 6266 4.3, RFC 8187 3.2).
fn content_disposition(file: &File, wish: Disposition) -> HeaderValue {
    let kind = match wish {
        Disposition::ByType if is_passive(&file.content_type) => "inline",
        _ => "attachment",
    };
    // What is not plain ASCII, or would end the quoted string, is only in the second form.
    let plain =
        |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' };
    let ascii: String = file.filename.chars().map(plain).collect();
    let value = if ascii == file.filename {
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
        format!(
            "{kind}; filename=\"{ascii}\"; filename*=UTF-8''{}",
            utf8_percent_encode(&file.filename, KEPT)
        )
    };
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Types that a browser shows without running anything in our origin's name.
fn is_passive(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let kind = essence.split('/').next().unwrap_or_default();
    match kind {
        "image" => essence != "image/svg+xml",
        "audio" | "video" => true,
        _ => matches!(essence.as_str(), "text/plain" | "application/pdf" | "application/json"),
    }
}
