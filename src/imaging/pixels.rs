//! Decoded pixels: 8 bits a channel, rows from the top, nothing between them.

/// What a pixel's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One byte: how light.
    Gray,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue, opacity; not premultiplied.
    Rgba,
    /// Cyan, magenta, yellow, black: 0 is no ink.
    Cmyk,
}

impl Layout {
    /// Bytes a pixel.
    pub const fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }
}

/// See the module. `data` has `width * height * layout.channels()` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// In pixels, 1 at least.
    pub width: u32,
    /// In pixels, 1 at least.
    pub height: u32,
    /// What the bytes are.
    pub layout: Layout,
    /// The bytes.
    pub data: Vec<u8>,
}

/// What a decoder hands on.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The picture as stored (not yet turned), whole or shrunk by a power of two or so.
    pub pixels: Pixels,
    /// How many of those pixels the picture fills, across and down: all of them, but up to one less where it was
    /// shrunk by blocks and the last block is not full (4001 pixels shrunk by 2 fill 2000.5 of 2001). Nothing is
    /// drawn off its place by a part of a pixel when this is true.
    pub filled: (f64, f64),
    /// The embedded color profile, as it stands in the file.
    pub icc: Option<Vec<u8>>,
    /// The file ends too early, or is broken on the way: what is missing is gray, black or transparent.
    pub truncated: bool,
}

/// `len` bytes of zero, or `None` if there is no memory for them.
pub(super) fn zeroed(len: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).ok()?;
    bytes.resize(len, 0);
    Some(bytes)
}
