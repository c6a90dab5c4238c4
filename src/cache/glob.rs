//! Patterns of keys, as Redis understands them: `*`, `?`, `[abc]`, `[^a-c]`, and `\` before what is meant itself.
//!
//! Redis matches by itself; L1 and the SQLite file match by this, so that one pattern means one thing everywhere.

/// A pattern. Matching takes at most pattern times text, whatever somebody writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Any text, also none.
    Any,
    /// One byte of any kind.
    One,
    Byte(u8),
    /// One of these ranges, ends included; or none of them.
    Set {
        ranges: Vec<(u8, u8)>,
        negated: bool,
    },
}

impl Glob {
    /// As it is written. Everything means something: a bracket that is not closed ends with the pattern.
    pub fn new(pattern: &str) -> Self {
        let mut rest = pattern.as_bytes();
        let mut parts = Vec::new();
        while let [first, after @ ..] = rest {
            rest = after;
            match *first {
                b'*' if parts.last() == Some(&Part::Any) => {}
                b'*' => parts.push(Part::Any),
                b'?' => parts.push(Part::One),
                b'[' => parts.push(set(&mut rest)),
                b'\\' => parts.push(Part::Byte(escaped(&mut rest))),
                byte => parts.push(Part::Byte(byte)),
            }
        }
        Self(parts)
    }

    /// Whether all of `text` is so.
    pub fn matches(&self, text: &str) -> bool {
        let (parts, text) = (self.0.as_slice(), text.as_bytes());
        let (mut part, mut at) = (0, 0);
        // After a mismatch the last `*` takes one byte more; those before it need never be looked at again.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match parts.get(part) {
                Some(Part::Any) => {
                    retry = Some((part + 1, at));
                    part += 1;
                    continue;
                }
                Some(one) if text.get(at).is_some_and(|byte| one.takes(*byte)) => {
                    (part, at) = (part + 1, at + 1);
                    continue;
                }
                None if at == text.len() => return true,
                _ => {}
            }
            match retry {
                Some((after, from)) if from < text.len() => {
                    retry = Some((after, from + 1));
                    (part, at) = (after, from + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Part {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Byte(own) => *own == byte,
            Self::Set { ranges, negated } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte)) != *negated
            }
        }
    }
}

/// What follows a backslash; at the end of the pattern it is meant itself.
fn escaped(rest: &mut &[u8]) -> u8 {
    let Some((byte, after)) = rest.split_first() else { return b'\\' };
    *rest = after;
    *byte
}

/// What follows an opening bracket, up to the closing one.
fn set(rest: &mut &[u8]) -> Part {
    let negated = rest.first() == Some(&b'^');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    while let [first, after @ ..] = *rest {
        *rest = after;
        match (*first, *rest) {
            (b']', _) => break,
            (b'\\', [_, ..]) => {
                let byte = escaped(rest);
                ranges.push((byte, byte));
            }
            (from, [b'-', to, after @ ..]) => {
                *rest = after;
                ranges.push((from.min(*to), from.max(*to)));
            }
            (byte, _) => ranges.push((byte, byte)),
        }
    }
    Part::Set { ranges, negated }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn patterns_mean_what_they_mean_to_redis() {
        // tests/it/cache_tiers.rs asks Redis about these too.
        for (pattern, matching, others) in [
            ("*", &["", "a", "a:b"][..], &[][..]),
            ("a", &["a"], &["", "b", "aa"]),
            ("a*", &["a", "abc"], &["ba"]),
            ("*won*", &["won", "a:won:b", "wowon"], &["wo", "wno"]),
            ("a?c", &["abc", "a:c"], &["ac", "abbc"]),
            ("[ab]c", &["ac", "bc"], &["cc", "c"]),
            ("[^ab]c", &["cc"], &["ac", "c"]),
            ("[a-c]", &["a", "b", "c"], &["d", "-"]),
            ("[c-a]", &["b"], &["d"]),
            ("\\*", &["*"], &["a"]),
            ("[\\]]", &["]"], &["\\"]),
            ("a\\", &["a\\"], &["a"]),
            ("[ab", &["a", "b"], &["[ab"]),
            ("*a*a*a*b", &["aaab", "xaxaxaxb"], &["aab"]),
        ] {
            let glob = Glob::new(pattern);
            for text in matching {
                assert!(glob.matches(text), "{pattern} {text}");
            }
            for text in others {
                assert!(!glob.matches(text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let glob = Glob::new(&"*a".repeat(200));
        let begun = std::time::Instant::now();
        assert!(!glob.matches(&"b".repeat(2_000)));
        assert!(!glob.matches(&("a".repeat(2_000) + "b")));
        assert!(begun.elapsed().as_secs() < 1);
    }
}
