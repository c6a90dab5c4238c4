//! What the second tier is to be told, case by case.

use super::*;
use crate::base::EntityName;

fn cursor(text: &str) -> Cursor {
    text.parse().expect("a cursor")
}

/// Node, server and table are always the same: `xmax` alone, or `xmax/running`.
fn at(text: &str) -> Cursor {
    let (xmax, running) = text.split_once('/').unwrap_or((text, ""));
    cursor(&format!("postgres:1.2:1:{xmax}:{running}"))
}

#[test]
fn a_shared_tier_is_told_of_what_no_node_has_told_it() {
    let news = [Invalidation::Everywhere(EntityName::of("Contact"))];
    let cases: &[(&str, &str, &str, &[Invalidation], Plan)] = &[
        // Where it stands, what is known since when up to when.
        ("10", "10", "12", &news, Plan::Known),
        ("10", "10", "12", &[], Plan::Nothing),
        ("10", "10", "10", &[], Plan::Nothing),
        // Others were here first, and saw as much or more.
        ("12", "10", "12", &news, Plan::Nothing),
        ("13", "10", "12", &news, Plan::Nothing),
        ("12/11", "10", "12/10,11", &news, Plan::Nothing),
        // Others saw a part of it: the database knows which.
        ("11", "10", "12", &news, Plan::SinceItsCursor),
        ("12/10,11", "10", "12/11", &news, Plan::SinceItsCursor),
        // Nothing happened at all since before that.
        ("11", "10", "12", &[], Plan::Nothing),
        // It was away, or nobody else is there.
        ("9", "10", "12", &news, Plan::SinceItsCursor),
        ("9", "10", "12", &[], Plan::SinceItsCursor),
    ];
    for (stood, since, now, changed, expected) in cases {
        let (since, now) = (at(since), at(now));
        let known = Known { since: Some(&since), now: &now, changed: Some(changed) };
        assert_eq!(plan(Some(&at(stood)), None, known), *expected, "{stood}: {since} to {now}");
    }
}

#[test]
fn a_tier_of_which_nobody_knows_what_it_knows_is_told_everything() {
    let (since, now) = (at("10"), at("12"));
    let known = Known { since: Some(&since), now: &now, changed: Some(&[]) };
    assert_eq!(plan(None, None, known), Plan::Everything, "new, or emptied");
    assert_eq!(plan(None, Some(&since), known), Plan::Everything, "emptied");
    let other = cursor("postgres:9.2:1:11:");
    assert_eq!(plan(Some(&other), None, known), Plan::Everything, "another server's");
    assert_eq!(plan(Some(&at("10")), Some(&at("11")), known), Plan::Everything, "as it was a while ago");
    assert_eq!(plan(Some(&at("11")), Some(&at("11")), known), Plan::Nothing);
    let lost = Known { changed: None, ..known };
    assert_eq!(plan(Some(&at("10")), None, lost), Plan::SinceItsCursor, "the database may know");
}

#[test]
fn a_tier_of_this_process_is_from_an_earlier_run_or_where_we_left_it() {
    let news = [Invalidation::All];
    let (since, now) = (cursor("sqlite:7:70"), cursor("sqlite:9:90"));
    let known = Known { since: Some(&since), now: &now, changed: Some(&news) };
    assert_eq!(plan(Some(&since), None, known), Plan::Known);
    assert_eq!(plan(Some(&now), None, known), Plan::Nothing);
    for earlier in ["sqlite:5:50", "sqlite:8:80", "sqlite:10:100", "sqlite:7:71"] {
        assert_eq!(plan(Some(&cursor(earlier)), None, known), Plan::SinceItsCursor, "{earlier}");
    }
    assert_eq!(plan(Some(&cursor("sqlite:9:91")), None, known), Plan::Everything, "another history");
}
