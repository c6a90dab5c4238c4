//! From many pixels to few: Lanczos3, in one go, from any part of a picture.
//!
//! Edges of the part fall where they fall, between pixels too. Colors are weighed by their opacity, so that what
//! nobody sees leaves no dark seam. One thread a picture; its buffers stay with the thread. Called by `pipeline`.

use std::cell::RefCell;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{MulDiv, PixelType, ResizeOptions, Resizer};

use super::pixels::{Layout, Pixels};
use super::plan::Crop;

/// A thread gives back what it has of buffers when it is more than this: one huge picture is no reason to keep them.
const BUFFERS_MAX_BYTES: usize = 16 << 20;

thread_local! {
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// A decoded picture that is to be drawn from, the larger draws first.
#[derive(Debug)]
pub struct Source {
    pixels: Pixels,
    /// Decoded pixels for one of the file's, across and down: 1, or less where it was shrunk.
    scale: (f64, f64),
    alpha: Alpha,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alpha {
    /// There is no such channel.
    None,
    /// There is, and all of it is opaque.
    Opaque,
    /// Colors are as they were stored.
    Straight,
    /// Colors are multiplied by their opacity already.
    Premultiplied,
}

impl Source {
    /// `pixels`, as they were decoded, show a picture that is stored with `width` by `height` of them, and fill
    /// `filled` ([`Decoded::filled`](super::Decoded::filled)). Looks once whether anything is transparent.
    pub fn new(pixels: Pixels, filled: (f64, f64), (width, height): (u32, u32)) -> Self {
        let scale = (filled.0 / f64::from(width), filled.1 / f64::from(height));
        let alpha = match pixels.layout {
            Layout::Rgba if is_opaque(&pixels) => Alpha::Opaque,
            Layout::Rgba => Alpha::Straight,
            Layout::Gray | Layout::Rgb | Layout::Cmyk => Alpha::None,
        };
        Self { pixels, scale, alpha }
    }

    /// What [`Source::draw`] delivers: that of the picture, without an alpha channel that hides nothing.
    pub fn layout(&self) -> Layout {
        if self.alpha == Alpha::Opaque { Layout::Rgb } else { self.pixels.layout }
    }

    /// The part `crop` of the picture as stored, with `width` by `height` pixels. What needs no resizing is copied.
    pub fn draw(&mut self, crop: Crop, width: u32, height: u32) -> Pixels {
        let crop = crop.scaled(self.scale);
        if self.alpha == Alpha::Straight && crop.whole_pixels(width, height).is_none() {
            premultiply(&mut self.pixels);
            self.alpha = Alpha::Premultiplied;
        }
        let mut drawn = resize(&self.pixels, crop, width, height, Opacity::Counted);
        match self.alpha {
            Alpha::None | Alpha::Straight => drawn,
            Alpha::Opaque => without_alpha(&drawn),
            Alpha::Premultiplied => {
                divide(&mut drawn);
                drawn
            }
        }
    }
}

/// The part `crop` of a small picture with `width` by `height` pixels.
pub fn shrink(pixels: &Pixels, crop: Crop, width: u32, height: u32) -> Pixels {
    resize(pixels, crop, width, height, Opacity::ToCount)
}

/// Whether colors have been multiplied by their opacity before, or are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opacity {
    Counted,
    ToCount,
}

fn resize(pixels: &Pixels, crop: Crop, width: u32, height: u32, opacity: Opacity) -> Pixels {
    let kind = pixel_type(pixels.layout);
    let mut drawn = Image::new(width, height, kind);
    let source = ImageRef::new(pixels.width, pixels.height, &pixels.data, kind)
        .expect("INVARIANT: there are as many bytes as pixels");
    let crop = crop.whole_pixels(width, height).unwrap_or(crop).clamp(pixels);
    let options = ResizeOptions::new()
        .crop(crop.left, crop.top, crop.width, crop.height)
        .use_alpha(opacity == Opacity::ToCount && pixels.layout == Layout::Rgba);
    RESIZER.with_borrow_mut(|resizer| {
        resizer.resize(&source, &mut drawn, &options).expect("INVARIANT: the crop lies within the picture");
        if resizer.size_of_internal_buffers() > BUFFERS_MAX_BYTES {
            resizer.reset_internal_buffers();
        }
    });
    Pixels { width, height, layout: pixels.layout, data: drawn.into_vec() }
}

impl Crop {
    fn scaled(&self, (across, down): (f64, f64)) -> Self {
        Self {
            left: self.left * across,
            top: self.top * down,
            width: self.width * across,
            height: self.height * down,
        }
    }

    /// The same part on whole pixels, if it is that already but for rounding and has `width` by `height` of them.
    fn whole_pixels(&self, width: u32, height: u32) -> Option<Self> {
        let (left, top) = (self.left.round(), self.top.round());
        let same = |one: f64, other: f64| (one - other).abs() < 1e-6;
        let whole = Self { left, top, width: f64::from(width), height: f64::from(height) };
        let fits = same(self.width, whole.width)
            && same(self.height, whole.height)
            && same(self.left, left)
            && same(self.top, top);
        fits.then_some(whole)
    }

    /// The same part without what hangs over by rounding.
    fn clamp(self, pixels: &Pixels) -> Self {
        let (across, down) = (f64::from(pixels.width), f64::from(pixels.height));
        let (left, top) = (self.left.max(0.0), self.top.max(0.0));
        Self { left, top, width: self.width.min(across - left), height: self.height.min(down - top) }
    }
}

fn pixel_type(layout: Layout) -> PixelType {
    match layout {
        Layout::Gray => PixelType::U8,
        Layout::Rgb => PixelType::U8x3,
        Layout::Rgba | Layout::Cmyk => PixelType::U8x4,
    }
}

fn is_opaque(pixels: &Pixels) -> bool {
    // Row by row: a photo with a hole is known early, and a row is folded without a branch.
    pixels
        .data
        .chunks(pixels.width as usize * 4)
        .all(|row| row.as_chunks::<4>().0.iter().fold(u8::MAX, |all, pixel| all & pixel[3]) == u8::MAX)
}

fn without_alpha(pixels: &Pixels) -> Pixels {
    let colors: Vec<[u8; 3]> = pixels.data.as_chunks().0.iter().map(|[r, g, b, _]| [*r, *g, *b]).collect();
    Pixels { layout: Layout::Rgb, data: colors.into_flattened(), ..*pixels }
}

/// Multiplies colors by their opacity, in place: the picture may be large.
fn premultiply(pixels: &mut Pixels) {
    in_place(pixels, |image| MulDiv::new().multiply_alpha_inplace(image));
}

fn divide(pixels: &mut Pixels) {
    in_place(pixels, |image| MulDiv::new().divide_alpha_inplace(image));
}

fn in_place<E: std::fmt::Debug>(pixels: &mut Pixels, work: impl FnOnce(&mut Image<'_>) -> Result<(), E>) {
    let mut image = Image::from_slice_u8(pixels.width, pixels.height, &mut pixels.data, PixelType::U8x4)
        .expect("INVARIANT: there are as many bytes as pixels");
    work(&mut image).expect("INVARIANT: four bytes a pixel have an alpha channel");
}
