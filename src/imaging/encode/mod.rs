//! From pixels to bytes: the one list of encoders. No metadata; the same bytes for the same pixels and build.

mod jpeg;
mod png;
mod webp;

use bytes::Bytes;

use super::{Fault, Pixels, Reason};

/// What to encode as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Baseline, 4:2:0, optimized Huffman tables.
    Jpeg {
        /// 1 to 100.
        quality: u8,
    },
    /// With loss.
    WebP {
        /// 1 to 100.
        quality: u8,
    },
    /// 8 bits a sample.
    Png,
}

/// Encodes `pixels`: Gray, Rgb or Rgba (JPEG: no Rgba; flatten first).
///
/// # Errors
/// `Crashed` if the encoder does not take them, which is a bug, or if there is no memory.
pub fn encode(pixels: &Pixels, encoding: Encoding) -> Result<Bytes, Fault> {
    let encoded = match encoding {
        Encoding::Jpeg { quality } => jpeg::encode(pixels, quality),
        Encoding::WebP { quality } => webp::encode(pixels, quality),
        Encoding::Png => png::encode(pixels),
    };
    encoded.map(Bytes::from).ok_or_else(|| {
        let (width, height, layout) = (pixels.width, pixels.height, pixels.layout);
        let detail = format!("{width} by {height} pixels of {layout:?} could not be encoded");
        Fault::new(Reason::Crashed, detail)
    })
}
