//! Amounts of bytes: [`ByteSize`] (`8MiB`) and [`MinFree`] (`5%` or `10GiB`). Sections use them.

use std::fmt;
use std::path::Path;

use super::value::{Refusal, Value};

/// A number of bytes, written with a unit (`8MiB`, `10MB`, `64KiB`) or as a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// What a filesystem must keep free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinFree {
    /// Hundredths of a percent of its size, 0 to 9,999.
    Share {
        /// 500 is 5 %.
        basis_points: u16,
    },
    /// This many bytes.
    Bytes(ByteSize),
}

/// Units as they are written, with their bytes. `kB` is the SI's own spelling.
const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
    ("PB", 1_000_000_000_000_000),
    ("PiB", 1 << 50),
];

impl ByteSize {
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    /// The shortest exact form, such as `8MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().filter(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes));
        let (unit, bytes) = exact.min_by_key(|(_, bytes)| self.0 / bytes).unwrap_or(&("", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl Value for ByteSize {
    fn expected() -> String {
        "a size such as 64KiB, 8MiB, 10MB or a whole number of bytes (below 16 EiB)".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        let (number, unit) = split_unit(text);
        let number: u64 = number.parse().map_err(|_| Refusal::Malformed)?;
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(Refusal::Malformed)?;
        number.checked_mul(*bytes).map(Self).ok_or(Refusal::Malformed)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl MinFree {
    /// How many bytes must stay free of a filesystem of `total_bytes`.
    pub fn of(self, total_bytes: u64) -> u64 {
        match self {
            Self::Bytes(size) => size.bytes(),
            Self::Share { basis_points } => {
                let share = u128::from(total_bytes) * u128::from(basis_points) / 10_000;
                u64::try_from(share).unwrap_or(total_bytes)
            }
        }
    }
}

impl Value for MinFree {
    fn expected() -> String {
        "a share below 100% such as 5% or 0.25%, or a size such as 10GiB".to_owned()
    }

    fn parse(text: &str, base: &Path) -> Result<Self, Refusal> {
        let Some(percent) = text.strip_suffix('%') else {
            return ByteSize::parse(text, base).map(Self::Bytes).map_err(|_| Refusal::Malformed);
        };
        let (whole, hundredths) = percent.trim_end().split_once('.').unwrap_or((percent.trim_end(), "0"));
        let digits =
            |text: &str| !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(hundredths) {
            return Err(Refusal::Malformed);
        }
        let whole: u16 = whole.parse().map_err(|_| Refusal::Malformed)?;
        let hundredths: u16 = format!("{hundredths:0<2}").parse().map_err(|_| Refusal::Malformed)?;
        Ok(Self::Share { basis_points: whole * 100 + hundredths })
    }

    fn render(&self) -> String {
        match self {
            Self::Bytes(size) => size.to_string(),
            Self::Share { basis_points } if basis_points.is_multiple_of(100) => {
                format!("{}%", basis_points / 100)
            }
            Self::Share { basis_points } => format!("{}.{:02}%", basis_points / 100, basis_points % 100),
        }
    }
}

/// The digits that `text` begins with, and the rest without the space between them.
pub(super) fn split_unit(text: &str) -> (&str, &str) {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    (number, unit.trim_start_matches(' '))
}
