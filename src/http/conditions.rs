//! Conditional requests (RFC 9110 13): whether a request is to be carried out, given what the client has.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::base::{Code, Error, Result, Timestamp};
use crate::files::Expected;

/// What names the current state of a representation.
pub(super) struct Validators<'a> {
    /// A strong entity tag, with its quotes.
    pub(super) etag: &'a str,
    /// When it was last changed.
    pub(super) modified: Timestamp,
}

/// What to do with the request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Carry it out.
    Proceed,
    /// 304: the client has it already.
    NotModified,
}

impl Validators<'_> {
    /// The tag as a header.
    pub(super) fn etag_value(&self) -> HeaderValue {
        HeaderValue::from_str(self.etag).expect("INVARIANT: our tags are digits, hex and hyphens")
    }

    /// The time as a header: an HTTP date, to the second.
    pub(super) fn modified_value(&self) -> HeaderValue {
        let date = httpdate::fmt_http_date(self.modified.to_system_time());
        HeaderValue::from_str(&date).expect("INVARIANT: an HTTP date is ASCII")
    }
}

/// Weighs the conditions in the order of RFC 9110 13.2.2; `If-Range` is for whoever serves ranges.
///
/// # Errors
/// `PreconditionFailed`.
pub(super) fn evaluate(method: &Method, headers: &HeaderMap, now: &Validators<'_>) -> Result<Verdict> {
    let safe = *method == Method::GET || *method == Method::HEAD;
    if headers.contains_key(header::IF_MATCH) {
        if !any_tag(headers, header::IF_MATCH, |tag| tag == now.etag) {
            return Err(failed("If-Match", now));
        }
    } else if date(headers, header::IF_UNMODIFIED_SINCE)
        .is_some_and(|limit| now.modified.to_system_time() > limit)
    {
        return Err(failed("If-Unmodified-Since", now));
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        // Weak comparison (13.1.2): whether a tag is weak does not matter.
        if any_tag(headers, header::IF_NONE_MATCH, |tag| tag.trim_start_matches("W/") == now.etag) {
            return if safe { Ok(Verdict::NotModified) } else { Err(failed("If-None-Match", now)) };
        }
    } else if safe
        && date(headers, header::IF_MODIFIED_SINCE)
            .is_some_and(|since| now.modified.to_system_time() <= since)
    {
        return Ok(Verdict::NotModified);
    }
    Ok(Verdict::Proceed)
}

/// Weighs the conditions on a representation that has a tag, and no time of its own.
///
/// # Errors
/// `PreconditionFailed`.
pub(super) fn evaluate_tag(method: &Method, headers: &HeaderMap, etag: &str) -> Result<Verdict> {
    // RFC 9110 13.1.3 and 13.1.4: without a time, conditions on times say nothing.
    let mut tags = HeaderMap::new();
    for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
        for value in headers.get_all(&name) {
            tags.append(&name, value.clone());
        }
    }
    evaluate(method, &tags, &Validators { etag, modified: Timestamp::from_micros(0) })
}

/// The versions of a record that `If-Match` names (13.1.1): of a tag `"<version>.<derived>"` the first part. A weak tag
/// never matches, nor one that is not ours.
pub(super) fn expected_version(headers: &HeaderMap) -> Expected {
    if !headers.contains_key(header::IF_MATCH) {
        return Expected::Any;
    }
    let version = |tag: &str| {
        let (version, derived) = tag.strip_prefix('"')?.strip_suffix('"')?.split_once('.')?;
        derived.parse::<i64>().ok()?;
        version.parse().ok()
    };
    let values = headers.get_all(header::IF_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let tags: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    if tags.contains(&"*") {
        return Expected::Any;
    }
    Expected::OneOf(tags.into_iter().filter_map(version).collect())
}

/// Whether a range may be answered: no `If-Range`, or one that names the current state exactly (13.1.5).
pub(super) fn range_allowed(headers: &HeaderMap, now: &Validators<'_>) -> bool {
    match headers.get(header::IF_RANGE).map(HeaderValue::to_str) {
        None => true,
        Some(Ok(value)) if value.starts_with('"') => value == now.etag,
        Some(Ok(value)) => {
            httpdate::parse_http_date(value).is_ok_and(|date| date == now.modified.to_system_time())
        }
        Some(Err(_)) => false,
    }
}

/// Whether one of the header's tags is `wanted`, or the header is `*`. Our tags contain no commas.
pub(super) fn any_tag(headers: &HeaderMap, name: HeaderName, wanted: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|tag| tag == "*" || wanted(tag))
}

/// A date that cannot be read is no condition (13.1.3, 13.1.4).
fn date(headers: &HeaderMap, name: HeaderName) -> Option<std::time::SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

fn failed(what: &str, now: &Validators<'_>) -> Error {
    Error::new(Code::PreconditionFailed, format!("{what} does not hold: the current ETag is {}", now.etag))
        .with("etag", now.etag)
}
