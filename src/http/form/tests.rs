//! The scanner and the names, by tables and by cutting forms anywhere.

use bytes::Bytes;
use proptest::prelude::*;

use super::disposition::{self, Disposition};
use super::scanner::{Event, Scanner};

/// A part: its head as it was sent, its bytes.
type Parts = Vec<(String, Vec<u8>)>;

/// Everything in a form that comes in pieces of `piece` bytes.
fn scan(boundary: &str, form: &[u8], piece: usize) -> Result<Parts, String> {
    let mut scanner = Scanner::new(boundary).map_err(|error| error.detail().to_owned())?;
    let mut pieces = form.chunks(piece);
    let mut parts = Parts::new();
    loop {
        match scanner.next().map_err(|error| error.detail().to_owned())? {
            Event::Part(headers) => {
                let head = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
                parts.push((head.collect::<Vec<_>>().join("; "), Vec::new()));
            }
            Event::Data(bytes) => {
                assert!(!bytes.is_empty());
                parts.last_mut().unwrap().1.extend_from_slice(&bytes);
            }
            Event::PartEnd => {}
            Event::Hungry => {
                let Some(piece) = pieces.next() else {
                    return scanner.finish().map(|()| parts).map_err(|error| error.detail().to_owned());
                };
                scanner.feed(Bytes::copy_from_slice(piece));
            }
            Event::End => return Ok(parts),
        }
    }
}

fn scan_in_all_pieces(form: &[u8]) -> Result<Parts, String> {
    let whole = scan("b", form, form.len().max(1));
    for piece in 1..form.len() {
        assert_eq!(scan("b", form, piece), whole, "in pieces of {piece}");
    }
    whole
}

#[test]
fn forms_are_cut_into_their_parts_however_they_come() {
    let part = |head: &str, bytes: &[u8]| (head.to_owned(), bytes.to_vec());
    let table: &[(&[u8], Parts)] = &[
        (b"--b--", vec![]),
        (b"--b\r\n\r\nx\r\n--b--", vec![part("", b"x")]),
        (b"--b\r\nA: 1\r\n\r\nx\r\n--b--\r\n", vec![part("a: 1", b"x")]),
        (b"--b\r\nA: 1\r\nB:2\r\n\r\n\r\n--b--", vec![part("a: 1; b: 2", b"")]),
        // What only looks like a boundary is data.
        (b"--b\r\n\r\n--b\n--b\r--b\r\n-b\r\n--c\r\n--b--", vec![part("", b"--b\n--b\r--b\r\n-b\r\n--c")]),
        (b"--b\r\n\r\n\r\r\r\n\r\n--b--", vec![part("", b"\r\r\r\n")]),
        (
            b"--b\r\nA: 1\r\n\r\nx\r\n--b \t\r\nB: 2\r\n\r\ny\r\n--b--",
            vec![part("a: 1", b"x"), part("b: 2", b"y")],
        ),
        (b"before\r\n--b\r\n\r\nx\r\n--b--behind\r\n--b\r\n\r\nno part\r\n--b--", vec![part("", b"x")]),
    ];
    for (form, parts) in table {
        assert_eq!(scan_in_all_pieces(form).as_ref(), Ok(parts), "{}", String::from_utf8_lossy(form));
    }
}

#[test]
fn what_is_no_form_is_refused() {
    let long = [b"--b\r\nA: ", "x".repeat(17_000).as_bytes(), b"\r\n\r\n\r\n--b--"].concat();
    let many = [b"--b\r\n".to_vec(), b"A: 1\r\n".repeat(17), b"\r\n\r\n--b--".to_vec()].concat();
    let before = ["x".repeat(5_000).as_bytes(), b"\r\n--b--"].concat();
    let table: &[(&[u8], &str)] = &[
        (b"", "ends before"),
        (b"--b", "ends before"),
        (b"--b\r\n", "ends before"),
        (b"--b\r\n\r\nx", "ends before"),
        (b"--b\r\n\r\nx\r\n--b", "ends before"),
        (b"--b\r\n\r\nx\r\n--b-", "ends before"),
        (b"--bb\r\n\r\nx\r\n--bb--", "something else"),
        (b"--b\n\nx\n--b--", "something else"),
        (b"--b\r\nno header\r\n\r\nx\r\n--b--", "cannot be read"),
        (b"--b\r\nA: 1\r\n folded\r\n\r\nx\r\n--b--", "cannot be read"),
        (b"--b\r\nA: \x01\r\n\r\nx\r\n--b--", "cannot be read"),
        (&long, "16 KiB"),
        (&many, "16 lines"),
        (&before, "does not begin"),
    ];
    for (form, why) in table {
        let told = scan("b", form, form.len().max(1)).unwrap_err();
        assert!(told.contains(why), "{}: {told}", String::from_utf8_lossy(&form[..form.len().min(60)]));
    }
}

