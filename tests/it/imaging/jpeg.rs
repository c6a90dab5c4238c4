//! JPEG there and back.

use cifra::imaging::{Encoding, Format, Layout, encode, probe};

use super::drawn::{at_least, difference, drawn, whole};

const QUALITY: Encoding = Encoding::Jpeg { quality: 90 };

#[test]
fn a_jpeg_comes_back_as_it_was_drawn() {
    for layout in [Layout::Rgb, Layout::Gray] {
        for (width, height) in [(1, 1), (17, 9), (640, 480), (1, 3000)] {
            let picture = drawn(width, height, layout);
            let file = encode(&picture, QUALITY).unwrap();
            let probe = probe(&file).unwrap();
            assert_eq!((probe.format, probe.width, probe.height), (Format::Jpeg, width, height));
            assert!(!probe.progressive && !probe.has_alpha);
            let decoded = whole(&file).unwrap();
            assert!(!decoded.truncated);
            assert!(difference(&decoded.pixels, &picture) < 3.0, "{layout:?} {width}x{height}");
        }
    }
}

#[test]
fn a_jpeg_is_decoded_at_twice_what_is_needed_or_more() {
    let file = encode(&drawn(1000, 800, Layout::Rgb), QUALITY).unwrap();
    for (needed, expected) in
        [((62, 50), (125, 100)), ((63, 50), (250, 200)), ((250, 200), (500, 400)), ((251, 200), (1000, 800))]
    {
        let pixels = at_least(&file, needed.0, needed.1).unwrap().pixels;
        assert_eq!((pixels.width, pixels.height), expected, "for {needed:?}");
        assert!(difference(&pixels, &drawn(expected.0, expected.1, Layout::Rgb)) < 3.0);
    }
}

#[test]
fn the_same_pixels_make_the_same_jpeg() {
    let picture = drawn(300, 200, Layout::Rgb);
    assert_eq!(encode(&picture, QUALITY), encode(&picture, QUALITY));
}
