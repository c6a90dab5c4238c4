//! Rows that stream by, averaged in square boxes of pixels: colors weighed by their opacity, so that what cannot be
//! seen does not show.
//!
//! Rows may come from the top down (then one row of sums is held) or in passes (then a sum for each box is).

use std::ops::Range;

use crate::imaging::pixels::zeroed;
use crate::imaging::{Layout, Pixels};

/// What the samples of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Samples {
    Gray,
    GrayAlpha,
    Rgb,
    Rgba,
}

/// In which order rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOrder {
    TopDown,
    Passes,
}

/// Where the samples of a row belong: in row `y`, at `x`, `x + step`, `x + 2 * step`…
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) y: usize,
    pub(super) x: usize,
    pub(super) step: usize,
}

/// Of a box: how many pixels, their opacities, their colors times their opacities.
type Sums = [u32; 5];

pub(super) struct Boxes {
    height: usize,
    /// How many pixels, across and down, become one.
    shrink: usize,
    samples: Samples,
    order: RowOrder,
    sums: Vec<Sums>,
    /// How many boxes.
    across: usize,
    down: usize,
    out: Vec<u8>,
}

impl Samples {
    /// What they are handed on as.
    pub(super) const fn layout(self) -> Layout {
        match self {
            Self::Gray => Layout::Gray,
            Self::Rgb => Layout::Rgb,
            Self::GrayAlpha | Self::Rgba => Layout::Rgba,
        }
    }
}

impl Boxes {
    /// For a picture of `width` by `height`, in boxes of `shrink` (256 at most: more would overflow the sums); `None`
    /// if there is no memory.
    pub(super) fn new(
        (width, height): (usize, usize),
        shrink: usize,
        samples: Samples,
        order: RowOrder,
    ) -> Option<Self> {
        let (across, down) = (width.div_ceil(shrink), height.div_ceil(shrink));
        let out = zeroed(across.checked_mul(down)?.checked_mul(samples.layout().channels())?)?;
        let rows = match order {
            _ if shrink == 1 => 0,
            RowOrder::TopDown => 1,
            RowOrder::Passes => down,
        };
        let mut sums = Vec::new();
        sums.try_reserve_exact(rows * across).ok()?;
        sums.resize(rows * across, [0; 5]);
        Some(Self { height, shrink, samples, order, sums, across, down, out })
    }

    /// Takes in a row; what does not belong to the picture is left out.
    pub(super) fn add(&mut self, row: &[u8], place: Place) {
        if place.y >= self.height {
            return;
        }
        match self.samples {
            Samples::Gray => self.add_samples::<1>(row, place, |[gray]| [255, gray, gray, gray]),
            Samples::GrayAlpha => {
                self.add_samples::<2>(row, place, |[gray, alpha]| [alpha, gray, gray, gray]);
            }
            Samples::Rgb => self.add_samples::<3>(row, place, |[red, green, blue]| [255, red, green, blue]),
            Samples::Rgba => {
                self.add_samples::<4>(row, place, |[red, green, blue, alpha]| [alpha, red, green, blue]);
            }
        }
        let ends_box = place.y % self.shrink == self.shrink - 1 || place.y + 1 == self.height;
        if self.shrink > 1 && self.order == RowOrder::TopDown && ends_box {
            self.flush(place.y / self.shrink, 0..self.across);
        }
    }

    fn add_samples<const N: usize>(&mut self, row: &[u8], place: Place, seen: impl Fn([u8; N]) -> [u8; 4]) {
        let (pixels, _) = row.as_chunks::<N>();
        let box_row = place.y / self.shrink;
        if self.shrink == 1 {
            let channels = self.samples.layout().channels();
            let out = &mut self.out[box_row * self.across * channels..][..self.across * channels];
            let targets = out.chunks_exact_mut(channels).skip(place.x).step_by(place.step);
            targets.zip(pixels).for_each(|(target, pixel)| write(target, seen(*pixel)));
            return;
        }
        let first = if self.order == RowOrder::TopDown { 0 } else { box_row * self.across };
        let sums = &mut self.sums[first..first + self.across];
        if place.step == 1 {
            for (sum, pixels) in sums.iter_mut().zip(pixels.chunks(self.shrink)) {
                for pixel in pixels {
                    add(sum, seen(*pixel));
                }
            }
        } else {
            for (index, pixel) in pixels.iter().enumerate() {
                if let Some(sum) = sums.get_mut((place.x + index * place.step) / self.shrink) {
                    add(sum, seen(*pixel));
                }
            }
        }
    }

    /// Writes a row of boxes out and begins it anew.
    fn flush(&mut self, box_row: usize, sums: Range<usize>) {
        let channels = self.samples.layout().channels();
        let out = self.out.chunks_exact_mut(channels).skip(box_row * self.across);
        for (target, sum) in out.zip(&mut self.sums[sums]) {
            write(target, mean(*sum));
            *sum = [0; 5];
        }
    }

    /// No row from `y` on comes any more: the last box of those from the top down is as full as it gets.
    pub(super) fn cut(&mut self, y: usize) {
        if self.shrink > 1 && self.order == RowOrder::TopDown && !y.is_multiple_of(self.shrink) {
            self.flush(y / self.shrink, 0..self.across);
        }
    }

    /// The small picture. Boxes that no pixel came for are black or transparent.
    pub(super) fn finish(mut self) -> Pixels {
        if self.order == RowOrder::Passes && self.shrink > 1 {
            for row in 0..self.down {
                self.flush(row, row * self.across..(row + 1) * self.across);
            }
        }
        let side =
            |side: usize| u32::try_from(side).expect("INVARIANT: no longer than the picture's side, an u32");
        let (width, height) = (side(self.across), side(self.down));
        Pixels { width, height, layout: self.samples.layout(), data: self.out }
    }
}

/// `pixel` is opacity, red, green, blue.
fn write(target: &mut [u8], [alpha, red, green, blue]: [u8; 4]) {
    match target {
        [gray] => *gray = red,
        [a, b, c] => (*a, *b, *c) = (red, green, blue),
        [a, b, c, d] => (*a, *b, *c, *d) = (red, green, blue, alpha),
        _ => {}
    }
}

fn add(sums: &mut Sums, [alpha, red, green, blue]: [u8; 4]) {
    let weight = u32::from(alpha);
    sums[0] += 1;
    sums[1] += weight;
    sums[2] += weight * u32::from(red);
    sums[3] += weight * u32::from(green);
    sums[4] += weight * u32::from(blue);
}

fn mean([count, alpha, red, green, blue]: Sums) -> [u8; 4] {
    let rounded = |sum: u32, of: u32| {
        let of = u64::from(of.max(1));
        u8::try_from((u64::from(sum) + of / 2) / of).unwrap_or(255)
    };
    [rounded(alpha, count), rounded(red, alpha), rounded(green, alpha), rounded(blue, alpha)]
}
