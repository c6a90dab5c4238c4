//! What an answer says of the cache: `X-Cache`, which tier had the value, and `Server-Timing` (W3C), how long that took.
//!
//! Every handler whose answer comes through the cache calls [`tell`], and says `x-cached` in its documentation, which
//! puts both headers into the document (`super::openapi`). Where a value comes from is `crate::cache`'s business.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use crate::ops::cache::Source;

pub(super) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
pub(super) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Says that what is answered came from `source`, after `took`: `X-Cache: L1`, `Server-Timing: cache;desc="L1";dur=0.012`.
pub(super) fn tell(response: &mut Response, source: Source, took: Duration) {
    let name = source.as_str();
    let timing = format!("cache;desc=\"{name}\";dur={:.3}", took.as_secs_f64() * 1e3);
    let headers = response.headers_mut();
    headers.insert(X_CACHE, HeaderValue::from_static(name));
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        headers.insert(SERVER_TIMING, timing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_which_tier_it_came_from_and_after_how_many_milliseconds() {
        for (source, took, name, milliseconds) in [
            (Source::L1, Duration::from_nanos(12_345), "L1", "0.012"),
            (Source::L2, Duration::from_micros(1_500), "L2", "1.500"),
            (Source::Database, Duration::from_secs(2), "DB", "2000.000"),
            (Source::Bypass, Duration::ZERO, "BYPASS", "0.000"),
            (Source::Stale, Duration::from_millis(100), "STALE", "100.000"),
        ] {
            let mut response = Response::new(axum::body::Body::empty());
            tell(&mut response, source, took);
            assert_eq!(response.headers()[X_CACHE], name);
            let timing = format!("cache;desc=\"{name}\";dur={milliseconds}");
            assert_eq!(response.headers()[SERVER_TIMING], timing.as_str());
        }
    }
}
