//! Pictures that are stored turned or mirrored are seen upright.

use std::time::{Duration, Instant};

use cifra::base::thumbnail::Fit;
use cifra::imaging::orient::orient;
use cifra::imaging::plan::Plan;
use cifra::imaging::{Decoded, Encoding, Layout, Limits, Orientation, Pixels, draw, encode, make};

use super::drawn::{difference, drawn};
use super::plan::size;

/// Edges of the picture as seen.
#[derive(Clone, Copy)]
enum Edge {
    Top,
    Right,
    Bottom,
    Left,
}

/// EXIF 2.32, tag 0x0112: at which edge the stored first row is seen, and the stored first column.
const SEEN: [(Edge, Edge); 8] = [
    (Edge::Top, Edge::Left),
    (Edge::Top, Edge::Right),
    (Edge::Bottom, Edge::Right),
    (Edge::Bottom, Edge::Left),
    (Edge::Left, Edge::Top),
    (Edge::Right, Edge::Top),
    (Edge::Right, Edge::Bottom),
    (Edge::Left, Edge::Bottom),
];

/// What is seen as `seen`, stored as orientation `exif` says: independent of the code under test, pixel by pixel.
fn stored(seen: &Pixels, exif: u16) -> Pixels {
    let (rows_from, columns_from) = SEEN[usize::from(exif) - 1];
    let orientation = Orientation::from_exif(exif);
    let (width, height) = orientation.turn((seen.width, seen.height));
    let channels = seen.layout.channels();
    let mut data = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (mut column, mut row) = (0, 0);
            for (edge, distance) in [(rows_from, y), (columns_from, x)] {
                match edge {
                    Edge::Top => row = distance,
                    Edge::Bottom => row = seen.height - 1 - distance,
                    Edge::Left => column = distance,
                    Edge::Right => column = seen.width - 1 - distance,
                }
            }
            let at = (row * seen.width + column) as usize * channels;
            data.extend_from_slice(&seen.data[at..at + channels]);
        }
    }
    Pixels { width, height, layout: seen.layout, data }
}

fn decoded(pixels: Pixels) -> Decoded {
    let filled = (f64::from(pixels.width), f64::from(pixels.height));
    Decoded { pixels, filled, icc: None, truncated: false }
}

#[test]
fn each_of_the_eight_orientations_is_turned_upright() {
    for layout in [Layout::Gray, Layout::Rgb, Layout::Rgba] {
        for exif in 1..=8 {
            for (width, height) in [(7, 4), (1, 5), (5, 1), (1, 1)] {
                let seen = drawn(width, height, layout);
                let turned = orient(stored(&seen, exif), Orientation::from_exif(exif));
                assert_eq!(turned, seen, "{layout:?}, orientation {exif}, {width} by {height}");
            }
        }
    }
}

#[test]
fn a_turned_picture_has_the_thumbnails_of_the_upright_one() {
    let seen = drawn(203, 101, Layout::Rgb);
    let sizes = [
        size("inside", 50, 50, Fit::Inside),
        size("cover", 60, 60, Fit::Cover),
        size("part", 80, 300, Fit::Cover),
        size("small", 20, 20, Fit::Cover),
    ];
    let plan = Plan::new((203, 101), &sizes);
    let deadline = Instant::now() + Duration::from_mins(1);
    let upright = draw(decoded(seen.clone()), &plan, Orientation::UPRIGHT, deadline).unwrap();
    for exif in 2..=8 {
        let orientation = Orientation::from_exif(exif);
        let turned = draw(decoded(stored(&seen, exif)), &plan, orientation, deadline).unwrap();
        for (index, (one, other)) in upright.iter().zip(&turned).enumerate() {
            let differs = difference(one, other);
            assert!(differs < 0.1, "orientation {exif}, draw {index}: {differs}");
        }
    }
}

#[test]
fn a_jpeg_of_each_orientation_comes_out_upright_with_the_sides_as_seen() {
    let seen = drawn(320, 160, Layout::Rgb);
    let sizes = [size("small", 40, 40, Fit::Inside)];
    let deadline = Instant::now() + Duration::from_mins(1);
    let turned = |exif: u16| {
        let jpeg = encode(&stored(&seen, exif), Encoding::Jpeg { quality: 95 }).unwrap();
        make(&with_orientation(&jpeg, exif), &sizes, &Limits::default(), deadline).unwrap()
    };
    let upright = turned(1);
    for exif in 1..=8 {
        let made = turned(exif);
        assert_eq!((made.picture.width, made.picture.height), (320, 160), "orientation {exif}");
        assert_eq!(u16::from(made.picture.orientation.to_exif()), exif);
        assert_eq!((made.thumbnails[0].width, made.thumbnails[0].height), (40, 20));
        let [one, other] =
            [&upright, &made].map(|made| super::drawn::whole(&made.thumbnails[0].bytes).unwrap());
        assert!(difference(&one.pixels, &other.pixels) < 3.0, "orientation {exif}");
    }
}

/// The JPEG with an Exif segment that says so (EXIF 2.32, 4.5: TIFF header, one IFD, one entry).
fn with_orientation(jpeg: &[u8], exif: u16) -> Vec<u8> {
    let mut payload = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    payload.extend(exif.to_be_bytes());
    payload.extend([0; 6]);
    super::foreign::with_segment(jpeg, 0xe1, &payload)
}
