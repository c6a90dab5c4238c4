//! From bytes to pixels: the one list of decoders, and what they may take.
//!
//! A decoder delivers at least twice what the largest output draws, if the picture has it, and as little more as its
//! format allows: JPEG a half, a quarter or an eighth, WebP any size, PNG boxes of pixels averaged as rows stream by;
//! the others come whole. What [`price`](super::price()) said is not passed.

mod boxes;
mod gif;
mod jpeg;
mod other;
mod png;
mod vp8l;
mod webp;

use std::time::Instant;

pub(super) use jpeg::denominator;
pub(super) use png::shrink;
pub(super) use webp::scaled;

use super::pixels::zeroed;
use super::probe::corrupt;
use super::{Decoded, Fault, Format, Layout, Pixels, Probe, Reason};

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
        Format::Png => png::decode(&work),
        Format::WebP => webp::decode(&work),
        Format::Gif => gif::decode(&work),
        Format::Bmp => other::bmp(&work),
        Format::Tiff => other::tiff(&work),
        // `probe` lets none of these through; see there where their door is.
        Format::Heic | Format::Avif | Format::JpegXl | Format::Svg => {
            let detail = format!("{} pictures are not decoded here", probe.format.as_str());
            Err(Fault::new(Reason::UnsupportedFormat, detail))
        }
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

    /// There is less memory than the limits say.
    fn no_memory(&self) -> Fault {
        let detail = format!("there is no memory to decode the {} picture", self.probe.format.as_str());
        Fault::new(Reason::TooLarge, detail)
    }

    /// Width and height at full size.
    fn size(&self) -> Result<(usize, usize), Fault> {
        let side = |side| usize::try_from(side).map_err(|_| self.no_memory());
        Ok((side(self.probe.width)?, side(self.probe.height)?))
    }
}

/// `picture` (Rgb or Rgba) at `x`, `y` of a transparent canvas; what hangs over is cut off. `None` without memory.
fn on_canvas(picture: &Pixels, (x, y): (u32, u32), (width, height): (u32, u32)) -> Option<Pixels> {
    let index = |number: u32| usize::try_from(number).ok();
    let (columns, row) = (index(width.saturating_sub(x).min(picture.width))?, index(width)?.checked_mul(4)?);
    let mut data = zeroed(row.checked_mul(index(height)?)?)?;
    let channels = picture.layout.channels();
    let targets = data.chunks_exact_mut(row).skip(index(y)?);
    for (target, source) in targets.zip(picture.data.chunks_exact(index(picture.width)? * channels)) {
        let pixels = target[4 * index(x)?.min(row / 4)..].chunks_exact_mut(4).take(columns);
        for (to, from) in pixels.zip(source.chunks_exact(channels)) {
            match *from {
                [red, green, blue] => to.copy_from_slice(&[red, green, blue, 255]),
                [red, green, blue, alpha] => to.copy_from_slice(&[red, green, blue, alpha]),
                _ => return None,
            }
        }
    }
    Some(Pixels { width, height, layout: Layout::Rgba, data })
}
