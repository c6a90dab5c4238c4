//! PNG of all kinds, row by row.

use cifra::imaging::{Encoding, Layout, Orientation, Pixels, Reason, encode, probe};
use png::{BitDepth, ColorType};

use super::drawn::{at_least, difference, drawn, whole};
use super::foreign::{exif, with_chunk};

#[test]
fn a_png_comes_back_exactly_as_it_was_drawn() {
    for layout in [Layout::Gray, Layout::Rgb, Layout::Rgba] {
        for (width, height) in [(1, 1), (17, 9), (1, 3000), (3000, 1)] {
            let picture = drawn(width, height, layout);
            let file = encode(&picture, Encoding::Png).unwrap();
            let decoded = whole(&file).unwrap();
            assert!(decoded.pixels == picture);
            assert!(!decoded.truncated);
            assert_eq!(probe(&file).unwrap().has_alpha, layout == Layout::Rgba);
        }
    }
}

#[test]
fn a_large_png_is_averaged_in_boxes_to_twice_what_is_needed_or_more() {
    for layout in [Layout::Gray, Layout::Rgb, Layout::Rgba] {
        let file = encode(&drawn(901, 600, layout), Encoding::Png).unwrap();
        let decoded = at_least(&file, 150, 100).unwrap();
        assert_eq!((decoded.pixels.width, decoded.pixels.height), (301, 200));
        assert!((decoded.filled.0 - 901.0 / 3.0).abs() < 1e-9 && (decoded.filled.1 - 200.0).abs() < 1e-9);
        assert!(difference(&decoded.pixels, &drawn(301, 200, layout)) < 2.0);
    }
}

#[test]
fn what_is_transparent_does_not_color_its_box() {
    // Columns by turns: opaque red, transparent green.
    let data = (0..64).flat_map(|at| if at % 2 == 0 { [255, 0, 0, 255] } else { [0, 255, 0, 0] }).collect();
    let picture = Pixels { width: 8, height: 8, layout: Layout::Rgba, data };
    let shrunk = at_least(&encode(&picture, Encoding::Png).unwrap(), 2, 2).unwrap().pixels;
    assert_eq!((shrunk.width, shrunk.height), (4, 4));
    assert!(shrunk.data.chunks(4).all(|pixel| pixel == [255, 0, 0, 128]), "{:?}", shrunk.data);
}

/// A PNG of `bits` a sample.
fn foreign(
    color: ColorType,
    bits: BitDepth,
    size: (u32, u32),
    rows: &[u8],
    palette: Option<(&[u8], &[u8])>,
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size.0, size.1);
    encoder.set_color(color);
    encoder.set_depth(bits);
    if let Some((colors, opacities)) = palette {
        encoder.set_palette(colors);
        encoder.set_trns(opacities);
    }
    encoder.write_header().unwrap().write_image_data(rows).unwrap();
    file
}

#[test]
fn sixteen_bits_palettes_and_gray_with_alpha_come_as_eight_bits_a_sample() {
    let wide = foreign(ColorType::Rgb, BitDepth::Sixteen, (1, 1), &[0x12, 0x34, 0xff, 0xff, 0, 0], None);
    let pixels = whole(&wide).unwrap().pixels;
    assert_eq!((pixels.layout, &pixels.data[..]), (Layout::Rgb, &[0x12, 0xff, 0][..]));

    let gray = foreign(ColorType::GrayscaleAlpha, BitDepth::Eight, (2, 1), &[7, 255, 9, 0], None);
    let pixels = whole(&gray).unwrap().pixels;
    assert_eq!((pixels.layout, &pixels.data[..]), (Layout::Rgba, &[7, 7, 7, 255, 9, 9, 9, 0][..]));

    let palette = (&[1, 2, 3, 4, 5, 6][..], &[255, 128][..]);
    let indexed = foreign(ColorType::Indexed, BitDepth::One, (2, 1), &[0b0100_0000], Some(palette));
    assert!(probe(&indexed).unwrap().has_alpha);
    let pixels = whole(&indexed).unwrap().pixels;
    assert_eq!((pixels.layout, &pixels.data[..]), (Layout::Rgba, &[1, 2, 3, 255, 4, 5, 6, 128][..]));

    let bits = foreign(ColorType::Grayscale, BitDepth::Two, (4, 1), &[0b0001_1011], None);
    assert_eq!(whole(&bits).unwrap().pixels.data, [0, 85, 170, 255]);
}

