//! TIFF 6.0: the first directory of tags, and how many follow. Exif blocks are read by the same code.

use super::fields::{Order, bytes, offset_at, u16_at, u32_at};
use super::{FRAMES_MAX, Fault, Format, Orientation, Probe, corrupt};

const WIDTH: u16 = 0x0100;
const HEIGHT: u16 = 0x0101;
const BITS: u16 = 0x0102;
const COMPRESSION: u16 = 0x0103;
const ORIENTATION: u16 = 0x0112;
const SAMPLES: u16 = 0x0115;
const EXTRA_SAMPLES: u16 = 0x0152;

/// One directory of tags (TIFF 6.0, section 2).
pub(in crate::imaging) struct Directory<'a> {
    file: &'a [u8],
    order: Order,
    entries: &'a [u8],
    next: usize,
}

impl<'a> Directory<'a> {
    /// The first one of `file`.
    pub(in crate::imaging) fn first(file: &'a [u8]) -> Option<Self> {
        let order = match file.get(..4)? {
            [b'I', b'I', 42, 0] => Order::Little,
            [b'M', b'M', 0, 42] => Order::Big,
            _ => return None,
        };
        Self::at(file, order, offset_at(file, 4, order)?)
    }

    fn at(file: &'a [u8], order: Order, at: usize) -> Option<Self> {
        let len = 12 * usize::from(u16_at(file, at, order)?);
        let entries = bytes(file, at + 2, len)?;
        let next = offset_at(file, at + 2 + len, order).unwrap_or(0);
        Some(Self { file, order, entries, next })
    }

    fn entry(&self, tag: u16) -> Option<&'a [u8]> {
        self.entries.chunks_exact(12).find(|entry| u16_at(entry, 0, self.order) == Some(tag))
    }

    /// The bytes of a tag's values, `size` bytes each; they stand in the entry if they are four or fewer.
    fn values(&self, entry: &'a [u8], size: usize) -> Option<&'a [u8]> {
        let len = offset_at(entry, 4, self.order)?.checked_mul(size)?;
        if len <= 4 { entry.get(8..8 + len) } else { bytes(self.file, offset_at(entry, 8, self.order)?, len) }
    }

    /// The first value of a tag of SHORTs or LONGs.
    fn number(&self, tag: u16) -> Option<u32> {
        let entry = self.entry(tag)?;
        match u16_at(entry, 2, self.order)? {
            3 => u16_at(self.values(entry, 2)?, 0, self.order).map(u32::from),
            4 => u32_at(self.values(entry, 4)?, 0, self.order),
            _ => None,
        }
    }

    pub(super) fn orientation(&self) -> Orientation {
        let value = self.number(ORIENTATION).and_then(|value| u16::try_from(value).ok());
        value.map_or(Orientation::UPRIGHT, Orientation::from_exif)
    }
}

pub(super) fn probe(head: &[u8]) -> Result<Probe, Fault> {
    let broken = || corrupt(Format::Tiff, "ends before its first directory does, or is broken there");
    let directory = Directory::first(head).ok_or_else(broken)?;
    let width = directory.number(WIDTH).ok_or_else(broken)?;
    let height = directory.number(HEIGHT).ok_or_else(broken)?;
    let channels = u8::try_from(directory.number(SAMPLES).unwrap_or(1)).map_err(|_| broken())?;
    let bits = u8::try_from(directory.number(BITS).unwrap_or(1)).map_err(|_| broken())?;
    let has_alpha = matches!(directory.number(EXTRA_SAMPLES), Some(1 | 2));
    let orientation = directory.orientation();
    let mut frames = 1;
    let mut next = directory.next;
    while next != 0 && frames < FRAMES_MAX {
        let Some(following) = Directory::at(head, directory.order, next) else { break };
        frames += 1;
        next = following.next;
    }
    // Sides of 32 bits, of which nobody has looked at any yet.
    let samples = (u64::from(width) * u64::from(height)).saturating_mul(channels.into());
    let stored = samples.saturating_mul(bits.max(8).into()) / 8;
    // The reader's copy beside the output; what JPEG inside of TIFF takes, whole strips or tiles, comes on top.
    let held_bytes =
        if matches!(directory.number(COMPRESSION), Some(6 | 7)) { stored.saturating_mul(5) } else { stored };
    let (format, progressive) = (Format::Tiff, false);
    Ok(Probe {
        format,
        width,
        height,
        orientation,
        has_alpha,
        channels,
        bits,
        frames,
        progressive,
        held_bytes,
    })
}
