//! `Range: <first line of the input>` against a length (its second line, in digits).
#![no_main]

use cifra::base::ByteRange;
use cifra::base::range::{RANGES_MAX, RangeRequest, parse_range};
use cifra_fuzz::first_line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (header, length) = first_line(data);
    let (Ok(header), Ok(length)) = (std::str::from_utf8(header), std::str::from_utf8(length)) else { return };
    let length = length.trim().parse().unwrap_or(1000);
    let parts = match parse_range(header, length) {
        RangeRequest::Whole => return,
        RangeRequest::Unsatisfiable => vec![],
        RangeRequest::Part(part) => vec![part],
        RangeRequest::Parts(parts) => {
            assert!((2..=RANGES_MAX).contains(&parts.len()));
            parts
        }
    };
    for part in &parts {
        assert!(part.start() < part.end() && part.end() <= length);
    }
    for (at, one) in parts.iter().enumerate() {
        for other in &parts[at + 1..] {
            assert!(one.end() < other.start() || other.end() < one.start(), "{parts:?} overlap or touch");
        }
    }
    let asked = asked(header, length);
    let inside =
        |small: &ByteRange, large: &ByteRange| large.start() <= small.start() && small.end() <= large.end();
    for wish in &asked {
        assert!(parts.iter().any(|part| inside(wish, part)), "{wish:?} is in none of {parts:?}");
    }
    for part in &parts {
        assert!(
            asked.iter().any(|wish| wish.start() == part.start() && inside(wish, part)),
            "{part:?} begins by itself"
        );
        assert!(
            asked.iter().any(|wish| wish.end() == part.end() && inside(wish, part)),
            "{part:?} ends by itself"
        );
    }
});

/// What a header that is understood asks for, and is there: the same grammar, read another way.
fn asked(header: &str, length: u64) -> Vec<ByteRange> {
    let (unit, set) = header.split_once('=').expect("an understood header has a unit");
    assert!(unit.trim().eq_ignore_ascii_case("bytes"));
    let specs = set.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    let number = |text: &str| {
        assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "`{text}` was taken for a number");
        text.bytes().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    };
    let range = |spec: &str| match spec.split_once('-').expect("an understood range has a hyphen") {
        ("", suffix) => ByteRange::new(length.saturating_sub(number(suffix)), length),
        (first, "") => ByteRange::new(number(first), length),
        (first, last) => {
            assert!(number(first) <= number(last), "`{spec}` was understood");
            ByteRange::new(number(first), number(last).saturating_add(1).min(length))
        }
    };
    specs.filter_map(range).collect()
}
