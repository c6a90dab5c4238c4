//! Cursors as texts, and their order.

use super::*;

fn cursor(text: &str) -> Cursor {
    text.parse().expect(text)
}

#[test]
fn a_cursor_is_read_back_from_its_text() {
    for text in ["sqlite:0:0", "sqlite:17:-4", "postgres:1.2:7:7:", "postgres:1.2:7:12:7,9,10"] {
        assert_eq!(cursor(text).to_string(), text);
    }
    for text in ["", "sqlite", "sqlite:1", "sqlite:x:1", "postgres:1.2:7", "postgres:1.2:7:8:a", "mysql:1:2"]
    {
        assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
    }
}

#[test]
fn of_one_history_the_one_that_saw_more_has_the_greater_place() {
    let ascending = [
        ["sqlite:0:0", "sqlite:3:9", "sqlite:4:1"],
        ["postgres:1.2:7:9:7,8", "postgres:1.2:7:9:7", "postgres:1.2:9:9:"],
        ["postgres:1.2:9:9:", "postgres:1.2:9:10:9", "postgres:1.2:10:10:"],
    ];
    for [one, two, three] in ascending.map(|texts| texts.map(cursor)) {
        assert!(one.place() < two.place() && two.place() < three.place(), "{one} {two} {three}");
        assert!(one.has_history_of(&two) && three.has_history_of(&one), "{one} {two} {three}");
    }
}

#[test]
fn cursors_of_different_histories_are_told_apart() {
    let cases = [
        ("sqlite:3:9", "sqlite:3:8"),
        ("postgres:1.2:7:9:7", "postgres:1.3:7:9:7"),
        ("postgres:1.2:7:9:7", "sqlite:3:9"),
    ];
    for (one, other) in cases {
        assert!(!cursor(one).has_history_of(&cursor(other)), "{one} {other}");
    }
}
