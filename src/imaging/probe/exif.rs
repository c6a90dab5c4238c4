//! The orientation in an Exif block, which is a TIFF file of its own (Exif 2.32, 4.5.2). Nothing else of it is read.

use super::Orientation;
use super::tiff::Directory;

/// The orientation that `block` tells, `Exif\0\0` before it or not; upright if it tells none or is broken.
pub(super) fn orientation(block: &[u8]) -> Orientation {
    let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    Directory::first(tiff).map_or(Orientation::UPRIGHT, |directory| directory.orientation())
}
