//! Time as a parameter: who needs the time holds a [`Clock`], so that tests own it.
//!
//! Times are microseconds since 1970 in UTC, in Rust and in the database alike; JSON says RFC 3339.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Later by `duration`; stops at the end of time rather than overflow.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// Earlier by `duration`; stops at the beginning of time.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// How long it is from `earlier` to here; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The second it falls in, for HTTP dates; times before 1970 are 1970.
    pub fn to_system_time(self) -> std::time::SystemTime {
        let seconds = u64::try_from(self.0.div_euclid(1_000_000)).unwrap_or(0);
        std::time::UNIX_EPOCH + Duration::from_secs(seconds)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, microseconds: `2026-01-02T03:04:05.000006Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::UNIX_EPOCH);
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

/// Not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTime;

impl fmt::Display for InvalidTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a time: expected RFC 3339, like 2026-01-02T03:04:05Z (in a URL a + is written %2B)")
    }
}

impl std::error::Error for InvalidTime {}

impl FromStr for Timestamp {
    type Err = InvalidTime;

    /// RFC 3339 with any offset; what is finer than a microsecond is dropped.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| InvalidTime)?;
        Ok(Self(time.timestamp_micros()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Tells the time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now. May be set, forward or back, by the machine's owner.
    fn now(&self) -> Timestamp;

    /// The time since some fixed moment; never set, never goes back.
    fn uptime(&self) -> Duration;

    /// What is added to the machine's time so that all nodes have the same; `None`: a clock that is not the
    /// machine's, and is never corrected.
    fn correction(&self) -> Option<&Correction> {
        None
    }
}

/// How far a machine's clock is behind (negative: ahead of) the one that all nodes go by, as somebody measured it.
/// Until then, and where there is one node only, it is right.
#[derive(Debug, Default)]
pub struct Correction {
    micros: AtomicI64,
    unknown: AtomicBool,
}

impl Correction {
    /// A node whose clock differs more is not believed where it would end something.
    pub const BELIEVED_MAX: Duration = Duration::from_mins(1);

    /// It was measured: `micros` are added from now on.
    pub fn set(&self, micros: i64) {
        self.micros.store(micros, Ordering::Relaxed);
        self.unknown.store(false, Ordering::Relaxed);
    }

    /// It could not be measured. The last one still counts, but is not certain.
    pub fn lose(&self) {
        self.unknown.store(true, Ordering::Relaxed);
    }

    /// What is added, in microseconds.
    pub fn micros(&self) -> i64 {
        self.micros.load(Ordering::Relaxed)
    }

    /// Whether it is known, and so small that the machine's clock may be believed.
    pub fn is_certain(&self) -> bool {
        !self.unknown.load(Ordering::Relaxed)
            && i128::from(self.micros().unsigned_abs()) <= Self::BELIEVED_MAX.as_micros().cast_signed()
    }
}

/// The machine's clock, corrected.
#[derive(Debug, Default)]
pub struct SystemClock {
    correction: Correction,
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(micros(elapsed.unwrap_or_default()).saturating_add(self.correction.micros()))
    }

    fn correction(&self) -> Option<&Correction> {
        Some(&self.correction)
    }

    fn uptime(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub struct ManualClock(Mutex<(Timestamp, Duration)>);

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn at(start: Timestamp) -> Self {
        Self(Mutex::new((start, Duration::ZERO)))
    }

    /// Time passes: `duration` of it.
    pub fn advance(&self, duration: Duration) {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hands.0 = hands.0.plus(duration);
        hands.1 += duration;
    }

    /// Somebody sets the clock; no time passes.
    pub fn set(&self, now: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn uptime(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
