//! What sizes are encoded as: by their format, by what the picture has, on which background.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use cifra::base::thumbnail::{Color, Fit, NamedSize, OutputFormat, ThumbnailSpec};
use cifra::imaging::{Encoding, Format, Layout, Limits, Made, Pixels, encode, make, probe};
use moxcms::ColorProfile;

use super::drawn::{drawn, whole};

const SIDE: u32 = 64;

fn in_format(format: OutputFormat) -> NamedSize {
    let spec = ThumbnailSpec { format, background: Color([255, 0, 0]), ..ThumbnailSpec::inside(SIDE, SIDE) };
    NamedSize { name: "one".parse().unwrap(), spec }
}

fn made(file: &[u8], sizes: &[NamedSize]) -> Made {
    make(file, sizes, &Limits::default(), Instant::now() + Duration::from_mins(1)).unwrap()
}

/// A picture with a clear left half, as PNG.
fn half_clear() -> Vec<u8> {
    let row: Vec<u8> = [[0, 0, 0, 0].repeat(100), [0, 0, 255, 255].repeat(100)].concat();
    let pixels = Pixels { width: 200, height: 200, layout: Layout::Rgba, data: row.repeat(200) };
    encode(&pixels, Encoding::Png).unwrap().to_vec()
}

#[test]
fn a_transparent_picture_stays_so_where_the_format_can_and_stands_on_the_background_where_not() {
    let all = [OutputFormat::Auto, OutputFormat::WebP, OutputFormat::Png, OutputFormat::Jpeg];
    let made = made(&half_clear(), &all.map(in_format));
    assert!(made.picture.has_alpha);
    let expected = [("image/webp", Format::WebP), ("image/webp", Format::WebP), ("image/png", Format::Png)];
    for (thumbnail, (content_type, format)) in made.thumbnails.iter().zip(expected) {
        assert_eq!((thumbnail.content_type, probe(&thumbnail.bytes).unwrap().format), (content_type, format));
        let pixels = whole(&thumbnail.bytes).unwrap().pixels;
        assert_eq!(pixels.layout, Layout::Rgba);
        let [first, last] = [&pixels.data[..4], &pixels.data[pixels.data.len() - 4..]];
        assert!(first[3] < 4 && last[3] > 251 && last[2] > 230, "{content_type}: {first:?}, {last:?}");
    }
    let jpeg = &made.thumbnails[3];
    assert_eq!((jpeg.content_type, probe(&jpeg.bytes).unwrap().format), ("image/jpeg", Format::Jpeg));
    let pixels = whole(&jpeg.bytes).unwrap().pixels;
    let [first, last] = [&pixels.data[..3], &pixels.data[pixels.data.len() - 3..]];
    assert!(first[0] > 240 && first[2] < 15, "red behind: {first:?}");
    assert!(last[0] < 15 && last[2] > 240, "blue: {last:?}");
}

#[test]
fn a_picture_with_alpha_that_hides_nothing_becomes_a_jpeg() {
    let data = [9, 99, 199, 255].repeat(100 * 100);
    let png = encode(&Pixels { width: 100, height: 100, layout: Layout::Rgba, data }, Encoding::Png).unwrap();
    let made = made(&png, &[in_format(OutputFormat::Auto)]);
    assert_eq!(made.thumbnails[0].content_type, "image/jpeg");
    assert!(!made.picture.has_alpha);
}

#[test]
fn gray_with_alpha_and_a_profile_for_gray_is_seen_as_meant() {
    let mut file = Vec::new();
    let mut info = png::Info::with_size(100, 100);
    info.color_type = png::ColorType::GrayscaleAlpha;
    info.bit_depth = png::BitDepth::Eight;
    info.icc_profile = Some(Cow::Owned(ColorProfile::new_gray_with_gamma(1.0).encode().unwrap()));
    let mut writer = png::Encoder::with_info(&mut file, info).unwrap().write_header().unwrap();
    writer.write_image_data(&[128, 200].repeat(100 * 100)).unwrap();
    writer.finish().unwrap();
    let made = made(&file, &[in_format(OutputFormat::Png)]);
    let pixels = whole(&made.thumbnails[0].bytes).unwrap().pixels;
    // Half of the light is level 188 of sRGB.
    assert!(pixels.data[..3].iter().all(|level| level.abs_diff(188) <= 2), "{:?}", &pixels.data[..4]);
    assert_eq!(pixels.data[3], 200);
}

#[test]
fn sizes_that_are_alike_are_encoded_once() {
    let png = encode(&drawn(40, 30, Layout::Rgb), Encoding::Png).unwrap();
    let mut sizes = [150, 300, 800]
        .map(|side| NamedSize { name: "one".parse().unwrap(), spec: ThumbnailSpec::inside(side, side) });
    sizes[2].spec.quality = 20;
    let made = made(&png, &sizes);
    let [small, medium, large] = [0, 1, 2].map(|index: usize| &made.thumbnails[index].bytes);
    assert_eq!(small.as_ptr(), medium.as_ptr(), "the same bytes, not a copy");
    assert_ne!(small, large);
    assert_eq!((made.thumbnails[2].width, made.thumbnails[2].height), (40, 30));
}

#[test]
fn a_transparent_picture_in_a_box_has_the_background_around_it_only() {
    let mut size = in_format(OutputFormat::Png);
    size.spec = ThumbnailSpec { width: 100, height: 50, fit: Fit::Contain, ..size.spec };
    let made = made(&half_clear(), &[size]);
    let pixels = whole(&made.thumbnails[0].bytes).unwrap().pixels;
    assert_eq!((pixels.width, pixels.height), (100, 50));
    let at = |x: usize| &pixels.data[(25 * 100 + x) * 4..][..4];
    assert_eq!(at(0), [255, 0, 0, 255], "the box");
    assert_eq!(at(30)[3], 0, "the clear half");
    assert_eq!(at(70), [0, 0, 255, 255], "the blue half");
    assert_eq!(at(99), [255, 0, 0, 255], "the box");
}
