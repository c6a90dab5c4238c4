//! Histograms of what happens millions of times a second. The exporter keeps each observation until it is asked; these are
//! told in sums, and cost the same however many there are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

/// Where buckets end, in nanoseconds: powers of 4, from 64 ns to 4 s.
const ENDS: [u64; 14] = {
    let mut ends = [64; 14];
    let mut index = 1;
    while index < ends.len() {
        ends[index] = ends[index - 1] * 4;
        index += 1;
    }
    ends
};

/// Of one label: how many were shorter than each of [`ENDS`], all of them, and what they took together.
#[derive(Debug, Default, Clone, Copy)]
struct Observed {
    shorter: [u64; ENDS.len()],
    all: u64,
    nanos: u64,
}

type Key = (&'static str, (&'static str, &'static str));

/// Like the recorder it belongs to the process.
static ALL: Mutex<BTreeMap<Key, Observed>> = Mutex::new(BTreeMap::new());

/// Adds to the histogram `name` with one label: each began at so many nanoseconds, and there were so many of it.
pub(super) fn add(
    name: &'static str,
    label: (&'static str, &'static str),
    nanos: u64,
    observed: impl Iterator<Item = (u64, u64)>,
) {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let sums = all.entry((name, label)).or_default();
    sums.nanos = sums.nanos.saturating_add(nanos);
    for (from, count) in observed {
        sums.all += count;
        for (end, shorter) in ENDS.iter().zip(&mut sums.shorter) {
            *shorter += if from < *end { count } else { 0 };
        }
    }
}

/// Appends them to `text`, as Prometheus reads them.
pub(super) fn render(text: &mut String) {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut last = "";
    for ((name, (label, value)), observed) in all {
        // Writing into a String does not fail.
        if name != last {
            let _ = writeln!(text, "# HELP {name} From a question to the answer of a tier of the cache");
            let _ = writeln!(text, "# TYPE {name} histogram");
        }
        last = name;
        for (end, shorter) in ENDS.iter().zip(observed.shorter) {
            let _ = writeln!(text, "{name}_bucket{{{label}=\"{value}\",le=\"{}\"}} {shorter}", seconds(*end));
        }
        let _ = writeln!(text, "{name}_bucket{{{label}=\"{value}\",le=\"+Inf\"}} {}", observed.all);
        let _ = writeln!(text, "{name}_sum{{{label}=\"{value}\"}} {}", seconds(observed.nanos));
        let _ = writeln!(text, "{name}_count{{{label}=\"{value}\"}} {}", observed.all);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
