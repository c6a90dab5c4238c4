//! Turning what is stored into what is seen: the eight orientations of EXIF.
//!
//! Done on the small picture, after resizing; `pipeline` calls it.

use super::made::Orientation;
use super::pixels::Pixels;
use super::plan::Crop;

/// `pixels` turned and mirrored as `orientation` says; as they are if it is upright.
pub fn orient(pixels: Pixels, orientation: Orientation) -> Pixels {
    if orientation == Orientation::UPRIGHT {
        return pixels;
    }
    let data = match pixels.layout.channels() {
        1 => walk::<1>(&pixels, orientation),
        3 => walk::<3>(&pixels, orientation),
        _ => walk::<4>(&pixels, orientation),
    };
    let (width, height) = orientation.turn((pixels.width, pixels.height));
    Pixels { width, height, layout: pixels.layout, data }
}

/// The part of a picture with the sides `seen` that is seen as `crop`, where it is stored.
pub fn as_stored(crop: Crop, seen: (u32, u32), orientation: Orientation) -> Crop {
    let (width, height) = orientation.turn(seen);
    let (left, top) = orientation.turn((crop.left, crop.top));
    let (part_width, part_height) = orientation.turn((crop.width, crop.height));
    let (mirrored, upside_down) = backward(orientation);
    Crop {
        left: if mirrored { f64::from(width) - left - part_width } else { left },
        top: if upside_down { f64::from(height) - top - part_height } else { top },
        width: part_width,
        height: part_height,
    }
}

/// Whether stored columns, and stored rows, are seen in reverse order (EXIF 2.32, tag 0x0112: where the first are seen).
fn backward(orientation: Orientation) -> (bool, bool) {
    match orientation.to_exif() {
        2 | 8 => (true, false),
        3 | 7 => (true, true),
        4 | 6 => (false, true),
        _ => (false, false),
    }
}

/// The stored pixels in the order in which they are seen: from one of the corners, row by row or column by column.
fn walk<const N: usize>(pixels: &Pixels, orientation: Orientation) -> Vec<u8> {
    let (stored, _) = pixels.data.as_chunks::<N>();
    let (width, height) = (pixels.width as usize, pixels.height as usize);
    let (mirrored, upside_down) = backward(orientation);
    let column = |x: usize| if mirrored { width - 1 - x } else { x };
    let row = |y: usize| if upside_down { height - 1 - y } else { y } * width;
    let mut seen = Vec::with_capacity(pixels.data.len());
    if orientation.swaps_sides() {
        for x in 0..width {
            seen.extend((0..height).map(|y| stored[row(y) + column(x)]));
        }
    } else {
        for y in 0..height {
            seen.extend((0..width).map(|x| stored[row(y) + column(x)]));
        }
    }
    seen.into_flattened()
}
