//! Putting pictures on a background: where the output has no alpha, and where a picture does not fill its box.
//!
//! Done on the small picture, before encoding; `pipeline` calls it.

use crate::base::thumbnail::Color;

use super::pixels::{Layout, Pixels};

/// `pixels` without alpha: `background` shines through as far as they are transparent.
pub fn flatten(pixels: &Pixels, background: Color) -> Pixels {
    if pixels.layout != Layout::Rgba {
        return pixels.clone();
    }
    let Color([red, green, blue]) = background;
    let seen = |&[r, g, b, a]: &[u8; 4]| [mix(r, red, a), mix(g, green, a), mix(b, blue, a)];
    let data: Vec<[u8; 3]> = pixels.data.as_chunks().0.iter().map(seen).collect();
    Pixels { layout: Layout::Rgb, data: data.into_flattened(), ..*pixels }
}

/// Between two bytes lies a byte.
#[expect(clippy::cast_possible_truncation, reason = "of two bytes, weighed by parts of 255")]
fn mix(color: u8, behind: u8, opacity: u8) -> u8 {
    let (color, behind, opacity) = (u32::from(color), u32::from(behind), u32::from(opacity));
    ((color * opacity + behind * (255 - opacity) + 127) / 255) as u8
}

/// `pixels` in the middle of `width` by `height` pixels of `background`. They fit into it.
pub fn pad(pixels: &Pixels, (width, height): (u32, u32), background: Color) -> Pixels {
    let Color([red, green, blue]) = background;
    if pixels.layout == Layout::Gray && (red != green || green != blue) {
        return pad(&in_color(pixels), (width, height), background);
    }
    let pixel = [red, green, blue, u8::MAX];
    let channels = pixels.layout.channels();
    let mut data = pixel[..channels].repeat(width as usize * height as usize);
    let left = (width - pixels.width) as usize / 2 * channels;
    let top = (height - pixels.height) as usize / 2;
    let row_len = pixels.width as usize * channels;
    let rows = data.chunks_exact_mut(width as usize * channels).skip(top);
    for (row, drawn) in rows.zip(pixels.data.chunks_exact(row_len)) {
        row[left..left + row_len].copy_from_slice(drawn);
    }
    Pixels { width, height, layout: pixels.layout, data }
}

fn in_color(gray: &Pixels) -> Pixels {
    let data: Vec<[u8; 3]> = gray.data.iter().map(|light| [*light; 3]).collect();
    Pixels { layout: Layout::Rgb, data: data.into_flattened(), ..*gray }
}