/// Deflated (RFC 1950) without compression.
fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut deflated = vec![0x78, 0x01];
    let blocks = bytes.len().div_ceil(65535);
    for (index, block) in bytes.chunks(65535).enumerate() {
        let len = u16::try_from(block.len()).unwrap();
        deflated.push(u8::from(index + 1 == blocks));
        deflated.extend([len.to_le_bytes(), (!len).to_le_bytes()].concat());
        deflated.extend(block);
    }
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65521;
        high = (high + low) % 65521;
    }
    deflated.extend((high << 16 | low).to_be_bytes());
    deflated
}

/// Interlaces by hand: the seven passes, stored without compression.
fn interlaced(picture: &Pixels) -> Vec<u8> {
    let channels = picture.layout.channels();
    let mut rows = Vec::new();
    for (x, y, right, down) in
        [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    {
        let (width, height) = (picture.width as usize, picture.height as usize);
        for row in (y..height).step_by(down).filter(|_| x < width) {
            rows.push(0);
            for column in (x..width).step_by(right) {
                rows.extend(&picture.data[(row * width + column) * channels..][..channels]);
            }
        }
    }
    let file = foreign(ColorType::Rgb, BitDepth::Eight, (1, 1), &[0; 3], None);
    let mut header =
        [&picture.width.to_be_bytes()[..], &picture.height.to_be_bytes(), &[8, 2, 0, 0, 1]].concat();
    let blank = with_chunk(&file[..33], *b"IHDR", &header);
    header = [&file[..8], &blank[33..]].concat();
    let deflated = deflated(&rows);
    let data = with_chunk(&file[..33], *b"IDAT", &deflated);
    let end = with_chunk(&file[..33], *b"IEND", &[]);
    [&header[..], &data[33..], &end[33..]].concat()
}

#[test]
fn interlaced_pictures_are_put_together_whole_and_shrunk() {
    for (width, height) in [(1, 1), (3, 2), (37, 29), (200, 160)] {
        let picture = drawn(width, height, Layout::Rgb);
        let file = interlaced(&picture);
        assert!(probe(&file).unwrap().progressive);
        assert!(whole(&file).unwrap().pixels == picture, "{width}x{height}");
    }
    let shrunk = at_least(&interlaced(&drawn(200, 160, Layout::Rgb)), 25, 20).unwrap().pixels;
    assert!(difference(&shrunk, &drawn(50, 40, Layout::Rgb)) < 3.0);
}

#[test]
fn a_png_that_ends_too_early_gives_the_rows_it_has() {
    // Noise, so that rows take bytes.
    let noise = (0..300 * 300 * 3_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let picture = Pixels { width: 300, height: 300, layout: Layout::Rgb, data: noise };
    let file = encode(&picture, Encoding::Png).unwrap();
    for (needed, shrink) in [(300, 1), (75, 2)] {
        let half = at_least(&file[..file.len() / 2], needed, needed).unwrap();
        assert!(half.truncated);
        let full = at_least(&file, needed, needed).unwrap();
        assert!(!full.truncated);
        let some = full.pixels.data.len() / 4;
        assert_eq!(half.pixels.data[..some], full.pixels.data[..some], "shrunk by {shrink}");
        assert!(half.pixels.data[3 * some..].iter().all(|sample| *sample == 0));
    }
    assert_eq!(whole(&file[..80]).unwrap_err().reason, Reason::Corrupt);
    assert_eq!(whole(&file[..30]).unwrap_err().reason, Reason::Corrupt);
}

#[test]
fn a_png_tells_its_orientation_frames_and_color_profile() {
    let file = encode(&drawn(4, 4, Layout::Rgb), Encoding::Png).unwrap();
    for big in [false, true] {
        let turned = with_chunk(&file, *b"eXIf", &exif(6, big));
        assert_eq!(probe(&turned).unwrap().orientation, Orientation::from_exif(6));
    }
    let animated = with_chunk(&file, *b"acTL", &[0, 0, 0, 7, 0, 0, 0, 0]);
    assert_eq!(probe(&animated).unwrap().frames, 7);

    let profile = [&b"name\0\0"[..], &deflated(b"profile")].concat();
    let profiled = with_chunk(&file, *b"iCCP", &profile);
    assert_eq!(whole(&profiled).unwrap().icc.as_deref(), Some(&b"profile"[..]));
}
