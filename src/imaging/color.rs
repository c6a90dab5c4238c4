//! From the colors that a picture's profile (ICC.1) speaks of to sRGB, which thumbnails are in without saying so.
//!
//! Done on the small picture, after resizing; `pipeline` calls it. A profile that is broken, or speaks of another kind
//! of color than the picture has, is passed over: the picture is taken for sRGB, as browsers do.

use std::sync::{Arc, Mutex, PoisonError};

use moxcms::{ColorProfile, DataColorSpace, ParsingOptions, Transform8BitExecutor, TransformOptions};

use super::inks;
use super::pixels::{Layout, Pixels};

/// A profile larger than this is passed over. Those of printing presses have up to 3 MB.
const PROFILE_MAX_BYTES: usize = 4 << 20;

/// Conversions that were found lately, the last one first. Most photos have one of a handful of profiles, and to work one
/// out takes longer than to use it on a thumbnail.
static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// How many; one takes some 200 KB.
const KNOWN_MAX: usize = 16;

/// A profile larger than this, which has tables for each color rather than curves, is not remembered.
const KNOWN_MAX_BYTES: usize = 16 << 10;

struct Known {
    layout: Layout,
    icc: Vec<u8>,
    conversion: Conversion,
}

/// How one picture's colors become sRGB.
#[derive(Clone)]
pub enum Conversion {
    /// They are.
    None,
    /// Each level of gray has another one.
    Gray(Box<[u8; 256]>),
    /// By the profile.
    Profile(Arc<Transform8BitExecutor>),
    /// CMYK without a profile.
    Inks,
}

impl std::fmt::Debug for Conversion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Gray(_) => "Gray",
            Self::Profile(_) => "Profile",
            Self::Inks => "Inks",
        })
    }
}

impl Conversion {
    /// For pictures of `layout` with this profile. One that changes no color by more than a level counts as sRGB.
    pub fn new(layout: Layout, icc: Option<&[u8]>) -> Self {
        let Some(icc) = icc else { return without_profile(layout) };
        if let Some(known) = known(layout, icc) {
            return known;
        }
        let conversion = by_profile(layout, icc).unwrap_or_else(|| without_profile(layout));
        remember(layout, icc, &conversion);
        conversion
    }

    /// `pixels` in sRGB: gray stays gray, alpha stays as it is, CMYK becomes RGB.
    pub fn apply(&self, mut pixels: Pixels) -> Pixels {
        match self {
            Self::None => pixels,
            Self::Inks => {
                let data = inks::to_srgb(pixels.data.as_chunks().0).into_flattened();
                Pixels { layout: Layout::Rgb, data, ..pixels }
            }
            Self::Gray(levels) => {
                match pixels.layout {
                    Layout::Gray => relevel(pixels.data.as_chunks_mut::<1>().0, levels),
                    Layout::Rgb => relevel(pixels.data.as_chunks_mut::<3>().0, levels),
                    Layout::Rgba => relevel(pixels.data.as_chunks_mut::<4>().0, levels),
                    Layout::Cmyk => {}
                }
                pixels
            }
            Self::Profile(profile) => {
                let layout = if pixels.layout == Layout::Cmyk { Layout::Rgb } else { pixels.layout };
                let mut data = vec![0; pixels.data.len() / pixels.layout.channels() * layout.channels()];
                match profile.transform(&pixels.data, &mut data) {
                    Ok(()) => Pixels { layout, data, ..pixels },
                    Err(_) if pixels.layout == Layout::Cmyk => Self::Inks.apply(pixels),
                    Err(_) => pixels,
                }
            }
        }
    }
}

fn without_profile(layout: Layout) -> Conversion {
    if layout == Layout::Cmyk { Conversion::Inks } else { Conversion::None }
}

fn known(layout: Layout, icc: &[u8]) -> Option<Conversion> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let index = known.iter().position(|known| known.layout == layout && known.icc == icc)?;
    known[..=index].rotate_right(1);
    Some(known[0].conversion.clone())
}

fn remember(layout: Layout, icc: &[u8], conversion: &Conversion) {
    if icc.len() <= KNOWN_MAX_BYTES {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.truncate(KNOWN_MAX - 1);
        known.insert(0, Known { layout, icc: icc.to_vec(), conversion: conversion.clone() });
    }
}

