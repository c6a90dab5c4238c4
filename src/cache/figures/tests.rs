//! What is counted is what is shown, to the last one.

use std::time::Duration;

use super::ledger::{Sums, day_of, monday_of};
use super::*;
use crate::base::Timestamp;
use crate::db::cache_figures::{Counts, Day};

fn name(text: &str) -> EntityName {
    text.parse().unwrap()
}

#[test]
fn a_kind_of_value_has_one_place_and_the_last_one_is_for_all_that_are_too_many() {
    let figures = Figures::default();
    let first = figures.index_of(&name("File"));
    for index in 0..PLACES {
        figures.index_of(&name(&format!("E{index}")));
    }
    assert_eq!(figures.index_of(&name("File")), first);
    assert_eq!(figures.index_of(&name("New")), figures.index_of(&name("Newer")));
    assert_eq!(figures.entities().count(), PLACES);
    assert_eq!(figures.entities().last().unwrap().as_str(), OTHERS);
}

#[test]
fn what_threads_count_at_once_is_all_there() {
    let figures = Figures::default();
    let (file, tenant) = (figures.index_of(&name("File")), figures.index_of(&name("Tenant")));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let figures = &figures;
            scope.spawn(move || {
                for n in 0..10_000 {
                    figures.answered(file, Source::L1, Duration::from_nanos(400 + n * thread));
                    if n % 10 == 0 {
                        figures.answered(tenant, Source::Database, Duration::from_millis(1));
                        figures.loaded(tenant, Duration::from_micros(900), Loaded::Answered);
                    }
                }
            });
        }
    });
    let mut answers = [[0; counted::BUCKETS]; 3];
    let [file, tenant] = [file, tenant].map(|index| {
        figures.places[index.0].get().unwrap().counted.read(counted::Then::Forget, &mut answers)
    });
    assert_eq!((file.l1_hits, file.misses, file.loads), (40_000, 0, 0));
    assert_eq!(
        (tenant.l1_hits, tenant.misses, tenant.loads, tenant.loads_nanos),
        (0, 4_000, 4_000, 3_600_000_000)
    );
    assert_eq!(answers.map(|tier| tier.iter().sum::<u64>()), [40_000, 0, 4_000]);
    let again = figures.places[0].get().unwrap().counted.read(counted::Then::Forget, &mut answers);
    assert_eq!(again, Counts::default());
}

#[test]
fn a_week_begins_on_monday_and_a_day_at_midnight() {
    let day = |text: &str| day_of(text.parse::<Timestamp>().unwrap());
    let (sunday, monday) = (day("2026-11-22T23:59:59.999999Z"), day("2026-11-23T00:00:00Z"));
    assert_eq!(monday - sunday, 1);
    assert_eq!(monday_of(monday), monday);
    assert_eq!(monday_of(sunday), monday - 7);
    assert_eq!(monday_of(day("2027-01-01T12:00:00Z")), day("2026-12-28T12:00:00Z"));
}

#[test]
fn figures_are_rates_of_what_was_counted() {
    let counts = Counts {
        l1_hits: 80,
        l2_hits: 15,
        stale_hits: 1,
        misses: 4,
        bypassed: 7,
        l1_nanos: 80_000,
        l2_nanos: 15 * 100_000,
        bypassed_nanos: 7 * 4_000_000,
        loads: 3,
        failed_loads: 1,
        loads_nanos: 3 * 4_000_000,
    };
    let (tuesday, monday) = (monday_of(20_000) + 1, monday_of(20_000));
    let day = |day, reads, loads| Day { day, reads, loads };
    let sums = Sums {
        entities: [("File".to_owned(), counts)].into(),
        answers: [(("l1".to_owned(), 20), 98), (("l1".to_owned(), 40), 1), (("l1".to_owned(), 127), 1)]
            .into(),
        days: vec![day(monday - 1, 1_000, 0), day(monday, 50, 2), day(tuesday, 50, 2)],
    };
    let shown = Shown::of(&sums, tuesday);
    assert_eq!((shown.hits(), shown.misses()), (96, 4));
    assert!((shown.hit_rate() - 0.96).abs() < 1e-9);
    assert_eq!(shown.saved, Saved { today: 48, week: 96, total: 96 });
    let times = shown.entities["File"].times.unwrap();
    assert!(
        (times.cached_ms - 0.016_632).abs() < 1e-9 && (times.database_ms - 4.0).abs() < 1e-9,
        "{times:?}"
    );
    assert!((times.improvement_percent() - 99.5842).abs() < 1e-4, "{}", times.improvement_percent());
    let [l1, l2, l3] = shown.tiers;
    assert_eq!((l1.hits, l1.misses, l2.hits, l2.misses, l3.hits, l3.misses), (80, 20, 15, 4, 3, 1));
    assert_eq!(l1.p50_us, Some(0.576));
    assert_eq!(l1.p99_us, Some(18.432));
    assert_eq!((l2.p50_us, l3.p99_us), (None, None));
}
