//! What a picture's thumbnails cost, before anybody pays: an upper bound of the bytes beside its source.

use super::decode::{Limits, Needed, denominator, scaled, shrink};
use super::{Fault, Format, Probe, Reason};

/// What a decoder takes that does not grow with the picture: tables, buffers of the inflater.
const FIXED_BYTES: u64 = 1 << 20;

/// The most that decoding, drawing and encoding take at once, in bytes, the source not counted.
///
/// # Errors
/// `TooLarge` if the picture has more pixels than allowed, or takes more memory.
pub fn price(probe: &Probe, needed: Needed, limits: &Limits) -> Result<u64, Fault> {
    let pixels = u64::from(probe.width) * u64::from(probe.height);
    if pixels > limits.pixels_max {
        let detail = format!("the picture has {pixels} pixels, {} are allowed", limits.pixels_max);
        return Err(Fault::new(Reason::TooLarge, detail));
    }
    let bytes = FIXED_BYTES.saturating_add(probe.held_bytes)
        + decoder_bytes(probe, needed)
        + drawing_bytes(probe, needed);
    if bytes > limits.memory_max {
        let detail = format!("the picture takes {bytes} bytes to decode, {} are allowed", limits.memory_max);
        return Err(Fault::new(Reason::TooLarge, detail));
    }
    Ok(bytes)
}

/// What is made of the decoded picture.
fn drawing_bytes(probe: &Probe, needed: Needed) -> u64 {
    let (width, height) = (u64::from(needed.width), u64::from(needed.height));
    // It is resized downward first, at its whole width.
    let resized = decoded_width(probe, needed) * height * 4;
    // The largest size as drawn; turned, in sRGB or flattened; the smaller ones; what an encoder makes of one.
    resized + width * height * 16
}

fn decoded_width(probe: &Probe, needed: Needed) -> u64 {
    match probe.format {
        Format::Jpeg => u64::from(probe.width).div_ceil(u64::from(denominator(probe, needed))),
        Format::Png => u64::from(probe.width).div_ceil(u64::from(shrink(probe, needed))),
        Format::WebP => u64::from(scaled(probe, needed).0),
        _ => u64::from(probe.width),
    }
}

/// What grows with the picture: the output, and the rows that are under way.
fn decoder_bytes(probe: &Probe, needed: Needed) -> u64 {
    let (width, height) = (u64::from(probe.width), u64::from(probe.height));
    let (channels, wide) = (u64::from(probe.channels), u64::from(probe.bits.div_ceil(8)));
    match probe.format {
        Format::Jpeg => {
            let part = u64::from(denominator(probe, needed));
            // Rows of MCUs, 8 to 32 pixels high, in several stages at once.
            width.div_ceil(part) * height.div_ceil(part) * channels + 96 * width * channels
        }
        Format::Png => {
            let shrink = u64::from(shrink(probe, needed));
            let (across, down) = (width.div_ceil(shrink), height.div_ceil(shrink));
            // The inflater's window of rows grows by doubling up to 12 of them; samples of less than 8 bits and
            // palettes are unpacked to 4 bytes at most. Sums are 20 bytes a box.
            let sums = if probe.progressive { across * down } else { across };
            let out = across * down * if probe.has_alpha || channels == 1 { 4 } else { channels };
            out + if shrink > 1 { 20 * sums } else { 0 } + 12 * width * channels * wide + 4 * width
        }
        Format::WebP => {
            let (across, down) = scaled(probe, needed);
            u64::from(across) * u64::from(down) * channels + 256 * width
        }
        Format::Gif => width * height * 4,
        Format::Bmp | Format::Tiff => width * height * (channels.max(3) * wide).max(4),
        Format::Heic | Format::Avif | Format::JpegXl | Format::Svg => 0,
    }
}
