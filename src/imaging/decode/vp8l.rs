//! How many groups of prefix codes a lossless WebP has (RFC 9649, 3.6.2.2), before libwebp unfolds them to tables.
//!
//! libwebp's decoder makes tables of 10 to 20 KiB of each group, which can be told in 20 bits: a file of 200 KiB
//! may have 65536 of them, and takes a gigabyte. Nobody's encoder makes that. To know, all before the groups must be
//! read: the transforms and the picture that says which group is for which block. Nothing else is.

use crate::imaging::probe::webp::Lossless;

/// What a group takes at most: `HTreeGroup` and, without color cache, `kTableSize` entries of 4 bytes (`vp8l_dec.c`).
const GROUP_BYTES: u64 = 568 + 4 * (630 * 3 + 410 + 654);

/// The bytes that the tables of a picture take at most; `None` if it ends before that is told, or is broken there.
pub(super) fn table_bytes(picture: Lossless<'_>) -> Option<u64> {
    let mut bits = Bits { data: picture.stream, at: 0 };
    let (mut width, height) = (picture.width, picture.height);
    let mut seen = [false; 4];
    while bits.read(1)? == 1 {
        let kind = bits.read(2)?;
        if std::mem::replace(&mut seen[usize::try_from(kind).ok()?], true) {
            return None;
        }
        match kind {
            // Predictors and color correlations: one for each block.
            0 | 1 => {
                let block = bits.read(3)? + 2;
                image(&mut bits, blocks(width, block), blocks(height, block))?;
            }
            // Blue and red less green: there is nothing to tell.
            2 => {}
            // A palette, of which several pixels may be packed into one.
            _ => {
                let colors = bits.read(8)? + 1;
                image(&mut bits, colors, 1)?;
                width = blocks(
                    width,
                    match colors {
                        1..=2 => 3,
                        3..=4 => 2,
                        5..=16 => 1,
                        _ => 0,
                    },
                );
            }
        }
    }
    let cached_colors = u64::from(cached_colors(&mut bits)?);
    let mut groups = 1;
    if bits.read(1)? == 1 {
        let block = bits.read(3)? + 2;
        let image = image(&mut bits, blocks(width, block), blocks(height, block))?;
        let mut used = vec![false; 1 << 16];
        for pixel in image {
            used[usize::try_from(pixel >> 8 & 0xffff).ok()?] = true;
        }
        let last = used.iter().rposition(|used| *used).unwrap_or(0);
        // Up to a thousand, libwebp makes those as well that nobody uses.
        groups = used.iter().filter(|used| **used).count().max((last + 1).min(1000));
    }
    Some(u64::try_from(groups).ok()? * (GROUP_BYTES + 4 * (cached_colors + 2)))
}

/// How many blocks of two to the power of `bits` there are along a side.
fn blocks(side: u32, bits: u32) -> u32 {
    side.div_ceil(1 << bits)
}

/// How many colors are cached; 0 if there is no cache.
fn cached_colors(bits: &mut Bits<'_>) -> Option<u32> {
    if bits.read(1)? == 0 {
        return Some(0);
    }
    let size = bits.read(4)?;
    (1..=11).contains(&size).then(|| 1 << size)
}

/// A picture with one group of codes (5.2), as ARGB.
fn image(bits: &mut Bits<'_>, width: u32, height: u32) -> Option<Vec<u32>> {
    let mut cache = Cache(vec![0; usize::try_from(cached_colors(bits)?).ok()?]);
    let greens = Code::read(bits, 256 + 24 + cache.0.len())?;
    let (reds, blues, alphas) = (Code::read(bits, 256)?, Code::read(bits, 256)?, Code::read(bits, 256)?);
    let distances = Code::read(bits, 40)?;
    let len = usize::try_from(u64::from(width) * u64::from(height)).ok()?;
    let mut pixels = Vec::new();
    while pixels.len() < len {
        let symbol = greens.symbol(bits)?;
        match symbol {
            ..256 => {
                let (red, blue, alpha) = (reds.symbol(bits)?, blues.symbol(bits)?, alphas.symbol(bits)?);
                let color =
                    [alpha, red, symbol, blue].iter().fold(0, |color, part| color << 8 | u32::from(*part));
                pixels.push(color);
                cache.keep(color);
            }
            256..280 => {
                let count = prefixed(bits, u32::from(symbol) - 256)?;
                let code = u32::from(distances.symbol(bits)?);
                let distance = distance(prefixed(bits, code)?, width)?;
                let from = pixels.len().checked_sub(distance)?;
                let count = usize::try_from(count).ok().filter(|count| *count <= len - pixels.len())?;
                for at in from..from + count {
                    let color = pixels[at];
                    pixels.push(color);
                    cache.keep(color);
                }
            }
            280.. => {
                let color = *cache.0.get(usize::from(symbol) - 280)?;
                pixels.push(color);
                cache.keep(color);
            }
        }
    }
    Some(pixels)
}

