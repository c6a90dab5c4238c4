//! BMP and TIFF, whole, by the `image` crate.

use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, tiff::TiffDecoder};
use image::error::ImageError;
use image::{ColorType, ImageDecoder};

use super::Work;
use crate::imaging::pixels::zeroed;
use crate::imaging::{Decoded, Fault, Layout, Pixels, Reason};

pub(super) fn bmp(work: &Work<'_>) -> Result<Decoded, Fault> {
    let decoder = BmpDecoder::new(Cursor::new(work.source)).map_err(|error| fault(work, &error))?;
    whole(work, decoder)
}

pub(super) fn tiff(work: &Work<'_>) -> Result<Decoded, Fault> {
    let decoder = TiffDecoder::new(Cursor::new(work.source)).map_err(|error| fault(work, &error))?;
    whole(work, decoder)
}

fn whole(work: &Work<'_>, mut decoder: impl ImageDecoder) -> Result<Decoded, Fault> {
    if decoder.dimensions() != (work.probe.width, work.probe.height) {
        return Err(work.corrupt("tells several sizes"));
    }
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(work.limits.memory_max);
    decoder.set_limits(limits).map_err(|error| fault(work, &error))?;
    let color = decoder.color_type();
    let len = usize::try_from(decoder.total_bytes()).map_err(|_| work.no_memory())?;
    let icc = decoder.icc_profile().ok().flatten();
    let mut samples = zeroed(len).ok_or_else(|| work.no_memory())?;
    let failed = decoder.read_image(&mut samples).err();
    if let Some(error) = &failed
        && samples.iter().all(|sample| *sample == 0)
    {
        return Err(fault(work, error));
    }
    let (layout, data) = eight_bits(work, color, samples)?;
    let (width, height) = (work.probe.width, work.probe.height);
    let filled = (f64::from(width), f64::from(height));
    Ok(Decoded { pixels: Pixels { width, height, layout, data }, filled, icc, truncated: failed.is_some() })
}

/// Samples of 8 bits, in place; gray with alpha as red, green, blue and alpha.
fn eight_bits(work: &Work<'_>, color: ColorType, mut samples: Vec<u8>) -> Result<(Layout, Vec<u8>), Fault> {
    match color {
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            narrow(&mut samples, |[low, high]: [u8; 2]| u16::from_ne_bytes([low, high]).to_be_bytes()[0]);
        }
        ColorType::Rgb32F | ColorType::Rgba32F => narrow(&mut samples, |bytes: [u8; 4]| {
            let value = f32::from_ne_bytes(bytes).clamp(0.0, 1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 255; NaN becomes 0"
            )]
            let narrow = (value * 255.0).round() as u8;
            narrow
        }),
        _ => {}
    }
    match color.channel_count() {
        1 => Ok((Layout::Gray, samples)),
        3 => Ok((Layout::Rgb, samples)),
        4 => Ok((Layout::Rgba, samples)),
        _ => {
            let mut wide = zeroed(samples.len() * 2).ok_or_else(|| work.no_memory())?;
            let (pairs, _) = samples.as_chunks::<2>();
            for (target, [gray, alpha]) in wide.chunks_exact_mut(4).zip(pairs) {
                target.copy_from_slice(&[*gray, *gray, *gray, *alpha]);
            }
            Ok((Layout::Rgba, wide))
        }
    }
}

fn narrow<const N: usize>(samples: &mut Vec<u8>, narrowed: impl Fn([u8; N]) -> u8) {
    let count = samples.len() / N;
    for index in 0..count {
        let mut wide = [0; N];
        wide.copy_from_slice(&samples[index * N..(index + 1) * N]);
        samples[index] = narrowed(wide);
    }
    samples.truncate(count);
}

fn fault(work: &Work<'_>, error: &ImageError) -> Fault {
    let name = work.probe.format.as_str();
    match error {
        ImageError::Unsupported(_) => {
            let detail = format!("this kind of {name} picture is not decoded here");
            Fault::new(Reason::UnsupportedFormat, detail)
        }
        ImageError::Limits(_) => Fault::new(
            Reason::TooLarge,
            format!("the {name} picture takes more memory to decode than allowed"),
        ),
        _ => work.corrupt("does not decode"),
    }
}
