//! JPEG by libjpeg-turbo.

use super::Pixels;
use crate::imaging::Layout;
use crate::imaging::turbojpeg::{PixelFormat, compress};

pub(super) fn encode(pixels: &Pixels, quality: u8) -> Option<Vec<u8>> {
    let format = match pixels.layout {
        Layout::Gray => PixelFormat::Gray,
        Layout::Rgb => PixelFormat::Rgb,
        Layout::Rgba | Layout::Cmyk => return None,
    };
    let (width, height) = (usize::try_from(pixels.width).ok()?, usize::try_from(pixels.height).ok()?);
    compress(&pixels.data, width, height, format, quality)
}
