//! WebP with loss by libwebp.

use super::Pixels;
use crate::imaging::{Layout, libwebp};

pub(super) fn encode(pixels: &Pixels, quality: u8) -> Option<Vec<u8>> {
    let size = (pixels.width, pixels.height);
    match pixels.layout {
        Layout::Rgb => libwebp::encode(&pixels.data, size, false, quality),
        Layout::Rgba => libwebp::encode(&pixels.data, size, true, quality),
        Layout::Gray => {
            let rgb: Vec<u8> = pixels.data.iter().flat_map(|gray| [*gray; 3]).collect();
            libwebp::encode(&rgb, size, false, quality)
        }
        Layout::Cmyk => None,
    }
}
