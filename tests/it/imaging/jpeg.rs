//! JPEG there and back.

use cifra::imaging::{Encoding, Format, Layout, Orientation, Reason, encode, probe};

use super::drawn::{at_least, difference, drawn, whole};
use super::foreign::{exif, jpeg, with_segment};

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

#[test]
fn a_progressive_jpeg_is_known_before_it_is_decoded() {
    let picture = drawn(640, 480, Layout::Rgb);
    let file = jpeg(&picture, true, false);
    let probe = probe(&file).unwrap();
    assert!(probe.progressive);
    // Three components of 16-bit coefficients, 4:4:4.
    assert_eq!(probe.held_bytes, 640 * 480 * 3 * 2);
    assert!(difference(&whole(&file).unwrap().pixels, &picture) < 3.0);
    let small = at_least(&file, 80, 60).unwrap().pixels;
    assert_eq!((small.width, small.height), (160, 120));
}

#[test]
fn inks_come_as_they_were_printed_zero_is_none() {
    let picture = drawn(320, 200, Layout::Cmyk);
    for progressive in [false, true] {
        let file = jpeg(&picture, progressive, true);
        assert_eq!(probe(&file).unwrap().channels, 4);
        assert!(difference(&whole(&file).unwrap().pixels, &picture) < 4.0);
    }
}

#[test]
fn a_jpeg_tells_its_orientation_and_color_profile() {
    let file = encode(&drawn(16, 16, Layout::Rgb), QUALITY).unwrap();
    for value in 1..=8 {
        for big in [false, true] {
            let block = [&b"Exif\0\0"[..], &exif(value, big)].concat();
            let turned = with_segment(&file, 0xe1, &block);
            assert_eq!(probe(&turned).unwrap().orientation, Orientation::from_exif(value));
        }
    }
    let second = with_segment(&file, 0xe2, b"ICC_PROFILE\0\x02\x02file");
    assert_eq!(whole(&second).unwrap().icc, None, "half a profile is none");
    let both = with_segment(&second, 0xe2, b"ICC_PROFILE\0\x01\x02pro");
    assert_eq!(whole(&both).unwrap().icc.as_deref(), Some(&b"profile"[..]));
}

#[test]
fn a_jpeg_that_ends_too_early_gives_the_rows_it_has() {
    for progressive in [false, true] {
        let file = jpeg(&drawn(400, 400, Layout::Rgb), progressive, true);
        for needed in [400, 50] {
            let decoded = at_least(&file[..file.len() * 3 / 4], needed, needed).unwrap();
            assert!(decoded.truncated);
            assert_ne!(decoded.pixels.data[0], 128);
        }
        let scan = file.windows(2).position(|two| two == [0xff, 0xda]).unwrap();
        for len in [3, 30, scan, scan + 16] {
            assert_eq!(whole(&file[..len]).unwrap_err().reason, Reason::Corrupt, "{len} bytes");
        }
    }
}
