//! Windows bitmaps: the file header and the sizes in the information header, of which there are several lengths.

use super::fields::{Order::Little, u16_at, u32_at};
use super::{Fault, Format, Orientation, Probe, corrupt};

/// Two letters are a weak signature: the length of the information header must be one that exists, too.
pub(super) fn looks_like(head: &[u8]) -> bool {
    matches!(u32_at(head, 14, Little), Some(12 | 40 | 52 | 56 | 64 | 108 | 124))
}

pub(super) fn probe(head: &[u8]) -> Result<Probe, Fault> {
    let (width, height, bits) =
        sizes(head).ok_or_else(|| corrupt(Format::Bmp, "ends before its size is told"))?;
    // Only bitmaps of 16 or 32 bits can have a mask for alpha; what the decoder finds in the end decides.
    let has_alpha = matches!(bits, 16 | 32);
    let channels = match bits {
        ..=8 => 1,
        32 => 4,
        _ => 3,
    };
    Ok(Probe {
        format: Format::Bmp,
        width,
        height,
        orientation: Orientation::UPRIGHT,
        has_alpha,
        channels,
        bits: 8,
        frames: 1,
        progressive: false,
        held_bytes: 0,
    })
}

fn sizes(head: &[u8]) -> Option<(u32, u32, u16)> {
    if u32_at(head, 14, Little)? == 12 {
        let (width, height) = (u16_at(head, 18, Little)?, u16_at(head, 20, Little)?);
        return Some((u32::from(width), u32::from(height), u16_at(head, 24, Little)?));
    }
    let width = u32_at(head, 18, Little)?.cast_signed();
    // A negative height says that the rows go from the top down.
    let height = u32_at(head, 22, Little)?.cast_signed();
    Some((u32::try_from(width).ok()?, height.unsigned_abs(), u16_at(head, 28, Little)?))
}
