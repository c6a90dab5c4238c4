//! What a request's head must be beyond what hyper's parser holds: one host (RFC 9112 3.2), one way to tell where the
//! body ends (RFC 9112 6.1). Two readings of one head are how requests are smuggled past a proxy.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, Version, header};

use crate::base::{Code, Error, Result};

/// Headers that are no lists: two of one make two requests out of one (RFC 9110 5.3).
const SINGLE: &[&str] = &[
    "content-type",
    "range",
    "if-range",
    "if-modified-since",
    "if-unmodified-since",
    "origin",
    "idempotency-key",
    "x-cifra-tenant",
];

/// Checks the head of `request`. After it a request of HTTP/1.1 and 2 has one `Host`, which is the target's.
///
/// # Errors
/// `InvalidRequest`; the connection is to be closed.
pub(super) fn check(request: &mut Request) -> Result<()> {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    let chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some_and(|first| !chunked(first)) || codings.next().is_some() {
        return Err(malformed("Transfer-Encoding is something else than `chunked`"));
    }
    let twice = |name: &&&str| request.headers().get_all(**name).iter().nth(1).is_some();
    if let Some(name) = SINGLE.iter().find(twice) {
        return Err(malformed(format!("{name} is there twice")));
    }
    let version = request.version();
    let told = host(request.headers(), version)?;
    let Some(target) = request.uri().authority() else { return Ok(()) };
    if !matches!(request.uri().scheme_str(), None | Some("http" | "https")) {
        return Err(malformed("the target is a URL of another scheme than http or https"));
    }
    valid(target)?;
    if version == Version::HTTP_2 && told.is_some_and(|told| told != *target) {
        // RFC 9113 8.3.1
        return Err(malformed("Host is not what :authority is"));
    }
    // What the target says counts, not Host (RFC 9112 3.2.2).
    let value =
        HeaderValue::from_str(target.as_str()).map_err(|_| malformed("the target's host is no host"))?;
    let path = request.uri().path_and_query().cloned();
    request.headers_mut().insert(header::HOST, value);
    if let Some(path) = path.filter(|path| path.as_str().starts_with('/')) {
        *request.uri_mut() = Uri::from(path);
    }
    Ok(())
}

/// The one `Host`; HTTP/1.0 has none, and HTTP/2 `:authority` in its place.
fn host(headers: &HeaderMap, version: Version) -> Result<Option<Authority>> {
    let mut all = headers.get_all(header::HOST).iter();
    let Some(first) = all.next() else {
        return if version == Version::HTTP_11 { Err(malformed("Host is missing")) } else { Ok(None) };
    };
    if all.next().is_some() {
        return Err(malformed("Host is there twice"));
    }
    let host: Authority = first.as_bytes().try_into().map_err(|_| malformed("Host is no host"))?;
    valid(&host)?;
    Ok(Some(host))
}

/// Neither somebody's name in front (RFC 9110 4.2.4), nor nothing at all (RFC 9110 4.2.1), nor a port that is none.
fn valid(host: &Authority) -> Result<()> {
    let port = host.as_str().rsplit_once(']').map_or(host.as_str(), |(_, port)| port).split_once(':');
    let port_is_none = port.is_some_and(|(_, port)| !port.is_empty() && host.port_u16().is_none());
    if host.as_str().contains('@') || host.host().is_empty() || port_is_none {
        return Err(malformed("Host is no host"));
    }
    Ok(())
}

fn malformed(what: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidRequest, format!("{what}; send a head as RFC 9112 has it"))
}
