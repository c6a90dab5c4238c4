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

/// What a `Range` header asks of a representation of a certain length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRequest {
    /// All of it: no such header, one that is not understood, or several ranges (RFC 9110 14.2: may be ignored).
    Whole,
    /// This part.
    Part(ByteRange),
    /// A part that is not there: 416.
    Unsatisfiable,
}

/// Reads a `Range` header against `length` (RFC 9110 14.1.2). What is malformed is ignored, as 14.2 says.
pub fn parse_range(header: &str, length: u64) -> RangeRequest {
    let Some((unit, spec)) = header.split_once('=') else { return RangeRequest::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return RangeRequest::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return RangeRequest::Whole };
    let resolved = match (position(first), position(last)) {
        (Some(first), None) if last.is_empty() => ByteRange::new(first, length),
        (None, Some(suffix)) if first.is_empty() => ByteRange::new(length.saturating_sub(suffix), length),
        (Some(first), Some(last)) if first <= last => {
            ByteRange::new(first, last.saturating_add(1).min(length))
        }
        _ => return RangeRequest::Whole,
    };
    resolved.map_or(RangeRequest::Unsatisfiable, RangeRequest::Part)
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
