//! Ranges: of bytes in a file, and of chunks in an upload.
//!
//! [`ByteRange`] is what was asked for, resolved against a length; [`gaps`] turns what is there into what is
//! missing. The `Range` header's syntax (RFC 9110 14.1) is read here because it is arithmetic, not HTTP.

#[cfg(test)]
mod tests;

/// Bytes `start..end` of something; never empty, never past its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// Bytes `start..end` (`end` exclusive); `None` if that is empty.
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// The first byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// One past the last byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a ByteRange is never empty")]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// A `Range` header with more ranges than this is ignored (RFC 9110 14.2: many small ranges are no honest wish).
pub const RANGES_MAX: usize = 32;
/// Ranges with a smaller gap between them come as one: a part's own headers are about as long (RFC 9110 15.3.7.2).
const GAP_BYTES_MAX: u64 = 128;

/// What a `Range` header asks of a representation of a certain length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeRequest {
    /// All of it: no such header, or one that is not understood (RFC 9110 14.2: may be ignored).
    Whole,
    /// This part.
    Part(ByteRange),
    /// Two parts or more, in the order in which they were asked for; none overlaps another.
    Parts(Vec<ByteRange>),
    /// Nothing that is there: 416.
    Unsatisfiable,
}

/// Reads a `Range` header against `length` (RFC 9110 14.1.2). What is malformed is ignored, as 14.2 says. Parts that
/// are not there are left out; those that overlap, or nearly touch, become one.
pub fn parse_range(header: &str, length: u64) -> RangeRequest {
    let Some((unit, set)) = header.split_once('=') else { return RangeRequest::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return RangeRequest::Whole;
    }
    let mut parts = Vec::new();
    // A list may have empty elements (RFC 9110 5.6.1.2).
    let specs: Vec<&str> = set.split(',').map(str::trim).filter(|spec| !spec.is_empty()).collect();
    if specs.is_empty() || specs.len() > RANGES_MAX {
        return RangeRequest::Whole;
    }
    for spec in specs {
        match parse_spec(spec, length) {
            Err(Malformed) => return RangeRequest::Whole,
            Ok(None) => {}
            Ok(Some(range)) => add(&mut parts, range),
        }
    }
    match parts.as_slice() {
        [] => RangeRequest::Unsatisfiable,
        [one] => RangeRequest::Part(*one),
        _ => RangeRequest::Parts(parts),
    }
}

/// Not a range.
struct Malformed;

/// One `first-last`, `first-` or `-suffix`; `None` if there are no such bytes.
fn parse_spec(spec: &str, length: u64) -> Result<Option<ByteRange>, Malformed> {
    let (first, last) = spec.split_once('-').ok_or(Malformed)?;
    Ok(match (position(first), position(last)) {
        (Some(first), None) if last.is_empty() => ByteRange::new(first, length),
        (None, Some(suffix)) if first.is_empty() => ByteRange::new(length.saturating_sub(suffix), length),
        (Some(first), Some(last)) if first <= last => {
            ByteRange::new(first, last.saturating_add(1).min(length))
        }
        _ => return Err(Malformed),
    })
}

/// Adds `range` where the first one stood that it meets, with all that it meets.
fn add(parts: &mut Vec<ByteRange>, mut range: ByteRange) {
    let mut place = parts.len();
    // What has grown may meet one that stood before.
    while let Some(met) = parts.iter().position(|part| {
        part.start <= range.end.saturating_add(GAP_BYTES_MAX)
            && range.start <= part.end.saturating_add(GAP_BYTES_MAX)
    }) {
        let part = parts.remove(met);
        range = ByteRange { start: range.start.min(part.start), end: range.end.max(part.end) };
        place = place.min(met);
    }
    parts.insert(place.min(parts.len()), range);
}

/// Digits only; a number past `u64` is as good as the largest one.
fn position(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The ranges `[first, last]` (inclusive) of `0..count` that are in none of `present`, at most `limit` of them.
///
/// `present` are inclusive ranges in ascending order without overlap.
pub fn gaps(present: &[(u32, u32)], count: u32, limit: usize) -> Vec<(u32, u32)> {
    let mut missing = Vec::new();
    let mut next = 0;
    for &(first, last) in present {
        if first > next {
            missing.push((next, first - 1));
        }
        next = last.saturating_add(1);
    }
    if next < count {
        missing.push((next, count - 1));
    }
    missing.truncate(limit);
    missing
}
