//! Filenames on their way out (RFC 6266, RFC 8187), and on their way in with a form (RFC 7578, RFC 8187, HTML).
#![no_main]

use cifra::base::metadata::check_filename;
use cifra::http::fuzzing::{content_disposition, form};
use cifra_fuzz::headers;
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

fuzz_target!(|data: &[u8]| {
    let Ok(name) = std::str::from_utf8(data) else { return };
    goes_out(name);
    comes_in(name);
});

fn goes_out(name: &str) {
    let value = content_disposition(name, "image/png", false);
    let header = value.to_str().expect("it is plain ASCII");
    assert!(header.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{header}");
    let quoted =
        header.strip_prefix("inline; filename=\"").expect("a picture is shown in place, under its name");
    let (plain, rest) = quoted.split_once('"').expect("the name ends");
    assert!(!plain.contains(['\\', '/', '%']), "{header}: some clients read these in their own way");
    let told = match rest.strip_prefix("; filename*=UTF-8''") {
        None => {
            assert_eq!(rest, "");
            plain.to_owned()
        }
        Some(encoded) => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~%".contains(&byte);
            assert!(encoded.bytes().all(allowed), "{header}: RFC 8187 has no such character");
            percent_decode_str(encoded).decode_utf8().expect("it says that it is UTF-8").into_owned()
        }
    };
    // The name itself, but for what would make it a path, another line, or something else to the eye.
    assert_eq!(told.chars().count(), name.chars().count());
    for (told, kept) in told.chars().zip(name.chars()) {
        let replaced = told == '_' && !kept.is_ascii_alphanumeric() && check_harm(kept);
        assert!(told == kept || replaced, "{kept:?} became {told:?}");
        assert!(!told.is_control() && !matches!(told, '/' | '\\' | '\u{202e}'), "{told:?} went out");
    }
    let saved = content_disposition(name, "image/png", true);
    assert_eq!(
        saved.to_str().ok().and_then(|saved| saved.strip_prefix("attachment")),
        header.strip_prefix("inline")
    );
}

/// Whether a character may be taken out of a name.
fn check_harm(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || matches!(c, '/' | '\\') || turns
}

fn comes_in(name: &str) {
    let rfc2183 = name.replace('\\', "\\\\").replace('"', "\\\"");
    let html = name.replace('\r', "%0D").replace('\n', "%0A").replace('"', "%22");
    let rfc8187 = utf8_percent_encode(name, NON_ALPHANUMERIC);
    // HTML's way escapes no percent sign, so such a name cannot be told from an escape; nor a backslash at the end
    // of a name from RFC 2183's.
    let unescaped = !["%22", "%0d", "%0a"].iter().any(|escape| name.to_ascii_lowercase().contains(escape));
    let in_a_line = check_filename(name).is_ok();
    if unescaped && in_a_line {
        assert_eq!(read(&format!("filename=\"{rfc2183}\"")), Some(name.to_owned()));
    }
    if unescaped && !name.contains('\\') && !name.chars().any(|c| c.is_control() && !matches!(c, '\r' | '\n'))
    {
        assert_eq!(read(&format!("filename=\"{html}\"")), Some(name.to_owned()));
    }
    assert_eq!(read(&format!("filename=x; filename*=UTF-8''{rfc8187}")), Some(name.to_owned()));
    // Anything at all.
    let _ = read(name);
}

/// The filename in a form with one file whose part says this of it; `None` if it is refused.
fn read(parameter: &str) -> Option<String> {
    let body = format!("--b\r\nContent-Disposition: form-data; name=f; {parameter}\r\n\r\nx\r\n--b--\r\n");
    let request = headers([("content-type", &b"multipart/form-data; boundary=b"[..])])?;
    let (mut files, _) = form(&request, body.as_bytes(), body.len())?.ok()?;
    files.pop().map(|file| file.filename)
}
