//! What a file is: the first line of the input is what its sender claims, the rest are its first bytes.
#![no_main]

use cifra::base::media_type::{HEAD_BYTES, decide};
use cifra::base::metadata::check_content_type;
use cifra_fuzz::first_line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (claim, head) = first_line(data);
    let head = &head[..head.len().min(HEAD_BYTES)];
    let found = decide(head, None);
    check_content_type(&found).expect("what is found is a media type");
    let Ok(claim) = std::str::from_utf8(claim) else { return };
    if check_content_type(claim).is_err() {
        return; // refused before anybody looks at the bytes
    }
    let decided = decide(head, Some(claim));
    check_content_type(&decided).expect("what is decided is a media type");
    assert!(
        decided == claim || decided == found || decided == "text/plain",
        "{decided} is {claim}? or {found}?"
    );
    // What a browser could run never passes as something else.
    let essence = decided.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match found.as_str() {
        "text/html" | "application/xhtml+xml" | "image/svg+xml" => assert_eq!(essence, found),
        "application/xml" => assert!(essence.ends_with("xml"), "{essence}"),
        _ => {}
    }
    // And text never as a picture or a film.
    let is_text =
        !head.is_empty() && head.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r'));
    assert!(!is_text || !matches!(essence.as_str(), "image/png" | "image/jpeg" | "video/mp4"), "{essence}");
});
