//! Tables and properties of ranges.

use proptest::prelude::*;

use super::*;

fn part(start: u64, end: u64) -> RangeRequest {
    RangeRequest::Part(ByteRange::new(start, end).unwrap())
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
        ("bytes=0-1,3-4", 10, RangeRequest::Whole),
        ("items=0-1", 10, RangeRequest::Whole),
        ("bytes", 10, RangeRequest::Whole),
    ];
    for (header, length, expected) in cases {
        assert_eq!(parse_range(header, length), expected, "{header} of {length}");
    }
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
