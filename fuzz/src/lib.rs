//! What several targets need. What each of them holds the service to is in `targets/`.

use cifra::base::Error;
use cifra::base::error::Class;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers with these lines; `None` if HTTP would not let one of them through.
pub fn headers<'a>(lines: impl IntoIterator<Item = (&'static str, &'a [u8])>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}

/// The first line of an input, and what follows it: a seed with several values stays readable.
pub fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}

/// Whatever a client sends, it is never told that the service is broken.
pub fn assert_refusal(error: &Error) {
    assert!(!matches!(error.code().class(), Class::Internal | Class::Unavailable), "{error}");
}
