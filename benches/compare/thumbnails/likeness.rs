//! How like its picture a thumbnail is: structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004) of luma, against
//! the best thumbnail that can be had: the whole picture decoded, one Lanczos3 step in floating point, not encoded.
//!
//! Both are made here, plainly and slowly, so that nobody under comparison is the measure of it. Called by the module
//! above.

use std::f64::consts::PI;
use std::time::{Duration, Instant};

use cifra::imaging::{self, Layout, Limits, Needed, Pixels};

use crate::{Result, fail};

/// Lobes of the kernel on each side.
const LOBES: f64 = 3.0;
/// The window: 11 pixels wide, a Gaussian of 1.5, and the constants K1 = 0.01 and K2 = 0.03, as in the paper.
const RADIUS: usize = 5;
const SIGMA: f64 = 1.5;
const C1: f64 = 0.01 * 255.0 * 0.01 * 255.0;
const C2: f64 = 0.03 * 255.0 * 0.03 * 255.0;

/// A whole picture, to compare with.
pub(super) struct Reference {
    channels: [Plane; 3],
    /// What was made of it so far: everybody's thumbnails are of the same few sizes.
    shrunk: Vec<Plane>,
}

/// One value a pixel.
struct Plane {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Reference {
    pub(super) fn new(source: &[u8]) -> Result<Self> {
        Ok(Self { channels: planes(&decode(source)?), shrunk: Vec::new() })
    }

    /// 1 is the same, 0 has nothing to do with it. `encoded` is the whole picture, upright, smaller.
    pub(super) fn likeness_of(&mut self, encoded: &[u8]) -> Result<f64> {
        let seen = luma(&planes(&decode(encoded)?));
        Ok(similarity(self.shrunk_to(seen.width, seen.height), &seen))
    }

    fn shrunk_to(&mut self, width: usize, height: usize) -> &Plane {
        let fits = |plane: &Plane| (plane.width, plane.height) == (width, height);
        let at = self.shrunk.iter().position(fits).unwrap_or_else(|| {
            let channels = self.channels.each_ref().map(|plane| shrink(plane, width, height));
            self.shrunk.push(luma(&channels));
            self.shrunk.len() - 1
        });
        &self.shrunk[at]
    }
}

/// All pixels, as three channels.
fn decode(source: &[u8]) -> Result<Pixels> {
    let probe = imaging::probe(source)?;
    let whole = Needed { width: probe.width, height: probe.height };
    let deadline = Instant::now() + Duration::from_mins(1);
    // The price counts what would be drawn of it, which here would be all.
    let limits = Limits { memory_max: u64::MAX, ..Limits::default() };
    let pixels = imaging::decode(source, &probe, whole, &limits, deadline)?.pixels;
    if pixels.layout != Layout::Rgb || (pixels.width, pixels.height) != (probe.width, probe.height) {
        return fail("the pictures to compare are whole and RGB".to_owned());
    }
    Ok(pixels)
}

fn planes(pixels: &Pixels) -> [Plane; 3] {
    std::array::from_fn(|channel| Plane {
        width: pixels.width as usize,
        height: pixels.height as usize,
        values: pixels.data.iter().skip(channel).step_by(3).copied().map(f32::from).collect(),
    })
}

/// ITU-R BT.601, as in JPEG. Channels beyond black and white are cut, as they are in any picture of 8 bits.
fn luma([red, green, blue]: &[Plane; 3]) -> Plane {
    let cut = |value: f32| value.clamp(0.0, 255.0);
    let values = red.values.iter().zip(&green.values).zip(&blue.values);
    let values = values.map(|((r, g), b)| 0.299 * cut(*r) + 0.587 * cut(*g) + 0.114 * cut(*b)).collect();
    Plane { width: red.width, height: red.height, values }
}

fn shrink(plane: &Plane, width: usize, height: usize) -> Plane {
    transposed_rows(&transposed_rows(plane, height), width)
}

/// Shrinks the columns to `height` pixels and swaps the sides: done twice, both directions are through, and the
/// memory is walked along rows.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places in a column, small weights"
)]
fn transposed_rows(plane: &Plane, height: usize) -> Plane {
    let scale = plane.height as f64 / height as f64;
    let mut values = vec![0.0; plane.width * height];
    let mut row = vec![0.0_f32; plane.width];
    for y in 0..height {
        let center = (y as f64 + 0.5) * scale;
        let first = (center - LOBES * scale).ceil().max(0.0) as usize;
        let last = ((center + LOBES * scale).floor() as usize).min(plane.height);
        let weights: Vec<f64> = (first..last).map(|at| lanczos((at as f64 + 0.5 - center) / scale)).collect();
        let sum: f64 = weights.iter().sum();
        row.fill(0.0);
        for (at, weight) in (first..last).zip(weights) {
            let weight = (weight / sum) as f32;
            for (to, from) in row.iter_mut().zip(&plane.values[at * plane.width..][..plane.width]) {
                *to += weight * from;
            }
        }
        for (x, value) in row.iter().enumerate() {
            values[x * height + y] = *value;
        }
    }
    Plane { width: height, height: plane.width, values }
}

fn lanczos(x: f64) -> f64 {
    if x.abs() < 1e-9 {
        return 1.0;
    }
    if x.abs() >= LOBES {
        return 0.0;
    }
    let angle = PI * x;
    LOBES * angle.sin() * (angle / LOBES).sin() / (angle * angle)
}

/// The mean over all windows that fit.
fn similarity(one: &Plane, other: &Plane) -> f64 {
    let side = 2 * RADIUS + 1;
    let bell = |at: usize| (-(at as f64 - RADIUS as f64).powi(2) / (2.0 * SIGMA * SIGMA)).exp();
    let sum: f64 = (0..side).map(bell).sum();
    let weights: Vec<f64> = (0..side).map(|at| bell(at) / sum).collect();
    let mut total = 0.0;
    let (columns, rows) = (one.width + 1 - side, one.height + 1 - side);
    for y in 0..rows {
        for x in 0..columns {
            total += window(one, other, x, y, &weights);
        }
    }
    total / (columns * rows) as f64
}

fn window(one: &Plane, other: &Plane, left: usize, top: usize, weights: &[f64]) -> f64 {
    let [mut mean, mut other_mean, mut square, mut other_square, mut product] = [0.0; 5];
    for (down, outer) in weights.iter().enumerate() {
        let start = (top + down) * one.width + left;
        let pairs = one.values[start..].iter().zip(&other.values[start..]);
        for ((value, other_value), inner) in pairs.zip(weights) {
            let (value, other_value) = (f64::from(*value), f64::from(*other_value));
            let weight = outer * inner;
            mean += weight * value;
            other_mean += weight * other_value;
            square += weight * value * value;
            other_square += weight * other_value * other_value;
            product += weight * value * other_value;
        }
    }
    let means = mean * other_mean;
    let squares = mean * mean + other_mean * other_mean;
    let variances = square + other_square - squares;
    (2.0 * means + C1) * (2.0 * (product - means) + C2) / ((squares + C1) * (variances + C2))
}
