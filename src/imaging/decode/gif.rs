//! GIF: the first frame, whole, on its canvas.

use gif::{ColorOutput, DecodeOptions, Decoder, MemoryLimit};

use super::Work;
use crate::imaging::{Decoded, Fault, Layout, Pixels};

pub(super) fn decode(work: &Work<'_>) -> Result<Decoded, Fault> {
    let broken = || work.corrupt("ends before its first frame, or is broken there");
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    options.set_memory_limit(MemoryLimit::Bytes(
        std::num::NonZeroU64::MIN.saturating_add(work.limits.memory_max),
    ));
    let mut decoder = options.read_info(work.source).map_err(|_| broken())?;
    let frame = decoder.next_frame_info().ok().flatten().ok_or_else(broken)?;
    let (x, y) = (u32::from(frame.left), u32::from(frame.top));
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    let (row, frame_is_interlaced) = (4 * usize::from(frame.width), frame.interlaced);
    if width == 0 || height == 0 {
        return Err(broken());
    }
    // The price was made for the frame that the probe saw first; should the decoder see another one, it is held to it.
    if 4 * u64::from(width) * u64::from(height) > work.limits.memory_max {
        return Err(work.no_memory());
    }
    let mut data =
        crate::imaging::pixels::zeroed(row * usize::from(frame.height)).ok_or_else(|| work.no_memory())?;
    let whole = if frame_is_interlaced {
        // All of it at once: its rows come in another order.
        decoder.read_into_buffer(&mut data).is_ok()
    } else {
        rows(work, &mut decoder, data.chunks_exact_mut(row))?
    };
    if !whole && data[..row].iter().all(|sample| *sample == 0) {
        return Err(broken());
    }
    let icc = decoder.icc_profile().map(<[u8]>::to_vec);
    let picture = if work.probe.has_alpha {
        Pixels { width, height, layout: Layout::Rgba, data }
    } else {
        Pixels { width, height, layout: Layout::Rgb, data: without_alpha(data) }
    };
    let canvas = (work.probe.width, work.probe.height);
    let pixels = if (x, y, width, height) == (0, 0, canvas.0, canvas.1) {
        picture
    } else {
        super::on_canvas(&picture, (x, y), canvas).ok_or_else(|| work.no_memory())?
    };
    let filled = (f64::from(pixels.width), f64::from(pixels.height));
    Ok(Decoded { pixels, filled, icc, truncated: !whole })
}

/// Fills rows from the top down; whether none is missing.
fn rows<'a>(
    work: &Work<'_>,
    decoder: &mut Decoder<&[u8]>,
    rows: impl Iterator<Item = &'a mut [u8]>,
) -> Result<bool, Fault> {
    for (index, row) in rows.enumerate() {
        if index % 64 == 0 {
            work.in_time()?;
        }
        if !matches!(decoder.fill_buffer(row), Ok(true)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Red, green and blue of pixels that are all opaque, or that are missing.
fn without_alpha(mut data: Vec<u8>) -> Vec<u8> {
    let pixels = data.len() / 4;
    for index in 0..pixels {
        data.copy_within(4 * index..4 * index + 3, 3 * index);
    }
    data.truncate(3 * pixels);
    data
}
