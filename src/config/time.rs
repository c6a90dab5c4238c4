//! Durations as configuration values: `250ms`, `10s`, `5m`, `24h`, `7d`; a bare number means seconds.

use std::path::Path;
use std::time::Duration;

use super::size::split_unit;
use super::value::{Refusal, Value};

/// Units as they are written, with their milliseconds.
const UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A hundred years: no sum of a time and a duration overflows, which callers rely on.
const MAX_MILLIS: u64 = 36_500 * 86_400_000;

impl Value for Duration {
    fn expected() -> String {
        "a duration such as 250ms, 10s, 5m, 24h, 7d or a whole number of seconds (at most 36500d)".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        let (number, unit) = split_unit(text);
        let number: u64 = number.parse().map_err(|_| Refusal::Malformed)?;
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(Refusal::Malformed)?;
        let millis = number.checked_mul(*millis).filter(|millis| *millis <= MAX_MILLIS);
        millis.map(Self::from_millis).ok_or(Refusal::Malformed)
    }

    fn render(&self) -> String {
        let total = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let exact = UNITS.iter().filter(|(_, millis)| total != 0 && total.is_multiple_of(*millis));
        let (unit, millis) = exact.min_by_key(|(_, millis)| total / millis).unwrap_or(&("s", 1_000));
        format!("{}{unit}", total / millis)
    }
}
