//! Tables and properties of ranges.

use proptest::prelude::*;

use super::*;

fn part(start: u64, end: u64) -> RangeRequest {
    RangeRequest::Part(ByteRange::new(start, end).unwrap())
}

fn parts(ranges: &[(u64, u64)]) -> RangeRequest {
    RangeRequest::Parts(ranges.iter().map(|&(start, end)| ByteRange::new(start, end).unwrap()).collect())
}

#[test]
fn a_range_header_is_resolved_against_the_length() {
    let cases = [
        ("bytes=0-0", 10, part(0, 1)),
        ("bytes=0-", 10, part(0, 10)),
        ("bytes=9-", 10, part(9, 10)),
        ("bytes=2-5", 10, part(2, 6)),
        ("bytes=2-500", 10, part(2, 10)),
        ("bytes=-3", 10, part(7, 10)),
        ("bytes=-30", 10, part(0, 10)),
        ("BYTES=0-0", 10, part(0, 1)),
        ("bytes=0-99999999999999999999", 10, part(0, 10)),
        ("bytes=10-", 10, RangeRequest::Unsatisfiable),
        ("bytes=-0", 10, RangeRequest::Unsatisfiable),
        ("bytes=0-", 0, RangeRequest::Unsatisfiable),
        ("bytes=99999999999999999999-", 10, RangeRequest::Unsatisfiable),
        ("bytes=5-2", 10, RangeRequest::Whole),
        ("bytes=+1-2", 10, RangeRequest::Whole),
        ("bytes=a-b", 10, RangeRequest::Whole),
        ("bytes=-", 10, RangeRequest::Whole),
        ("bytes=0-1,3-4", 10, part(0, 5)),
        ("bytes=0-1,5-2", 10, RangeRequest::Whole),
        ("bytes=0-1;3-4", 10, RangeRequest::Whole),
        ("bytes=,0-0, ,", 10, part(0, 1)),
        ("bytes=,", 10, RangeRequest::Whole),
        ("bytes=20-,-0", 10, RangeRequest::Unsatisfiable),
        ("bytes=20-,3-3", 10, part(3, 4)),
        ("bytes=0-9,900-,500-500", 1000, parts(&[(0, 10), (900, 1000), (500, 501)])),
        ("bytes=900-,0-9", 1000, parts(&[(900, 1000), (0, 10)])),
        ("bytes=500-599,0-9,-401", 1000, parts(&[(500, 1000), (0, 10)])),
        ("bytes=0-9,900-999,100-950", 1000, part(0, 1000)),
        ("bytes=0-9,900-999,139-950", 1000, parts(&[(0, 10), (139, 1000)])),
        ("bytes=0-9,138-150", 1000, part(0, 151)),
        ("items=0-1", 10, RangeRequest::Whole),
        ("bytes", 10, RangeRequest::Whole),
    ];
    for (header, length, expected) in cases {
        assert_eq!(parse_range(header, length), expected, "{header} of {length}");
    }
}

#[test]
fn too_many_ranges_are_no_honest_wish() {
    let header = |count: u64| {
        let specs: Vec<_> = (0..count).map(|n| format!("{0}-{0}", n * 1000)).collect();
        format!("bytes={}", specs.join(","))
    };
    let RangeRequest::Parts(parts) = parse_range(&header(32), 1_000_000) else { panic!("no parts") };
    assert_eq!(parts.len(), 32);
    assert_eq!(parse_range(&header(33), 1_000_000), RangeRequest::Whole);
}

#[test]
fn gaps_are_what_is_missing() {
    assert_eq!(gaps(&[], 3, 9), [(0, 2)]);
    assert_eq!(gaps(&[(0, 2)], 3, 9), []);
    assert_eq!(gaps(&[(1, 1)], 3, 9), [(0, 0), (2, 2)]);
    assert_eq!(gaps(&[(1, 1), (3, 3)], 5, 2), [(0, 0), (2, 2)]);
    assert_eq!(gaps(&[], 0, 9), []);
}

proptest! {
    #[test]
    fn no_header_makes_a_range_past_the_end(header in "bytes=[0-9]{0,20}-[0-9]{0,20}", length in any::<u64>()) {
        if let RangeRequest::Part(range) = parse_range(&header, length) {
            prop_assert!(range.start() < range.end() && range.end() <= length);
        }
    }

    #[test]
    fn parts_hold_each_byte_that_was_asked_for_once(
        asked in prop::collection::vec((0u64..3000, 0u64..3000), 1..20),
        length in 1u64..2500,
    ) {
        let specs: Vec<_> = asked.iter().map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))).collect();
        let parts = match parse_range(&format!("bytes={}", specs.join(",")), length) {
            RangeRequest::Whole => panic!("it is well-formed"),
            RangeRequest::Part(part) => vec![part],
            RangeRequest::Parts(parts) => parts,
            RangeRequest::Unsatisfiable => vec![],
        };
        for byte in 0..length {
            let wanted = asked.iter().any(|(a, b)| (*a.min(b)..=*a.max(b)).contains(&byte));
            let times = parts.iter().filter(|part| (part.start()..part.end()).contains(&byte)).count();
            prop_assert!(times <= 1 && (times == 1 || !wanted), "byte {byte}");
        }
        prop_assert!(parts.iter().map(ByteRange::len).sum::<u64>() <= length);
    }

    #[test]
    fn every_chunk_is_present_or_missing_and_never_both(bits in prop::collection::vec(any::<bool>(), 0..64)) {
        let count = u32::try_from(bits.len()).unwrap();
        let present: Vec<_> = (0..count).filter(|&n| bits[n as usize]).map(|n| (n, n)).collect();
        let missing = gaps(&present, count, usize::MAX);
        for n in 0..count {
            let is_missing = missing.iter().any(|&(first, last)| (first..=last).contains(&n));
            prop_assert_eq!(is_missing, !bits[n as usize]);
        }
    }
}
