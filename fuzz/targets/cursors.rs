//! `cursor` of a list: the first line of the input as a client sends it, the second as a list would write it.
#![no_main]

use cifra::base::Code;
use cifra::base::page::{decode_cursor, encode_cursor};
use cifra_fuzz::first_line;
use libfuzzer_sys::fuzz_target;

const SCOPE: &str = "files\0default\0-created_at";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (cursor, position) = first_line(text.as_bytes());
    let [cursor, position] =
        [cursor, position].map(|line| std::str::from_utf8(line).expect("a line of UTF-8"));
    match decode_cursor(cursor, SCOPE) {
        Ok(position) => assert_eq!(encode_cursor(&position, SCOPE), cursor, "one position, one text"),
        Err(error) => assert_eq!(error.code(), Code::InvalidRequest),
    }
    let written = encode_cursor(position, SCOPE);
    assert!(written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{written}");
    assert_eq!(decode_cursor(&written, SCOPE).ok().as_deref(), Some(position));
    for other in
        ["", "files\0default\0created_at", "files\0other\0-created_at", "uploads\0default\0-created_at"]
    {
        assert!(decode_cursor(&written, other).is_err(), "it was written for another list");
    }
    if cursor != SCOPE {
        assert!(decode_cursor(&written, cursor).is_err(), "it was written for another list");
    }
    for end in 0..written.len() {
        assert!(decode_cursor(&written[..end], SCOPE).is_err(), "it was cut");
    }
});
