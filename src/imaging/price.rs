//! What a picture costs to decode, before anybody pays: an upper bound of the bytes beside its source.

use super::decode::{Limits, Needed, denominator};
use super::{Fault, Format, Probe, Reason};

/// What a decoder takes that does not grow with the picture: tables, buffers of the inflater, a color profile.
const FIXED_BYTES: u64 = 8 << 20;

/// The most that decoding takes at once, in bytes, the source not counted.
///
/// # Errors
/// `TooLarge` if the picture has more pixels than allowed, or takes more memory.
pub fn price(probe: &Probe, needed: Needed, limits: &Limits) -> Result<u64, Fault> {
    let pixels = u64::from(probe.width) * u64::from(probe.height);
    if pixels > limits.pixels_max {
        let detail = format!("the picture has {pixels} pixels, {} are allowed", limits.pixels_max);
        return Err(Fault::new(Reason::TooLarge, detail));
    }
    let bytes = FIXED_BYTES + probe.held_bytes + decoder_bytes(probe, needed);
    if bytes > limits.memory_max {
        let detail = format!("the picture takes {bytes} bytes to decode, {} are allowed", limits.memory_max);
        return Err(Fault::new(Reason::TooLarge, detail));
    }
    Ok(bytes)
}

/// What grows with the picture: the output, and the rows that are under way.
fn decoder_bytes(probe: &Probe, needed: Needed) -> u64 {
    let (width, height) = (u64::from(probe.width), u64::from(probe.height));
    match probe.format {
        Format::Jpeg => {
            let part = u64::from(denominator(probe, needed));
            let channels = u64::from(probe.channels);
            // Rows of MCUs in several stages: some 10 rows of blocks of 8, 32 pixels high at most.
            width.div_ceil(part) * height.div_ceil(part) * channels + width * channels * 96
        }
        _ => width * height * 4,
    }
}