/// Colors seen lately (5.2.3).
struct Cache(Vec<u32>);

impl Cache {
    fn keep(&mut self, color: u32) {
        if !self.0.is_empty() {
            let hash = color.wrapping_mul(0x1e35_a7bd) >> (32 - self.0.len().ilog2());
            self.0[usize::try_from(hash).unwrap_or(0)] = color;
        }
    }
}

/// A length or distance, of which `code` tells the size and bits behind it the rest (5.2.2).
fn prefixed(bits: &mut Bits<'_>, code: u32) -> Option<u32> {
    if code < 4 {
        return Some(code + 1);
    }
    let extra = (code - 2) >> 1;
    Some(((2 + (code & 1)) << extra) + bits.read(extra)? + 1)
}

/// How many pixels back, row by row. The first 120 codes mean pixels nearby.
fn distance(code: u32, width: u32) -> Option<usize> {
    if code > 120 {
        return usize::try_from(code - 120).ok();
    }
    let near = i64::from(NEARBY[usize::try_from(code - 1).ok()?]);
    let back = (near >> 4) * i64::from(width) + 8 - (near & 15);
    usize::try_from(back.max(1)).ok()
}

/// Rows up in the upper four bits, 8 less columns to the left in the lower (`vp8l_dec.c`, `kCodeToPlane`).
const NEARBY: [u8; 120] = [
    0x18, 0x07, 0x17, 0x19, 0x28, 0x06, 0x27, 0x29, 0x16, 0x1a, 0x26, 0x2a, 0x38, 0x05, 0x37, 0x39, 0x15,
    0x1b, 0x36, 0x3a, 0x25, 0x2b, 0x48, 0x04, 0x47, 0x49, 0x14, 0x1c, 0x35, 0x3b, 0x46, 0x4a, 0x24, 0x2c,
    0x58, 0x45, 0x4b, 0x34, 0x3c, 0x03, 0x57, 0x59, 0x13, 0x1d, 0x56, 0x5a, 0x23, 0x2d, 0x44, 0x4c, 0x55,
    0x5b, 0x33, 0x3d, 0x68, 0x02, 0x67, 0x69, 0x12, 0x1e, 0x66, 0x6a, 0x22, 0x2e, 0x54, 0x5c, 0x43, 0x4d,
    0x65, 0x6b, 0x32, 0x3e, 0x78, 0x01, 0x77, 0x79, 0x53, 0x5d, 0x11, 0x1f, 0x64, 0x6c, 0x42, 0x4e, 0x76,
    0x7a, 0x21, 0x2f, 0x75, 0x7b, 0x31, 0x3f, 0x63, 0x6d, 0x52, 0x5e, 0x00, 0x74, 0x7c, 0x41, 0x4f, 0x10,
    0x20, 0x62, 0x6e, 0x30, 0x73, 0x7d, 0x51, 0x5f, 0x40, 0x72, 0x7e, 0x61, 0x6f, 0x50, 0x71, 0x7f, 0x60,
    0x70,
];

/// A prefix code: for each 15 bits to come, the symbol and how many of them it takes.
struct Code(Vec<(u16, u8)>);

impl Code {
    const BITS: u32 = 15;

