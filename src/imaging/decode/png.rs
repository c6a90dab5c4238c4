//! PNG: row by row, each added to the boxes of pixels that it falls into, so that a large picture takes the memory of
//! a small one; interlaced pictures too, whose rows come in seven passes.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Reader, Transformations};

use super::boxes::{Boxes, Place, RowOrder, Samples};
use super::{Needed, Work};
use crate::imaging::{Decoded, Fault, Probe};

/// What the reader may take for chunks that it keeps: a color profile, Exif.
const CHUNKS_BYTES: u64 = 4 << 20;

/// The passes of interlaced pictures (PNG, 8.2): the first pixel and row, and how far it is to the next ones.
const ADAM7: [((usize, usize), (usize, usize)); 7] = [
    ((0, 0), (8, 8)),
    ((4, 0), (8, 8)),
    ((0, 4), (4, 8)),
    ((2, 0), (4, 4)),
    ((0, 2), (2, 4)),
    ((1, 0), (2, 2)),
    ((0, 1), (1, 2)),
];

/// How many pixels, across and down, become one.
pub(in crate::imaging) fn shrink(probe: &Probe, needed: Needed) -> u32 {
    needed.shrink(probe.width, probe.height).min(256)
}

pub(super) fn decode(work: &Work<'_>) -> Result<Decoded, Fault> {
    let broken = || work.corrupt("ends before its first row, or is broken there");
    // The reader counts one row of its output, too: four samples at most, of 16 bits.
    let bytes = usize::try_from(CHUNKS_BYTES + 8 * u64::from(work.probe.width)).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new_with_limits(Cursor::new(work.source), png::Limits { bytes });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(|_| broken())?;
    if reader.info().size() != (work.probe.width, work.probe.height) {
        return Err(broken());
    }
    let samples = match reader.output_color_type() {
        (ColorType::Grayscale, BitDepth::Eight) => Samples::Gray,
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => Samples::GrayAlpha,
        (ColorType::Rgb, BitDepth::Eight) => Samples::Rgb,
        (ColorType::Rgba, BitDepth::Eight) => Samples::Rgba,
        _ => return Err(work.corrupt("has samples that no PNG has")),
    };
    let shrink = shrink(work.probe, work.needed);
    let size = work.size()?;
    let order = if reader.info().interlaced { RowOrder::Passes } else { RowOrder::TopDown };
    let factor = usize::try_from(shrink).unwrap_or(1);
    let mut boxes = Boxes::new(size, factor, samples, order).ok_or_else(|| work.no_memory())?;
    let whole = match order {
        RowOrder::TopDown => rows(work, &mut reader, &mut boxes, ((0, 0), (1, 1)))?,
        RowOrder::Passes => {
            let mut whole = true;
            for pass in ADAM7 {
                whole = whole && rows(work, &mut reader, &mut boxes, pass)?;
            }
            whole
        }
    };
    let fills = |side: u32| f64::from(side) / f64::from(shrink);
    let filled = (fills(work.probe.width), fills(work.probe.height));
    let icc = reader.info().icc_profile.as_ref().map(|profile| profile.to_vec());
    Ok(Decoded { pixels: boxes.finish(), filled, icc, truncated: !whole })
}

/// Adds the rows of a pass; whether none is missing.
fn rows(
    work: &Work<'_>,
    reader: &mut Reader<Cursor<&[u8]>>,
    boxes: &mut Boxes,
    ((x, first), (step, down)): ((usize, usize), (usize, usize)),
) -> Result<bool, Fault> {
    let (width, height) = work.size()?;
    if x >= width {
        return Ok(true);
    }
    for y in (first..height).step_by(down) {
        // 32 rows of a common picture take less than a millisecond; where rows are long, there are few.
        if y / down % 32 == 0 {
            work.in_time()?;
        }
        match reader.next_row() {
            Ok(Some(row)) => boxes.add(row.data(), Place { y, x, step }),
            Ok(None) | Err(_) if (x, y) == (0, 0) => {
                return Err(work.corrupt("ends before its first row, or is broken there"));
            }
            Ok(None) | Err(_) => {
                boxes.cut(y);
                return Ok(false);
            }
        }
    }
    Ok(true)
}
