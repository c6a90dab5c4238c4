//! What comes out: thumbnails, and what was learned of the picture on the way.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::thumbnail::{Color, SizeName};

/// What a picture is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// In pixels, as seen (after its orientation is applied).
    pub width: u32,
    /// In pixels, as seen.
    pub height: u32,
    /// `jpeg`, `png`, `webp`, `gif`, `bmp`, `tiff`.
    pub format: &'static str,
    /// As it is stored.
    pub orientation: Orientation,
    /// Whether it is transparent anywhere, be it a little.
    pub has_alpha: bool,
    /// Pictures in the file; 1 unless it is animated (or a TIFF of several pages).
    pub frames: u32,
    /// 5 to 25 bytes that a browser makes a blurred picture of (thumbhash).
    pub thumbhash: Vec<u8>,
    /// Over all pixels, weighed by their alpha.
    pub average_color: Color,
}

/// How to turn what is stored into what is seen (EXIF 2.32, tag 0x0112): 1 to 8, 1 is upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Orientation(u8);

impl Orientation {
    /// As it is stored.
    pub const UPRIGHT: Self = Self(1);

    /// A value of EXIF's; one that it does not have counts as upright.
    pub const fn from_exif(value: u16) -> Self {
        match value {
            1..=8 => Self(value.to_le_bytes()[0]),
            _ => Self::UPRIGHT,
        }
    }

    /// EXIF's value.
    pub const fn to_exif(self) -> u8 {
        self.0
    }

    /// Whether width and height change places.
    pub const fn swaps_sides(self) -> bool {
        self.0 >= 5
    }
}

/// One size, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// Which size.
    pub name: SizeName,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// `image/jpeg`, `image/webp` or `image/png`.
    pub content_type: &'static str,
    /// The encoded picture: no metadata, and the same for the same picture, spec and build.
    pub bytes: Bytes,
}

/// All sizes of a picture.
#[derive(Debug, Clone)]
pub struct Made {
    /// What the picture is.
    pub picture: Picture,
    /// In the order in which the sizes were given.
    pub thumbnails: Vec<Thumbnail>,
    /// The file ends too early, or is broken on the way; what could be decoded was used.
    pub truncated: bool,
    /// Where the time went.
    pub stages: Stages,
}

/// How long each stage took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    /// From bytes to pixels.
    pub decode: Duration,
    /// From pixels to small pixels that look right: resize, orient, color, flatten.
    pub resize: Duration,
    /// From small pixels to bytes.
    pub encode: Duration,
}
