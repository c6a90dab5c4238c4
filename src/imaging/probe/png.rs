//! PNG (third edition): the chunks up to the picture's data.

use super::fields::{Order::Big, bytes, offset_at, u32_at};
use super::{Fault, Format, Orientation, Probe, corrupt, exif};

/// What a color profile takes while it is unpacked, within the reader's limit of 4 MiB.
const ICC_BYTES: u64 = 12 << 20;

pub(super) fn probe(head: &[u8]) -> Result<Probe, Fault> {
    let broken = || corrupt(Format::Png, "ends before its size is told, or is broken there");
    let header = bytes(head, 16, 13).filter(|_| head[12..16] == *b"IHDR").ok_or_else(broken)?;
    let width = u32_at(header, 0, Big).filter(|width| *width >> 31 == 0).ok_or_else(broken)?;
    let height = u32_at(header, 4, Big).filter(|height| *height >> 31 == 0).ok_or_else(broken)?;
    let (bits, color, interlace) = (header[8], header[9], header[12]);
    let channels = match (color, bits) {
        (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) => 1,
        (2, 8 | 16) => 3,
        (4, 8 | 16) => 2,
        (6, 8 | 16) => 4,
        _ => return Err(broken()),
    };
    let (mut orientation, mut has_alpha, mut frames) = (Orientation::UPRIGHT, matches!(color, 4 | 6), 1);
    let mut has_profile = false;
    let mut at = 33;
    while let Some(kind) = bytes(head, at + 4, 4) {
        let len = offset_at(head, at, Big).ok_or_else(broken)?;
        let data = bytes(head, at + 8, len);
        match (kind, data) {
            (b"IDAT" | b"IEND", _) => break,
            (b"tRNS", _) => has_alpha = true,
            (b"iCCP", _) => has_profile = true,
            (b"acTL", Some(data)) => frames = u32_at(data, 0, Big).unwrap_or(1).clamp(1, super::FRAMES_MAX),
            (b"eXIf", Some(data)) => orientation = exif::orientation(data),
            _ => {}
        }
        at = at.saturating_add(12).saturating_add(len);
    }
    Ok(Probe {
        format: Format::Png,
        width,
        height,
        orientation,
        has_alpha,
        channels,
        bits,
        frames,
        progressive: interlace != 0,
        held_bytes: if has_profile { ICC_BYTES } else { 0 },
    })
}
