//! How filenames are compared: in one order on every database, without regard to case.
//!
//! A name is folded here, once, into a key; databases only compare keys byte by byte. So that what begins alike
//! also has keys that begin alike, the folding knows no context: decomposed (NFD: `é` as one character or two
//! is the same), then each character to upper case and back (`ß` is `ss`, `ς` is `σ`).

use unicode_normalization::UnicodeNormalization;

/// What lies beyond is not compared. PostgreSQL takes 2,700 bytes in an index entry, with all its columns; a name
/// has at most 1,024, and only folding makes it longer.
const KEY_BYTES_MAX: usize = 2_000;

/// The key of a filename, or of the beginning of one.
pub fn filename_key(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    for c in name.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfd() {
        if key.len() + c.len_utf8() > KEY_BYTES_MAX {
            break;
        }
        key.push(c);
    }
    key
}

/// The first key after all those that begin with `key`; `None` if nothing comes after them.
///
/// The order of UTF-8 bytes is that of code points, so the last one is replaced by the next one there is.
pub fn after_prefix(key: &str) -> Option<String> {
    let mut chars: Vec<char> = key.chars().collect();
    while let Some(last) = chars.pop() {
        // Between U+D7FF and U+E000 there are no characters.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{after_prefix, filename_key};

    #[test]
    fn case_and_composition_make_no_difference() {
        for (one, other) in [
            ("Photo.JPG", "photo.jpg"),
            ("\u{e9}t\u{e9}", "E\u{301}TE\u{301}"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
            ("οδός", "ΟΔΌΣ"),
            ("Ǆ", "ǆ"),
            ("\u{1e9b}\u{323}", "\u{1e9b}\u{323}"),
        ] {
            assert_eq!(filename_key(one), filename_key(other), "{one} {other}");
        }
        assert_ne!(filename_key("a%"), filename_key("a_"));
        assert_eq!(filename_key("%_\\*?[a]"), "%_\\*?[a]");
    }

    #[test]
    fn what_comes_after_a_prefix_is_found_at_every_edge() {
        assert_eq!(after_prefix("a").as_deref(), Some("b"));
        assert_eq!(after_prefix("").as_deref(), None);
        assert_eq!(after_prefix("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(after_prefix("a\u{10ffff}\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{10ffff}").as_deref(), None);
    }

    proptest! {
        #[test]
        fn a_name_lies_in_the_range_of_each_of_its_beginnings(name in "[a-zA-ZßΣςéİıﬁ%_ .0-9]{1,20}", cut in 0usize..20) {
            let prefix: String = name.chars().take(cut).collect();
            let (key, from) = (filename_key(&name), filename_key(&prefix));
            prop_assert!(key.starts_with(&from));
            prop_assert!(key >= from);
            prop_assert!(after_prefix(&from).is_none_or(|end| key < end));
        }

        #[test]
        fn a_key_is_its_own_key_and_never_too_long(name in "\\PC{0,400}") {
            let key = filename_key(&name);
            prop_assert!(key.len() <= 2_000);
            prop_assert_eq!(filename_key(&key), key);
        }

        #[test]
        fn only_what_begins_so_lies_in_the_range(prefix in "\\PC{1,3}", other in "\\PC{0,5}") {
            let within = other >= prefix && after_prefix(&prefix).is_none_or(|end| other < end);
            prop_assert_eq!(within, other.starts_with(&prefix));
        }
    }
}
