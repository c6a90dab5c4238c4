//! What is to be drawn: from the picture's size and the specs to crops, sides, canvases, and which is drawn from which.
//!
//! Pure geometry, in the picture as seen (after its orientation); no pixel is touched here. Called by `pipeline`, and
//! by whoever wants to know what a decoder has to deliver before there is anything to decode.

use crate::base::thumbnail::{Fit, NamedSize, ThumbnailSpec};

use super::decode::Needed;
use super::made::Orientation;

/// A size is drawn from a larger one, rather than from the picture, when it has at most this part of its pixels a side.
/// Two rounds of Lanczos3 with a step of 1.5 between them differ from one round by less than JPEG's quality 80 does.
const STEP_MIN: f64 = 1.5;

/// The placeholder's copy of the picture fits into a square of this side. Thumbhash keeps at most 7 waves a side.
const PLACEHOLDER_SIDE: u32 = 50;

/// A part of a picture, in its pixels; sides may fall between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    /// From the left edge.
    pub left: f64,
    /// From the top edge.
    pub top: f64,
    /// Across.
    pub width: f64,
    /// Down.
    pub height: f64,
}

/// What something is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The picture, as it was decoded.
    Picture,
    /// An earlier one of [`Plan::draws`].
    Draw(usize),
}

/// The part `crop` of the picture as seen, drawn with `width` by `height` pixels, never more than it has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// From what.
    pub origin: Origin,
    /// Which part; in pixels of the whole picture, whatever it is drawn from.
    pub crop: Crop,
    /// In pixels, 1 at least.
    pub width: u32,
    /// In pixels, 1 at least.
    pub height: u32,
}

/// Where one size comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The index in [`Plan::draws`].
    pub draw: usize,
    /// The sides of the box in whose middle it stands ([`Fit::Contain`]), if it stands in one.
    pub canvas: Option<(u32, u32)>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The picture's sides as seen.
    pub seen: (u32, u32),
    /// Everything that is drawn, the densest first, nothing twice.
    pub draws: Vec<Draw>,
    /// For each size, in the order in which they were given.
    pub sizes: Vec<Placed>,
    /// The index of the small copy of the whole picture that the placeholder is made of.
    pub placeholder: usize,
}

impl Plan {
    /// For a picture of the sides `seen`, both 1 at least.
    pub fn new(seen: (u32, u32), sizes: &[NamedSize]) -> Self {
        let wanted: Vec<(Draw, Option<(u32, u32)>)> =
            sizes.iter().map(|size| fit(seen, &size.spec)).collect();
        let (tiny, _) = fit(seen, &ThumbnailSpec::inside(PLACEHOLDER_SIDE, PLACEHOLDER_SIDE));
        let draws = cascade(wanted.iter().map(|(draw, _)| *draw).chain([tiny]).collect());
        let index = |wanted: &Draw| draws.iter().take_while(|draw| !draw.same_pixels(wanted)).count();
        let sizes =
            wanted.iter().map(|(draw, canvas)| Placed { draw: index(draw), canvas: *canvas }).collect();
        let placeholder = index(&tiny);
        Self { seen, draws, sizes, placeholder }
    }

    /// The sides that the whole picture would have, as stored, were it drawn as densely as the densest draw.
    pub fn needed(&self, orientation: Orientation) -> Needed {
        let most = |scale: fn(&Draw) -> f64| self.draws.iter().map(scale).fold(0.0, f64::max);
        let width = side(f64::from(self.seen.0) * most(Draw::across));
        let height = side(f64::from(self.seen.1) * most(Draw::down));
        let (width, height) = orientation.turn((width.min(self.seen.0), height.min(self.seen.1)));
        Needed { width, height }
    }
}

impl Draw {
    /// Drawn pixels a pixel of the picture, across.
    fn across(&self) -> f64 {
        f64::from(self.width) / self.crop.width
    }

    /// Drawn pixels a pixel of the picture, down.
    fn down(&self) -> f64 {
        f64::from(self.height) / self.crop.height
    }

    fn same_pixels(&self, other: &Self) -> bool {
        (self.crop, self.width, self.height) == (other.crop, other.width, other.height)
    }