    /// Reads the lengths of a code's words (6.2.1).
    fn read(bits: &mut Bits<'_>, symbols: usize) -> Option<Self> {
        let mut lengths = vec![0; symbols];
        if bits.read(1)? == 1 {
            let two = bits.read(1)? == 1;
            let first = if bits.read(1)? == 1 { bits.read(8)? } else { bits.read(1)? };
            *lengths.get_mut(usize::try_from(first).ok()?)? = 1;
            if two {
                *lengths.get_mut(usize::try_from(bits.read(8)?).ok()?)? = 1;
            }
        } else {
            read_lengths(bits, &mut lengths)?;
        }
        Self::of(&lengths)
    }

    /// The canonical code with words of these lengths; they must use up all words, unless there is only one.
    fn of(lengths: &[u8]) -> Option<Self> {
        let used = || (0_u16..).zip(lengths).filter(|(_, length)| **length > 0);
        let mut table = vec![(0, 0); 1 << Self::BITS];
        if let (Some((symbol, _)), 1) = (used().next(), used().count()) {
            table.fill((symbol, 0));
            return Some(Self(table));
        }
        let mut word = 0_u32;
        for length in 1..=15_u8 {
            for (symbol, _) in used().filter(|(_, of)| **of == length) {
                // Words are stored from their first bit on; a table goes by the lowest bits.
                let first =
                    (word >> (Self::BITS - u32::from(length))).reverse_bits() >> (32 - u32::from(length));
                for slot in table.iter_mut().skip(usize::try_from(first).ok()?).step_by(1 << length) {
                    *slot = (symbol, length);
                }
                word += 1 << (Self::BITS - u32::from(length));
                if word > 1 << Self::BITS {
                    return None;
                }
            }
        }
        (word == 1 << Self::BITS).then_some(Self(table))
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Option<u16> {
        let ahead = bits.ahead() & ((1 << Self::BITS) - 1);
        let (symbol, length) = *self.0.get(usize::try_from(ahead).ok()?)?;
        bits.skip(u32::from(length))?;
        Some(symbol)
    }
}

/// Lengths that are themselves coded (6.2.1, normal code length code).
fn read_lengths(bits: &mut Bits<'_>, lengths: &mut [u8]) -> Option<()> {
    const ORDER: [usize; 19] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut of_lengths = [0; 19];
    let count = usize::try_from(bits.read(4)?).ok()? + 4;
    for index in ORDER.iter().take(count) {
        of_lengths[*index] = u8::try_from(bits.read(3)?).ok()?;
    }
    let code = Code::of(&of_lengths)?;
    let mut left = lengths.len();
    if bits.read(1)? == 1 {
        let size = 2 + 2 * bits.read(3)?;
        left = 2 + usize::try_from(bits.read(size)?).ok()?;
        if left > lengths.len() {
            return None;
        }
    }
    let (mut at, mut previous) = (0, 8);
    while at < lengths.len() && left > 0 {
        left -= 1;
        let (length, times) = match code.symbol(bits)? {
            16 => (previous, 3 + bits.read(2)?),
            17 => (0, 3 + bits.read(3)?),
            18 => (0, 11 + bits.read(7)?),
            length => {
                let length = u8::try_from(length).ok()?;
                previous = if length == 0 { previous } else { length };
                (length, 1)
            }
        };
        let end = at + usize::try_from(times).ok()?;
        lengths.get_mut(at..end)?.fill(length);
        at = end;
    }
    Some(())
}

/// Bits, the lowest of each byte first; past the end there are none.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next bits, at least 56 of them, zeros past the end.
    fn ahead(&self) -> u64 {
        let rest = self.data.get(self.at / 8..).unwrap_or_default();
        let eight = rest.first_chunk().copied().unwrap_or_else(|| {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            padded
        });
        u64::from_le_bytes(eight) >> (self.at % 8)
    }

    fn skip(&mut self, count: u32) -> Option<()> {
        self.at += usize::try_from(count).ok()?;
        (self.at <= 8 * self.data.len()).then_some(())
    }

    fn read(&mut self, count: u32) -> Option<u32> {
        let value = self.ahead() & ((1 << count) - 1);
        self.skip(count)?;
        u32::try_from(value).ok()
    }
}
