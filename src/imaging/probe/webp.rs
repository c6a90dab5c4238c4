//! WebP (RFC 9649): the canvas or the first frame's header, Exif, and how many frames there are.

use super::fields::{Order::Little, bytes, offset_at, u16_at, u32_at};
use super::{FRAMES_MAX, Fault, Format, Orientation, Probe, corrupt, exif};

#[derive(Default)]
struct Found {
    canvas: Option<(u32, u32)>,
    has_alpha: bool,
    frames: u32,
    lossless: bool,
    orientation: Option<Orientation>,
}

pub(super) fn probe(head: &[u8]) -> Result<Probe, Fault> {
    let mut found = Found::default();
    let mut at = 12;
    while let Some(kind) = bytes(head, at, 4) {
        let Some(len) = offset_at(head, at + 4, Little) else { break };
        let data = head.get(at + 8..).map(|rest| &rest[..len.min(rest.len())]).unwrap_or_default();
        found.take(kind, data);
        if found.frames >= FRAMES_MAX {
            break;
        }
        // Chunks have even lengths (2.3).
        at = at.saturating_add(8).saturating_add(len).saturating_add(len & 1);
    }
    let (width, height) =
        found.canvas.ok_or_else(|| corrupt(Format::WebP, "ends before its size is told"))?;
    let pixels = u64::from(width) * u64::from(height);
    Ok(Probe {
        format: Format::WebP,
        width,
        height,
        orientation: found.orientation.unwrap_or(Orientation::UPRIGHT),
        has_alpha: found.has_alpha,
        channels: if found.has_alpha { 4 } else { 3 },
        bits: 8,
        frames: found.frames.max(1),
        progressive: found.lossless,
        held_bytes: if found.lossless {
            4 * pixels
        } else if found.has_alpha {
            pixels
        } else {
            0
        },
    })
}

impl Found {
    fn take(&mut self, kind: &[u8], data: &[u8]) {
        match kind {
            b"VP8X" => self.extended(data),
            b"VP8 " | b"VP8L" => {
                self.frames += 1;
                self.picture(kind, data);
            }
            b"ANMF" => {
                self.frames += 1;
                if self.frames == 1 {
                    self.frame(data);
                }
            }
            b"EXIF" if self.orientation.is_none() => self.orientation = Some(exif::orientation(data)),
            _ => {}
        }
    }

    /// Flags and the canvas (2.7.1): sides less one, in three bytes each.
    fn extended(&mut self, data: &[u8]) {
        let side =
            |at| bytes(data, at, 3).map(|three| u32::from_le_bytes([three[0], three[1], three[2], 0]) + 1);
        if let (Some(flags), Some(width), Some(height)) = (data.first(), side(4), side(7)) {
            self.canvas = Some((width, height));
            self.has_alpha = flags & 0x10 != 0;
        }
    }

    /// The chunks inside of the first frame of an animation (2.7.1.2), behind 16 bytes of its place and manner.
    fn frame(&mut self, data: &[u8]) {
        let mut at = 16;
        while let (Some(kind), Some(len)) = (bytes(data, at, 4), offset_at(data, at + 4, Little)) {
            self.picture(kind, data.get(at + 8..).unwrap_or_default());
            at = at.saturating_add(8).saturating_add(len).saturating_add(len & 1);
        }
    }

    fn picture(&mut self, kind: &[u8], data: &[u8]) {
        let size = match kind {
            // RFC 6386, 9.1: three bytes of frame tag, the start code, two sides of 14 bits.
            b"VP8 " if bytes(data, 3, 3) == Some(&[0x9d, 0x01, 0x2a]) => {
                let side = |at| u16_at(data, at, Little).map(|side| u32::from(side & 0x3fff));
                side(6).zip(side(8))
            }
            // RFC 9649, 3.4: the signature, two sides less one of 14 bits, a bit for alpha.
            b"VP8L" if data.first() == Some(&0x2f) => u32_at(data, 1, Little).map(|packed| {
                self.lossless = true;
                self.has_alpha |= self.canvas.is_none() && packed >> 28 & 1 == 1;
                ((packed & 0x3fff) + 1, (packed >> 14 & 0x3fff) + 1)
            }),
            _ => None,
        };
        self.canvas = self.canvas.or(size);
    }
}
