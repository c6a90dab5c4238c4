//! From bytes to pixels: the one list of decoders, and what they may take.
//!
//! A decoder delivers at least twice what the largest output draws, if the picture has it, and as little more as its
//! format allows: JPEG a half, a quarter or an eighth, WebP any size, PNG boxes of pixels averaged as rows stream by;
//! the others come whole. What [`price`](super::price) said is not passed.

mod jpeg;

use std::time::Instant;

pub(super) use jpeg::denominator;

use super::probe::corrupt;
use super::{Decoded, Fault, Format, Probe, Reason};

/// What a picture may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pixels of a picture, at full size.
    pub pixels_max: u64,
    /// Bytes that one picture may take beside its source.
    pub memory_max: u64,
}

impl Default for Limits {
    /// 16383 pixels square, as much as WebP can be; 512 MiB.
    fn default() -> Self {
        Self { pixels_max: 16_383 * 16_383, memory_max: 512 << 20 }
    }
}

/// The pixels, of the picture as stored, that the largest output draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed {
    /// 1 at least.
    pub width: u32,
    /// 1 at least.
    pub height: u32,
}

impl Needed {
    /// How much more than is drawn is decoded, on both sides: what a good filter makes of it is as good as from the
    /// whole picture (libvips, `thumbnail.c`: "leave at least a factor of two for the final resize step").
    const HEADROOM: u32 = 2;

    /// How many times smaller, at most, a picture of `width` by `height` may be decoded; 1 at least.
    pub(super) fn shrink(self, width: u32, height: u32) -> u32 {
        let side = |has: u32, needed: u32| has / needed.max(1).saturating_mul(Self::HEADROOM);
        side(width, self.width).min(side(height, self.height)).max(1)
    }
}

/// Decodes `source`, the whole file, of which `probe` told the headers.
///
/// The deadline is looked at between rows where a decoder goes by rows; a JPEG and a WebP are priced before, and
/// finish.
///
/// # Errors
/// `TooLarge` if the price is above the limits; `Corrupt` if less than a first row or scan decodes (a file that ends
/// later gives its pixels, [`Decoded::truncated`]); `TimedOut`.
pub fn decode(
    source: &[u8],
    probe: &Probe,
    needed: Needed,
    limits: &Limits,
    deadline: Instant,
) -> Result<Decoded, Fault> {
    super::price(probe, needed, limits)?;
    let work = Work { source, probe, needed, limits, deadline };
    work.in_time()?;
    match probe.format {
        Format::Jpeg => jpeg::decode(&work),
        other => Err(Fault::new(
            Reason::UnsupportedFormat,
            format!("{} pictures are not decoded here", other.as_str()),
        )),
    }
}

/// What every decoder gets.
struct Work<'a> {
    source: &'a [u8],
    probe: &'a Probe,
    needed: Needed,
    limits: &'a Limits,
    deadline: Instant,
}

impl Work<'_> {
    /// # Errors
    /// `TimedOut`.
    fn in_time(&self) -> Result<(), Fault> {
        if Instant::now() < self.deadline {
            return Ok(());
        }
        Err(Fault::new(Reason::TimedOut, "the picture takes longer to decode than allowed"))
    }

    fn corrupt(&self, what: &str) -> Fault {
        corrupt(self.probe.format, what)
    }
}
