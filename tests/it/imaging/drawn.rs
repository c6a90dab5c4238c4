//! Pictures that tests draw, and how alike two are.

use std::time::{Duration, Instant};

use cifra::imaging::{Decoded, Fault, Layout, Limits, Needed, Pixels, decode, probe};

/// A smooth picture with all colors in it: red grows to the right, green downward, blue to the left; alpha, if there
/// is one, downward too. CMYK: the same as inks.
pub(super) fn drawn(width: u32, height: u32, layout: Layout) -> Pixels {
    let mut data = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (red, green) = (part(x, width), part(y, height));
            match layout {
                Layout::Gray => data.push(red),
                Layout::Rgb => data.extend([red, green, 255 - red]),
                Layout::Rgba => data.extend([red, green, 255 - red, green.max(1)]),
                Layout::Cmyk => data.extend([red, green, 255 - red, 0]),
            }
        }
    }
    Pixels { width, height, layout, data }
}

fn part(at: u32, of: u32) -> u8 {
    u8::try_from(255 * at / of.max(2).saturating_sub(1)).unwrap_or(255)
}

/// Decodes at full size.
pub(super) fn whole(file: &[u8]) -> Result<Decoded, Fault> {
    let probe = probe(file)?;
    at_least(file, probe.width, probe.height)
}

/// Decodes for an output that draws `width` by `height` pixels.
pub(super) fn at_least(file: &[u8], width: u32, height: u32) -> Result<Decoded, Fault> {
    let deadline = Instant::now() + Duration::from_mins(1);
    decode(file, &probe(file)?, Needed { width, height }, &Limits::default(), deadline)
}

/// The mean difference of samples, of 255. Both must have the same size and layout.
pub(super) fn difference(one: &Pixels, other: &Pixels) -> f64 {
    assert_eq!((one.width, one.height, one.layout), (other.width, other.height, other.layout));
    assert_eq!(one.data.len(), other.data.len());
    let sum: u64 = one.data.iter().zip(&other.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    f64::from(u32::try_from(sum).unwrap()) / f64::from(u32::try_from(one.data.len()).unwrap())
}
