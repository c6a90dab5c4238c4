//! Names that come over the network.

use proptest::prelude::*;

use super::safe_filename;

#[test]
fn names_are_made_harmless_and_otherwise_kept() {
    for (given, safe) in [
        ("film.mkv", "film.mkv"),
        ("Ünïcödé und Leerzeichen.txt", "Ünïcödé und Leerzeichen.txt"),
        ("archive.tar.gz", "archive.tar.gz"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\a\\b.txt", "b.txt"),
        ("/absolute", "absolute"),
        (".bashrc", "bashrc"),
        ("...x", "x"),
        (". .x", "x"),
        ("-rf", "_rf"),
        ("a\nb\u{1b}[2J\u{7f}.txt", "ab[2J.txt"),
        ("photo\u{202e}gpj.exe", "photogpj.exe"),
        ("  spaces  ", "spaces"),
        ("", "ID"),
        (".", "ID"),
        ("..", "ID"),
        ("folder/", "ID"),
        ("\u{0}", "ID"),
    ] {
        assert_eq!(safe_filename(given, "ID"), safe, "{given:?}");
    }
}

#[test]
fn a_long_name_keeps_its_ending() {
    let made = safe_filename(&format!("{}.jpeg", "ä".repeat(300)), "ID");
    assert!(made.len() <= 250 && made.len() > 240 && made.ends_with("ä.jpeg"), "{made}");
    let made = safe_filename(&format!("a.{}", "b".repeat(400)), "ID");
    assert_eq!(made.len(), 250);
}

proptest! {
    #[test]
    fn no_name_leaves_its_folder_or_hides(given in any::<String>()) {
        let made = safe_filename(&given, "ID");
        prop_assert!(!made.is_empty() && made.len() <= 250);
        prop_assert!(!made.starts_with(['.', '-', ' ']));
        prop_assert!(!made.contains(['/', '\\']) && !made.chars().any(char::is_control));
    }
}
