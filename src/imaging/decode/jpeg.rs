//! JPEG: shrunk by a power of two while it is decoded, which is where libjpeg-turbo has fast code.

use super::Work;
use crate::imaging::probe::jpeg::Headers;
use crate::imaging::turbojpeg::{Allowed, Decompressed, PixelFormat, decompress};
use crate::imaging::{Decoded, Fault, Layout, Pixels, Probe};

/// Each scan of a progressive JPEG costs a walk over all coefficients, however few bytes it has. Encoders make 10.
const SCANS_MAX: u16 = 100;

/// The denominator of the fraction that it is decoded at.
pub(in crate::imaging) fn denominator(probe: &Probe, needed: super::Needed) -> u8 {
    match needed.shrink(probe.width, probe.height) {
        8.. => 8,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}

pub(super) fn decode(work: &Work<'_>) -> Result<Decoded, Fault> {
    let allowed =
        Allowed { scans: SCANS_MAX, pixels: work.limits.pixels_max, memory_bytes: work.limits.memory_max };
    let denominator = denominator(work.probe, work.needed);
    let mut picture =
        decompress(work.source, denominator, allowed).ok_or_else(|| work.corrupt("does not decode"))?;
    if picture.damaged && shows_nothing(&picture, denominator) {
        return Err(work.corrupt("ends before its first row, or is broken there"));
    }
    let headers = Headers::read(work.source);
    if picture.format == PixelFormat::Cmyk && headers.adobe {
        picture.data.iter_mut().for_each(|sample| *sample = !*sample);
    }
    let layout = match picture.format {
        PixelFormat::Gray => Layout::Gray,
        PixelFormat::Rgb => Layout::Rgb,
        PixelFormat::Cmyk => Layout::Cmyk,
    };
    let side =
        |side: usize| u32::try_from(side).map_err(|_| work.corrupt("is wider or higher than it can be"));
    let pixels =
        Pixels { width: side(picture.width)?, height: side(picture.height)?, layout, data: picture.data };
    // libjpeg rounds up: the last pixel may be made of fewer than the others.
    let fills = |side: u32| f64::from(side) / f64::from(denominator);
    let filled = (fills(work.probe.width), fills(work.probe.height));
    Ok(Decoded { pixels, filled, icc: headers.icc(), truncated: picture.damaged })
}

/// Whether not even the first row of blocks was filled: its end and all that is well below it is the mid-gray of
/// missing data.
fn shows_nothing(picture: &Decompressed, denominator: u8) -> bool {
    // Up to 32 pixels high, and up to two blocks of 16 further down libjpeg smooths where there is no detail yet.
    let below = 64 / usize::from(denominator);
    let channels = picture.format.channels();
    let row = picture.width * channels;
    let missing = |samples: &[u8]| samples.iter().all(|sample| (127..=128).contains(sample));
    missing(&picture.data[row - channels..row])
        && missing(picture.data.get(below * row..).unwrap_or_default())
}