/// `None` if the profile is to be passed over.
fn by_profile(layout: Layout, icc: &[u8]) -> Option<Conversion> {
    let profile = parse(icc)?;
    match (layout, profile.color_space) {
        (Layout::Rgb | Layout::Rgba, DataColorSpace::Rgb) | (Layout::Cmyk, DataColorSpace::Cmyk) => {
            by_color(layout, &profile)
        }
        // A decoder makes colors of gray with alpha, so that a profile for gray may come with colors.
        (Layout::Gray, DataColorSpace::Rgb | DataColorSpace::Gray)
        | (Layout::Rgb | Layout::Rgba, DataColorSpace::Gray) => by_level(&profile),
        _ => None,
    }
}

fn parse(icc: &[u8]) -> Option<ColorProfile> {
    let options = ParsingOptions { max_profile_size: PROFILE_MAX_BYTES, ..ParsingOptions::default() };
    ColorProfile::new_from_slice_with_options(icc, options).ok()
}

fn transform(
    profile: &ColorProfile,
    from: moxcms::Layout,
    to: moxcms::Layout,
) -> Option<Arc<Transform8BitExecutor>> {
    profile.create_transform_8bit(from, &ColorProfile::new_srgb(), to, TransformOptions::default()).ok()
}

fn by_color(layout: Layout, profile: &ColorProfile) -> Option<Conversion> {
    let (from, to) = match layout {
        Layout::Rgb => (moxcms::Layout::Rgb, moxcms::Layout::Rgb),
        Layout::Rgba => (moxcms::Layout::Rgba, moxcms::Layout::Rgba),
        Layout::Cmyk => (moxcms::Layout::Rgba, moxcms::Layout::Rgb), // moxcms has one layout for all of four channels
        Layout::Gray => return None,
    };
    let transform = transform(profile, from, to)?;
    if layout == Layout::Cmyk {
        return Some(Conversion::Profile(transform));
    }
    let levels = [0, 26, 77, 128, 204, 255];
    let probes: Vec<[u8; 4]> =
        (0..216).map(|i| [levels[i % 6], levels[i / 6 % 6], levels[i / 36], u8::MAX]).collect();
    let channels = layout.channels();
    let given: Vec<u8> = probes.iter().flat_map(|probe| &probe[..channels]).copied().collect();
    let mut seen = vec![0; given.len()];
    transform.transform(&given, &mut seen).ok()?;
    let same = given.iter().zip(&seen).all(|(given, seen)| given.abs_diff(*seen) <= 1);
    Some(if same { Conversion::None } else { Conversion::Profile(transform) })
}

/// What the profile makes of each level of gray.
fn by_level(profile: &ColorProfile) -> Option<Conversion> {
    let (layout, channels) = match profile.color_space {
        DataColorSpace::Gray => (moxcms::Layout::Gray, 1),
        _ => (moxcms::Layout::Rgb, 3),
    };
    let given: Vec<u8> = (0..=u8::MAX).flat_map(|level| std::iter::repeat_n(level, channels)).collect();
    let mut seen = vec![0; 256 * 3];
    transform(profile, layout, moxcms::Layout::Rgb)?.transform(&given, &mut seen).ok()?;
    let mut levels = Box::new([0; 256]);
    for (level, [_, green, _]) in levels.iter_mut().zip(seen.as_chunks().0) {
        *level = *green;
    }
    let same = (0..=u8::MAX).zip(levels.iter()).all(|(given, seen)| given.abs_diff(*seen) <= 1);
    Some(if same { Conversion::None } else { Conversion::Gray(levels) })
}

/// Gives gray, which may be told in colors and have alpha, other levels; a picture with any color stays as it is.
fn relevel<const N: usize>(pixels: &mut [[u8; N]], levels: &[u8; 256]) {
    let colors = N.min(3);
    if pixels.iter().all(|pixel| pixel[..colors].iter().all(|level| *level == pixel[0])) {
        for pixel in pixels {
            let level = levels[usize::from(pixel[0])];
            pixel[..colors].fill(level);
        }
    }
}
