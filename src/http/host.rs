//! The `Host` of a request must be there, once, and well-formed (RFC 9112 3.2): what stands between us and the
//! client may have gone by another one. Which hosts are taken is not decided here.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{Version, header};

use crate::base::{Code, Error, Result};

/// # Errors
/// `InvalidRequest`.
pub(super) fn check(request: &Request) -> Result<()> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let invalid = |detail: &'static str| Err(Error::new(Code::InvalidRequest, detail));
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => invalid("the request has more than one Host header"),
        (Some(host), None) if !is_authority(host.as_bytes()) => invalid("the Host header is not a host"),
        // In HTTP/2 `:authority` takes its place (RFC 9113 8.3.1), and both say the same.
        (Some(host), None) => match request.uri().authority() {
            Some(authority) if request.version() == Version::HTTP_2 && authority.as_str() != host => {
                invalid("the Host header is another one than :authority")
            }
            _ => Ok(()),
        },
        (None, None) if request.version() == Version::HTTP_11 => invalid("the request has no Host header"),
        (None, None) => Ok(()),
    }
}

/// `host[:port]`; empty is allowed where a target has none (RFC 9110 7.2).
fn is_authority(host: &[u8]) -> bool {
    host.is_empty() || Authority::try_from(host).is_ok_and(|authority| !authority.as_str().contains('@'))
}
