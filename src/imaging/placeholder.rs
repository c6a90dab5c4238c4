//! What stands in for a picture until it is loaded: its thumbhash and its average color.
//!
//! Both are made of a copy of at most 100 pixels a side; `pipeline` draws it.

use crate::base::thumbnail::Color;

use super::pixels::{Layout, Pixels};

/// Of a small, upright sRGB picture of any layout but CMYK: its thumbhash, and its color over all pixels, weighed by
/// their opacity; white if nothing of it is seen.
pub fn placeholder(pixels: &Pixels) -> (Vec<u8>, Color) {
    let rgba: Vec<[u8; 4]> = match pixels.layout {
        Layout::Gray => pixels.data.iter().map(|light| [*light, *light, *light, u8::MAX]).collect(),
        Layout::Rgb => pixels.data.as_chunks().0.iter().map(|[r, g, b]| [*r, *g, *b, u8::MAX]).collect(),
        Layout::Rgba | Layout::Cmyk => pixels.data.as_chunks().0.to_vec(),
    };
    let hash =
        thumbhash::rgba_to_thumb_hash(pixels.width as usize, pixels.height as usize, rgba.as_flattened());
    (hash, average(&rgba))
}

#[expect(clippy::cast_possible_truncation, reason = "an average of bytes is a byte")]
fn average(rgba: &[[u8; 4]]) -> Color {
    let mut sums = [0_u64; 3];
    let mut opacity = 0;
    for [red, green, blue, alpha] in rgba {
        let alpha = u64::from(*alpha);
        opacity += alpha;
        for (sum, channel) in sums.iter_mut().zip([red, green, blue]) {
            *sum += u64::from(*channel) * alpha;
        }
    }
    if opacity == 0 {
        return Color::WHITE;
    }
    Color(sums.map(|sum| ((sum + opacity / 2) / opacity) as u8))
}