#[test]
fn a_head_is_as_long_as_it_may_be_however_it_comes() {
    for (value, fits) in [(16_379, true), (16_380, false)] {
        let form = [b"--b\r\nA: ", "x".repeat(value).as_bytes(), b"\r\n\r\n\r\n--b--"].concat();
        for piece in (16_384..16_400).chain([1_000, form.len()]) {
            assert_eq!(scan("b", &form, piece).is_ok(), fits, "{value} in pieces of {piece}");
        }
    }
}

#[test]
fn a_boundary_is_one_of_the_rfc() {
    for sound in ["b", "----WebKitFormBoundary7MA4YWxkTrZu0gW", "a b'()+_,-./:=?", &"x".repeat(70)] {
        assert!(Scanner::new(sound).is_ok(), "{sound}");
    }
    for unsound in ["", "b ", "a\r\nb", "\"", "é", "a%b", &"x".repeat(71)] {
        assert!(Scanner::new(unsound).is_err(), "{unsound}");
    }
}

proptest! {
    #[test]
    fn any_bytes_come_out_as_they_went_in(
        contents in prop::collection::vec(prop::collection::vec(prop::sample::select(b"\r\n-bx".to_vec()), 0..40), 0..4),
        piece in 1_usize..30,
    ) {
        // A boundary that cannot be in the bytes.
        let boundary = "b-limit";
        let mut form = Vec::new();
        for content in &contents {
            form.extend_from_slice(b"--b-limit\r\nA: 1\r\n\r\n");
            form.extend_from_slice(content);
            form.extend_from_slice(b"\r\n");
        }
        form.extend_from_slice(b"--b-limit--\r\n");
        let scanned: Vec<Vec<u8>> =
            scan(boundary, &form, piece).unwrap().into_iter().map(|(_, content)| content).collect();
        prop_assert_eq!(scanned, contents);
    }

    #[test]
    fn nothing_makes_it_panic(form in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50) {
        let _ = scan("b", &form, piece);
    }
}

#[test]
fn names_are_read_as_all_clients_write_them() {
    let table: &[(&str, &str, Option<&str>)] = &[
        ("form-data; name=\"a\"", "a", None),
        ("FORM-DATA;NAME=a", "a", None),
        ("form-data; name=\"a\"; filename=\"b.txt\"", "a", Some("b.txt")),
        ("form-data; filename=\"b;c=d.txt\" ; name = \"a\";", "a", Some("b;c=d.txt")),
        ("form-data; name=\"a\"; filename=\"\"", "a", Some("")),
        // RFC 2183, and what is no escape.
        (r#"form-data; name="a"; filename="say \"hi\" \\ C:\dir""#, "a", Some(r#"say "hi" \ C:\dir"#)),
        // The HTML standard.
        ("form-data; name=\"a%22b\"; filename=\"50%25 %22x%22%0D%0a\"", "a\"b", Some("50%25 \"x\"\r\n")),
        ("form-data; name=\"ключ\"; filename=\"файл 你好.txt\"", "ключ", Some("файл 你好.txt")),
        // RFC 8187 wins over the plain form (RFC 6266 4.3), in any order.
        ("form-data; name=a; filename=x; filename*=UTF-8''na%C3%AFve%20%22.txt", "a", Some("naïve \".txt")),
        ("form-data; filename*=utf-8'en'b%27.txt; name=a; filename=x", "a", Some("b'.txt")),
        ("form-data; name=a; other=\"; filename=evil\"", "a", None),
        ("form-data; name=\"a\"; filename=\"b\\\"; name=\\\"evil\"", "a", Some("b\"; name=\"evil")),
    ];
    for (header, name, filename) in table {
        let expected = Disposition { name: (*name).to_owned(), filename: filename.map(str::to_owned) };
        assert_eq!(disposition::parse(header.as_bytes()).unwrap(), expected, "{header}");
    }
}

#[test]
fn names_that_cannot_be_read_are_refused() {
    for header in [
        "",
        "attachment; filename=\"a\"",
        "form-data",
        "form-data; filename=\"a\"",
        "form-data; name",
        "form-data; name=\"a",
        "form-data; name=\"a\" filename=\"b\"",
        "form-data; name=\"a\"; name=\"b\"",
        "form-data; name=\"a\"; filename=\"b\"; FILENAME=\"c\"",
        "form-data; name=a; filename*=b",
        "form-data; name=a; filename*=iso-8859-1''b",
        "form-data; name=a; filename*=UTF-8''%FF",
    ] {
        assert!(disposition::parse(header.as_bytes()).is_err(), "{header}");
    }
    assert!(disposition::parse(b"form-data; name=\"\xFF\"").is_err());
}
