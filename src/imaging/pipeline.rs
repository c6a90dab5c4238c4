//! The way of a picture through the house, step by step: from its bytes to every thumbnail.
//!
//! Nothing is decided here but the order. Called by `media`, on a thread that is meant for it.

use std::borrow::Cow;
use std::time::Instant;

use bytes::Bytes;

use crate::base::thumbnail::{Color, NamedSize, OutputFormat, ThumbnailSpec};

use super::color::Conversion;
use super::flatten::{flatten, pad};
use super::orient::{as_stored, orient};
use super::placeholder::placeholder;
use super::plan::{Origin, Placed, Plan};
use super::resize::{Source, shrink};
use super::{
    Decoded, Encoding, Fault, Layout, Limits, Made, Orientation, Picture, Pixels, Probe, Reason, Stages,
    Thumbnail, decode, encode, price, probe,
};

/// Makes every one of `sizes` of the picture that `source`, a whole file, holds: decodes it once.
///
/// Takes at most what [`price()`] says beside `source`, and ends soon after `deadline`.
///
/// # Errors
/// All [`Reason`]s but `Crashed`, unless an encoder fails; a decoder that panics does so through this function.
pub fn make(source: &[u8], sizes: &[NamedSize], limits: &Limits, deadline: Instant) -> Result<Made, Fault> {
    let probe = probe(source)?;
    let plan = plan(&probe, sizes);
    let needed = plan.needed(probe.orientation);
    price(&probe, needed, limits)?;

    let started = Instant::now();
    let decoded = decode(source, &probe, needed, limits, deadline)?;
    let (truncated, decoded_at) = (decoded.truncated, Instant::now());

    let drawn = draw(decoded, &plan, probe.orientation, deadline)?;
    let (thumbhash, average_color) = placeholder(&drawn[plan.placeholder]);
    let drawn_at = Instant::now();

    let thumbnails = finish(&drawn, &plan, sizes, deadline)?;
    let stages =
        Stages { decode: decoded_at - started, resize: drawn_at - decoded_at, encode: drawn_at.elapsed() };

    let picture = Picture {
        width: plan.seen.0,
        height: plan.seen.1,
        format: probe.format.as_str(),
        orientation: probe.orientation,
        has_alpha: drawn[plan.placeholder].layout == Layout::Rgba,
        frames: probe.frames,
        thumbhash,
        average_color,
    };
    Ok(Made { picture, thumbnails, truncated, stages })
}

/// What is to be drawn of a picture of which the headers are known.
pub fn plan(probe: &Probe, sizes: &[NamedSize]) -> Plan {
    Plan::new(probe.orientation.turn((probe.width, probe.height)), sizes)
}

/// Everything that is planned: upright, in sRGB, with alpha only where something is transparent.
///
/// # Errors
/// `TimedOut`.
pub fn draw(
    decoded: Decoded,
    plan: &Plan,
    orientation: Orientation,
    deadline: Instant,
) -> Result<Vec<Pixels>, Fault> {
    let mut source = Source::new(decoded.pixels, decoded.filled, orientation.turn(plan.seen));
    let conversion = Conversion::new(source.layout(), decoded.icc.as_deref());
    let mut drawn: Vec<Pixels> = Vec::with_capacity(plan.draws.len());
    for draw in &plan.draws {
        in_time(deadline)?;
        drawn.push(match draw.origin {
            Origin::Picture => {
                let crop = as_stored(draw.crop, plan.seen, orientation);
                let (width, height) = orientation.turn((draw.width, draw.height));
                orient(conversion.apply(source.draw(crop, width, height)), orientation)
            }
            Origin::Draw(parent) => {
                let crop = draw.crop.of(&plan.draws[parent]);
                shrink(&drawn[parent], crop, draw.width, draw.height)
            }
        });
    }
    Ok(drawn)
}

/// Every size on its background, encoded; those that are alike are encoded once.
fn finish(
    drawn: &[Pixels],
    plan: &Plan,
    sizes: &[NamedSize],
    deadline: Instant,
) -> Result<Vec<Thumbnail>, Fault> {
    let mut thumbnails: Vec<Thumbnail> = Vec::with_capacity(sizes.len());
    for (index, (size, placed)) in sizes.iter().zip(&plan.sizes).enumerate() {
        in_time(deadline)?;
        let pixels = &drawn[placed.draw];
        let alike =
            |other: &usize| plan.sizes[*other] == *placed && looks(&sizes[*other].spec) == looks(&size.spec);
        let bytes = match (0..index).find(alike) {
            Some(other) => thumbnails[other].bytes.clone(),
            None => encode_on_background(pixels, placed, &size.spec)?,
        };
        let (width, height) = placed.canvas.unwrap_or((pixels.width, pixels.height));
        let (_, content_type) = encoding(&size.spec, pixels.layout);
        thumbnails.push(Thumbnail { name: size.name.clone(), width, height, content_type, bytes });
    }
    Ok(thumbnails)
}

/// All of a spec that is not geometry.
fn looks(spec: &ThumbnailSpec) -> (OutputFormat, u8, Color) {
    (spec.format, spec.quality, spec.background)
}

fn encode_on_background(pixels: &Pixels, placed: &Placed, spec: &ThumbnailSpec) -> Result<Bytes, Fault> {
    let (encoding, _) = encoding(spec, pixels.layout);
    let mut pixels = Cow::Borrowed(pixels);
    if pixels.layout == Layout::Rgba && matches!(encoding, Encoding::Jpeg { .. }) {
        pixels = Cow::Owned(flatten(&pixels, spec.background));
    }
    if let Some(canvas) = placed.canvas.filter(|canvas| *canvas != (pixels.width, pixels.height)) {
        pixels = Cow::Owned(pad(&pixels, canvas, spec.background));
    }
    encode(&pixels, encoding)
}

/// What a picture of `layout` is encoded as, and how HTTP calls that.
fn encoding(spec: &ThumbnailSpec, layout: Layout) -> (Encoding, &'static str) {
    let quality = spec.quality;
    match spec.format {
        OutputFormat::Auto if layout != Layout::Rgba => (Encoding::Jpeg { quality }, "image/jpeg"),
        OutputFormat::Jpeg => (Encoding::Jpeg { quality }, "image/jpeg"),
        OutputFormat::Auto | OutputFormat::WebP => (Encoding::WebP { quality }, "image/webp"),
        OutputFormat::Png => (Encoding::Png, "image/png"),
    }
}

fn in_time(deadline: Instant) -> Result<(), Fault> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(Fault::new(Reason::TimedOut, "the picture takes longer than allowed"))
}
