//! Whose turn it is: by size, by tenant, and in the end.

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

/// Everybody who is called while one at a time is served, in order.
fn order(line: &mut Line<String>, room: u64) -> Vec<String> {
    std::iter::from_fn(|| line.call(room).map(|(_, whom)| whom)).collect()
}

fn line_of(pictures: &[(&str, u64, &str)]) -> Line<String> {
    let mut line = Line::new();
    for (who, mib, name) in pictures {
        line.join(&tenant(who), mib * MIB, (*name).to_owned());
    }
    line
}

#[test]
fn small_pictures_go_first_and_equal_ones_as_they_came() {
    let mut line = line_of(&[("a", 9, "large"), ("a", 1, "one"), ("a", 1, "two"), ("a", 4, "middle")]);
    assert_eq!(order(&mut line, 100 * MIB), ["one", "two", "middle", "large"]);
    assert_eq!(line.len(), 0);
}

#[test]
fn a_tenant_that_comes_late_waits_for_one_picture_of_a_thousand() {
    let mut line = Line::new();
    for n in 0..1000 {
        line.join(&tenant("many"), MIB, format!("many {n}"));
    }
    for _ in 0..300 {
        line.call(MIB).unwrap();
    }
    line.join(&tenant("few"), 4 * MIB, "few".to_owned());
    let called: Vec<_> = (0..2).map(|_| line.call(4 * MIB).unwrap().1).collect();
    assert!(called.contains(&"few".to_owned()), "{called:?}");
}

#[test]
fn tenants_are_given_the_same_bytes_not_the_same_number() {
    let mut line = Line::new();
    for n in 0..100 {
        line.join(&tenant("large"), 9 * MIB, format!("large {n}"));
        line.join(&tenant("small"), MIB, format!("small {n}"));
    }
    let called: Vec<_> = (0..60).map(|_| line.call(100 * MIB).unwrap().1).collect();
    let large = called.iter().filter(|whom| whom.starts_with("large")).count();
    // A picture counts for a MiB more than it has: 10 to 2.
    assert!((9..=11).contains(&large), "{large} of 60");
}

#[test]
fn a_large_picture_is_overtaken_so_often_and_no_more_by_its_own_tenants() {
    let mut line = line_of(&[("a", 9, "large")]);
    let mut before = 0;
    loop {
        line.join(&tenant("a"), MIB, "small".to_owned());
        match line.call(100 * MIB).unwrap().1.as_str() {
            "large" => break,
            _ => before += 1,
        }
    }
    assert_eq!(before, OVERTAKEN_MAX);
}

#[test]
fn a_picture_without_room_is_passed_so_often_then_everybody_waits_until_it_fits() {
    let mut line = line_of(&[("a", 9, "large")]);
    let mut before = 0;
    while before < 1000 {
        line.join(&tenant("b"), MIB, "small".to_owned());
        if line.call(2 * MIB).is_none() {
            break;
        }
        before += 1;
    }
    assert!((OVERTAKEN_MAX..=OVERTAKEN_MAX * 8).contains(&before), "{before}");
    assert_eq!(line.call(9 * MIB).unwrap().1, "large");
    assert_eq!(line.call(2 * MIB).unwrap().1, "small");
}

#[test]
fn who_leaves_is_not_called_and_stops_nobody() {
    let mut line = Line::new();
    let large = line.join(&tenant("a"), 9 * MIB, "large");
    for _ in 0..100 {
        line.join(&tenant("b"), MIB, "small");
        line.call(2 * MIB);
    }
    assert_eq!(line.call(2 * MIB), None, "everybody waits for the large one");
    assert!(line.leave(large));
    assert!(!line.leave(large));
    assert_eq!(line.call(2 * MIB).unwrap().1, "small");
}

#[test]
fn a_tenant_does_not_begin_anew_by_leaving_the_line() {
    let mut line = Line::new();
    for _ in 0..50 {
        line.join(&tenant("b"), 10 * MIB, "b");
    }
    let mut called = Vec::new();
    for _ in 0..20 {
        // Never more than one in the line, and each as large as the others'.
        if !line.waiting.iter().any(|waiting| waiting.whom == "a") {
            line.join(&tenant("a"), 10 * MIB, "a");
        }
        called.push(line.call(10 * MIB).unwrap().1);
    }
    let a = called.iter().filter(|whom| **whom == "a").count();
    assert!((9..=11).contains(&a), "{called:?}");
}

proptest! {
    /// Whatever comes in whatever order: everybody is called in the end, once, and never without room.
    #[test]
    fn everybody_is_called_once(pictures in prop::collection::vec((0_u8..4, 0_u64..64), 1..200), rooms in prop::collection::vec(0_u64..64, 0..400)) {
        let mut line = Line::new();
        let mut called = vec![0; pictures.len()];
        let mut rooms = rooms.into_iter();
        for (n, (who, bytes)) in pictures.iter().enumerate() {
            line.join(&tenant(&format!("t{who}")), *bytes, n);
            if let Some(room) = rooms.next() && let Some((bytes, n)) = line.call(room) {
                prop_assert!(bytes <= room);
                called[n] += 1;
            }
        }
        while let Some((_, n)) = line.call(64) {
            called[n] += 1;
        }
        prop_assert_eq!(line.len(), 0);
        prop_assert!(called.iter().all(|times| *times == 1));
    }
}
