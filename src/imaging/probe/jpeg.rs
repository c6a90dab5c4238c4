//! JPEG (ITU-T T.81, annex B): the segments up to the first scan, among them Exif's orientation and the pieces of a
//! color profile.

use super::fields::{Order::Big, bytes, u16_at};
use super::{Fault, Format, ICC_MAX, Orientation, Probe, Reason, corrupt, exif};

/// What stands before the first scan.
#[derive(Debug, Default)]
pub(in crate::imaging) struct Headers<'a> {
    frame: Option<Frame>,
    /// Adobe's marker is there: samples of CMYK are stored inverted.
    pub(in crate::imaging) adobe: bool,
    /// How many components the first scan has; `None` if it was not reached.
    scan_components: Option<u8>,
    exif: Option<&'a [u8]>,
    icc: Vec<(u8, &'a [u8])>,
}

/// A start-of-frame segment (B.2.2).
#[derive(Debug)]
struct Frame {
    marker: u8,
    bits: u8,
    width: u16,
    height: u16,
    /// Sampling factors, horizontal and vertical, per component.
    sampling: Vec<(u8, u8)>,
}

impl<'a> Headers<'a> {
    /// Walks over the segments up to the first scan, or to where the bytes end.
    pub(in crate::imaging) fn read(file: &'a [u8]) -> Self {
        let mut headers = Self::default();
        let mut at = 2;
        while let Some((marker, segment, next)) = segment(file, at) {
            match marker {
                0xc4 | 0xc8 | 0xcc => {} // tables, not frames
                0xc0..=0xcf if headers.frame.is_none() => headers.frame = Frame::read(marker, segment),
                0xe1 if headers.exif.is_none() && segment.starts_with(b"Exif\0\0") => {
                    headers.exif = Some(segment);
                }
                0xe2 => headers.icc.extend(icc_piece(segment)),
                0xee => headers.adobe |= segment.starts_with(b"Adobe"),
                0xda => {
                    headers.scan_components = segment.first().copied();
                    break;
                }
                0xd9 => break,
                _ => {}
            }
            at = next;
        }
        headers
    }

    fn icc_len(&self) -> usize {
        self.icc.iter().map(|(_, piece)| piece.len()).sum()
    }

    /// The color profile, put together of its pieces (ICC.1:2022, B.4), if none is missing.
    pub(in crate::imaging) fn icc(&self) -> Option<Vec<u8>> {
        let mut pieces = self.icc.clone();
        pieces.sort_by_key(|(number, _)| *number);
        let whole = (1..).zip(&pieces).all(|(expected, (number, _))| expected == usize::from(*number));
        let len: usize = pieces.iter().map(|(_, piece)| piece.len()).sum();
        (whole && (1..=ICC_MAX).contains(&len))
            .then(|| pieces.iter().flat_map(|(_, piece)| *piece).copied().collect())
    }
}

impl Frame {
    fn read(marker: u8, segment: &[u8]) -> Option<Self> {
        let components = usize::from(*segment.get(5)?);
        let table = bytes(segment, 6, 3 * components)?;
        Some(Self {
            marker,
            bits: segment[0],
            height: u16_at(segment, 1, Big)?,
            width: u16_at(segment, 3, Big)?,
            sampling: table.chunks_exact(3).map(|entry| (entry[1] >> 4, entry[1] & 15)).collect(),
        })
    }

    /// What all coefficients take that are kept until the last scan: 16 bits each, in whole blocks of 8 by 8, in whole
    /// MCUs.
    fn coefficient_bytes(&self) -> u64 {
        let widest = u64::from(self.sampling.iter().map(|(h, _)| *h).max().unwrap_or(1).max(1));
        let highest = u64::from(self.sampling.iter().map(|(_, v)| *v).max().unwrap_or(1).max(1));
        let across = u64::from(self.width).div_ceil(8 * widest);
        let down = u64::from(self.height).div_ceil(8 * highest);
        let blocks: u64 =
            self.sampling.iter().map(|(h, v)| across * u64::from(*h) * down * u64::from(*v)).sum();
        blocks * 64 * 2
    }
}

pub(super) fn probe(head: &[u8]) -> Result<Probe, Fault> {
    let headers = Headers::read(head);
    let frame =
        headers.frame.as_ref().ok_or_else(|| corrupt(Format::Jpeg, "ends before its size is told"))?;
    // Huffman or arithmetic coding, baseline to progressive: the processes that libjpeg-turbo decodes and shrinks.
    if !matches!(frame.marker, 0xc0..=0xc2 | 0xc9 | 0xca) || frame.bits != 8 {
        let what = "lossless, hierarchical and 12-bit JPEG pictures are not decoded here";
        return Err(Fault::new(Reason::UnsupportedFormat, what));
    }
    let sampled = frame.sampling.iter().all(|(h, v)| (1..=4).contains(h) && (1..=4).contains(v));
    if !matches!(frame.sampling.len(), 1 | 3 | 4) || !sampled {
        return Err(corrupt(Format::Jpeg, "has components that no picture has"));
    }
    let channels = u8::try_from(frame.sampling.len()).unwrap_or(4);
    let progressive =
        matches!(frame.marker, 0xc2 | 0xca) || headers.scan_components.is_none_or(|some| some < channels);
    Ok(Probe {
        format: Format::Jpeg,
        width: frame.width.into(),
        height: frame.height.into(),
        orientation: headers.exif.map_or(Orientation::UPRIGHT, exif::orientation),
        has_alpha: false,
        channels,
        bits: 8,
        frames: 1,
        progressive,
        held_bytes: if progressive { frame.coefficient_bytes() } else { 0 } + headers.icc_len() as u64,
    })
}

/// The marker at or behind `at`, its segment without the length, and where the next one begins.
fn segment(file: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    // Between segments libjpeg skips whatever is no marker; so do we, or we would see another picture than it does.
    let mut at = at + file.get(at..)?.iter().position(|byte| *byte == 0xff)?;
    loop {
        match *file.get(at)? {
            0xff => at += 1,
            0 => at += 1 + file.get(at + 1..)?.iter().position(|byte| *byte == 0xff)?,
            marker @ (0x01 | 0xd0..=0xd9) => return Some((marker, &[], at + 1)),
            marker => {
                let len = usize::from(u16_at(file, at + 1, Big)?).checked_sub(2)?;
                return Some((marker, bytes(file, at + 3, len)?, at + 3 + len));
            }
        }
    }
}

fn icc_piece(segment: &[u8]) -> Option<(u8, &[u8])> {
    match segment.strip_prefix(b"ICC_PROFILE\0")? {
        [number, _of, piece @ ..] => Some((*number, piece)),
        _ => None,
    }
}