    /// Whether `parent` shows all of this, and is enough of a step larger to draw it from.
    fn comes_from(&self, parent: &Self) -> bool {
        let part = self.crop.of(parent);
        // A millionth of a pixel is rounding.
        let inside = part.left > -1e-6
            && part.top > -1e-6
            && part.left + part.width < f64::from(parent.width) + 1e-6
            && part.top + part.height < f64::from(parent.height) + 1e-6;
        // One pixel is as small as it gets: of a strip, the thin side takes no step.
        let step = |from: f64, to: u32| to == 1 || from >= STEP_MIN * f64::from(to);
        inside && step(part.width, self.width) && step(part.height, self.height)
    }
}

impl Orientation {
    /// Sides as stored into sides as seen, or back.
    pub fn turn<T>(self, (width, height): (T, T)) -> (T, T) {
        if self.swaps_sides() { (height, width) } else { (width, height) }
    }
}

/// Which part of a picture is drawn how large, and on which canvas.
///
/// The numbers are those of `sharp` with `withoutEnlargement`: rounded to the nearest, never 0.
fn fit((width, height): (u32, u32), spec: &ThumbnailSpec) -> (Draw, Option<(u32, u32)>) {
    let (picture_width, picture_height) = (f64::from(width), f64::from(height));
    let across = f64::from(spec.width) / picture_width;
    let down = f64::from(spec.height) / picture_height;
    let origin = Origin::Picture;
    let whole = Crop { left: 0.0, top: 0.0, width: picture_width, height: picture_height };
    if spec.fit == Fit::Cover {
        let scale = across.max(down).min(1.0);
        let (drawn_width, drawn_height) = (spec.width.min(width), spec.height.min(height));
        let crop = if scale < 1.0 {
            whole.middle(f64::from(drawn_width) / scale, f64::from(drawn_height) / scale)
        } else {
            // Nothing is resized: the crop keeps to the pixels.
            let crop = whole.middle(f64::from(drawn_width), f64::from(drawn_height));
            Crop { left: crop.left.floor(), top: crop.top.floor(), ..crop }
        };
        return (Draw { origin, crop, width: drawn_width, height: drawn_height }, None);
    }
    let scale = across.min(down).min(1.0);
    let (drawn_width, drawn_height) = (side(picture_width * scale), side(picture_height * scale));
    let canvas = (spec.fit == Fit::Contain).then_some((spec.width, spec.height));
    (Draw { origin, crop: whole, width: drawn_width, height: drawn_height }, canvas)
}

impl Crop {
    /// The same part in the pixels of `drawn`, which shows it.
    #[must_use]
    pub fn of(&self, drawn: &Draw) -> Self {
        let (across, down) = (drawn.across(), drawn.down());
        Self {
            left: (self.left - drawn.crop.left) * across,
            top: (self.top - drawn.crop.top) * down,
            width: self.width * across,
            height: self.height * down,
        }
    }

    /// The part of `width` by `height` in the middle, or all of a side that is shorter.
    fn middle(&self, width: f64, height: f64) -> Self {
        let (width, height) = (width.min(self.width), height.min(self.height));
        Self { left: (self.width - width) / 2.0, top: (self.height - height) / 2.0, width, height }
    }
}

/// Sorts by density, drops what is there already, and lets each be drawn from the smallest that will do.
fn cascade(mut wanted: Vec<Draw>) -> Vec<Draw> {
    let density = |draw: &Draw| draw.across() * draw.down();
    wanted.sort_by(|one, other| density(other).total_cmp(&density(one)));
    let mut draws: Vec<Draw> = Vec::with_capacity(wanted.len());
    for mut draw in wanted {
        if draws.iter().any(|known| known.same_pixels(&draw)) {
            continue;
        }
        if let Some(parent) = draws.iter().rposition(|parent| draw.comes_from(parent)) {
            draw.origin = Origin::Draw(parent);
        }
        draws.push(draw);
    }
    draws
}

/// Pixels a side: the nearest whole number, 1 at least.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32, rounded, fits")]
fn side(length: f64) -> u32 {
    (length.round() as u32).max(1)
}
