//! WebP there and back: lossy, lossless, animated, cut off.

use cifra::imaging::{Encoding, Format, Layout, Orientation, Reason, encode, probe};

use super::drawn::{at_least, difference, drawn, whole};
use super::foreign::{anmf, exif, lossless_webp, vp8x, webp};

const QUALITY: Encoding = Encoding::WebP { quality: 90 };

#[test]
fn a_webp_comes_back_as_it_was_drawn() {
    for layout in [Layout::Rgb, Layout::Rgba] {
        for (width, height) in [(1, 1), (17, 9), (640, 480), (1, 3000)] {
            let picture = drawn(width, height, layout);
            let file = encode(&picture, QUALITY).unwrap();
            let probe = probe(&file).unwrap();
            assert_eq!((probe.format, probe.width, probe.height), (Format::WebP, width, height));
            assert_eq!(probe.has_alpha, layout == Layout::Rgba);
            let decoded = whole(&file).unwrap();
            assert!(!decoded.truncated);
            // Colors are halved in their resolution: steep ones of small pictures suffer.
            let most = if width < 100 { 12.0 } else { 4.0 };
            assert!(difference(&decoded.pixels, &picture) < most, "{layout:?} {width}x{height}");
        }
    }
    let gray = whole(&encode(&drawn(40, 30, Layout::Gray), QUALITY).unwrap()).unwrap();
    assert_eq!(gray.pixels.layout, Layout::Rgb);
}

#[test]
fn a_webp_is_decoded_at_twice_what_is_needed() {
    let (lossy, lossless) = (
        encode(&drawn(1000, 800, Layout::Rgba), QUALITY).unwrap(),
        lossless_webp(&drawn(1000, 800, Layout::Rgba)),
    );
    for file in [&lossy[..], &lossless] {
        for (needed, expected) in
            [((100, 80), (200, 160)), ((100, 10), (200, 160)), ((600, 480), (1000, 800))]
        {
            let pixels = at_least(file, needed.0, needed.1).unwrap().pixels;
            assert_eq!((pixels.width, pixels.height), expected);
            assert!(difference(&pixels, &drawn(expected.0, expected.1, Layout::Rgba)) < 4.0);
        }
    }
}

#[test]
fn a_lossless_webp_comes_back_exactly() {
    let picture = drawn(130, 70, Layout::Rgba);
    let file = lossless_webp(&picture);
    let probe = probe(&file).unwrap();
    assert!(probe.progressive && probe.has_alpha);
    assert!(whole(&file).unwrap().pixels == picture);
}

#[test]
fn of_an_animation_the_first_frame_is_shown_on_its_canvas() {
    let frame = encode(&drawn(40, 30, Layout::Rgb), QUALITY).unwrap();
    let (canvas, next) = (vp8x(2, 100, 80), anmf(&frame, (0, 0), (40, 30)));
    let first = anmf(&frame, (20, 10), (40, 30));
    let chunks: [([u8; 4], &[u8]); 4] =
        [(*b"VP8X", &canvas), (*b"ANIM", &[0; 6]), (*b"ANMF", &first), (*b"ANMF", &next)];
    let file = webp(&chunks);
    let probe = probe(&file).unwrap();
    assert_eq!((probe.width, probe.height, probe.frames, probe.has_alpha), (100, 80, 2, true));
    let pixels = whole(&file).unwrap().pixels;
    let pixel = |x: usize, y: usize| &pixels.data[4 * (100 * y + x)..][..4];
    assert_eq!(pixel(19, 10), [0; 4]);
    assert_eq!(pixel(60, 10), [0; 4]);
    assert_eq!((pixel(20, 10)[3], pixel(59, 39)[3]), (255, 255));
    assert!(pixel(59, 39)[0] > 240 && pixel(20, 10)[0] < 15);

    let outside = anmf(&frame, (80, 10), (40, 30));
    let file = webp(&[(*b"VP8X", &canvas), (*b"ANIM", &[0; 6]), (*b"ANMF", &outside)]);
    assert_eq!(whole(&file).unwrap_err().reason, Reason::Corrupt);

    let full = anmf(&frame, (0, 0), (40, 30));
    let canvas = vp8x(2, 40, 30);
    let file = webp(&[(*b"VP8X", &canvas), (*b"ANIM", &[0; 6]), (*b"ANMF", &full)]);
    let pixels = at_least(&file, 10, 5).unwrap().pixels;
    assert_eq!((pixels.width, pixels.height, pixels.layout), (20, 15, Layout::Rgb));
}

#[test]
fn a_webp_tells_its_orientation_and_color_profile() {
    let still = encode(&drawn(40, 30, Layout::Rgb), QUALITY).unwrap();
    let (canvas, turned) = (vp8x(0x28, 40, 30), exif(8, true));
    let file =
        webp(&[(*b"VP8X", &canvas), (*b"ICCP", b"odd"), (*b"VP8 ", &still[20..]), (*b"EXIF", &turned)]);
    assert_eq!(probe(&file).unwrap().orientation, Orientation::from_exif(8));
    assert_eq!(whole(&file).unwrap().icc.as_deref(), Some(&b"odd"[..]));
}

#[test]
fn a_webp_that_ends_too_early_gives_the_rows_it_has() {
    let lossy = encode(&drawn(400, 400, Layout::Rgb), QUALITY).unwrap().to_vec();
    let lossless = lossless_webp(&drawn(400, 400, Layout::Rgba));
    for file in [&lossy, &lossless] {
        let decoded = whole(&file[..file.len() * 3 / 4]).unwrap();
        assert!(decoded.truncated);
        let full = whole(file).unwrap();
        let some = full.pixels.data.len() / 8;
        assert_eq!(decoded.pixels.data[..some], full.pixels.data[..some]);
        for len in [13, 25, 40] {
            assert_eq!(whole(&file[..len]).unwrap_err().reason, Reason::Corrupt, "{len} bytes");
        }
    }
}
