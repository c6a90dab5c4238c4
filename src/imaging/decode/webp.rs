//! WebP: scaled while it is decoded, to twice what is needed; of an animation the first frame on its canvas.

use super::{Needed, Work, vp8l};
use crate::imaging::libwebp;
use crate::imaging::probe::webp::{FirstFrame, Headers, TABLES_BYTES};
use crate::imaging::{Decoded, Fault, Layout, Pixels, Probe, Reason};

/// The size that it is decoded at, for the canvas as a whole.
pub(in crate::imaging) fn scaled(probe: &Probe, needed: Needed) -> (u32, u32) {
    let (width, height) = (u64::from(probe.width), u64::from(probe.height));
    let (enough_width, enough_height) =
        (2 * u64::from(needed.width.max(1)), 2 * u64::from(needed.height.max(1)));
    // The side that must shrink less rules; the other follows, rounded up.
    let (width, height) = if enough_width * height >= enough_height * width {
        (enough_width, (enough_width * height).div_ceil(width))
    } else {
        ((enough_height * width).div_ceil(height), enough_height)
    };
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(width), Ok(height)) if width < probe.width && height < probe.height => (width, height),
        _ => (probe.width, probe.height),
    }
}

pub(super) fn decode(work: &Work<'_>) -> Result<Decoded, Fault> {
    let headers = Headers::read(work.source);
    let canvas = (work.probe.width, work.probe.height);
    let size = scaled(work.probe, work.needed);
    if let Some(packed) = headers.packed() {
        let tables = vp8l::table_bytes(packed)
            .ok_or_else(|| work.corrupt("ends before its first row, or is broken there"))?;
        if tables > TABLES_BYTES {
            let detail = "the tables that the picture is packed with take more memory than allowed";
            return Err(Fault::new(Reason::TooLarge, detail));
        }
    }
    let (pixels, truncated) = match headers.frame {
        None => picture(work, work.source, canvas, size)?,
        Some(frame) if frame.covers(canvas) => picture(work, frame.chunks, canvas, size)?,
        Some(frame) => composed(work, frame, canvas)?,
    };
    let filled = (f64::from(pixels.width), f64::from(pixels.height));
    Ok(Decoded { pixels, filled, icc: headers.icc.map(<[u8]>::to_vec), truncated })
}

/// The one picture in `data`, which must have the size that the price was made for.
fn picture(
    work: &Work<'_>,
    data: &[u8],
    expected: (u32, u32),
    (width, height): (u32, u32),
) -> Result<(Pixels, bool), Fault> {
    if libwebp::size(data) != Some(expected) {
        return Err(work.corrupt("is broken at its beginning"));
    }
    let with_alpha = work.probe.has_alpha;
    let mut late = Ok(());
    let decoded = libwebp::decode(data, (width, height), with_alpha, || {
        late = work.in_time();
        late.is_ok()
    });
    late?;
    let decoded = decoded.ok_or_else(|| work.corrupt("does not decode"))?;
    if decoded.rows == 0 {
        return Err(work.corrupt("ends before its first row, or is broken there"));
    }
    let layout = if with_alpha { Layout::Rgba } else { Layout::Rgb };
    let truncated = u32::try_from(decoded.rows).is_ok_and(|rows| rows < height);
    Ok((Pixels { width, height, layout, data: decoded.data }, truncated))
}

/// A frame that does not fill its canvas, at full size, on nothing (what else browsers show there).
fn composed(work: &Work<'_>, frame: FirstFrame<'_>, canvas: (u32, u32)) -> Result<(Pixels, bool), Fault> {
    let inside = |at: u32, side: u32, of: u32| at.checked_add(side).is_some_and(|end| end <= of);
    if !inside(frame.x, frame.width, canvas.0) || !inside(frame.y, frame.height, canvas.1) {
        return Err(work.corrupt("has a first frame outside of its canvas"));
    }
    let size = (frame.width, frame.height);
    let (picture, truncated) = picture(work, frame.chunks, size, size)?;
    Ok((super::on_canvas(&picture, (frame.x, frame.y), canvas).ok_or_else(|| work.no_memory())?, truncated))
}
