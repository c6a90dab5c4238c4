//! What is seen: no shifts, no dark seams, backgrounds where they belong, the same bytes each time.

use std::time::{Duration, Instant};

use cifra::base::thumbnail::{Color, Fit, NamedSize, ThumbnailSpec};
use cifra::imaging::flatten::{flatten, pad};
use cifra::imaging::placeholder::placeholder;
use cifra::imaging::plan::{Crop, Plan};
use cifra::imaging::resize::{Source, shrink};
use cifra::imaging::{
    Decoded, Encoding, Fault, Layout, Limits, Made, Orientation, Pixels, Reason, draw, encode, make,
};

use super::drawn::{difference, drawn, whole};
use super::plan::size;

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

fn made(file: &[u8], sizes: &[NamedSize]) -> Made {
    make(file, sizes, &Limits::default(), soon()).unwrap()
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encode(&drawn(width, height, Layout::Rgb), Encoding::Jpeg { quality: 95 }).unwrap().to_vec()
}

fn all_of(pixels: &Pixels) -> Crop {
    Crop { left: 0.0, top: 0.0, width: f64::from(pixels.width), height: f64::from(pixels.height) }
}

fn painted(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Pixels {
    let data =
        (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
    Pixels { width, height, layout: Layout::Rgba, data }
}

/// Where the light of a gray picture is, from its left edge, in parts of its width.
fn center(pixels: &Pixels) -> f64 {
    let (mut sum, mut weighed) = (0.0, 0.0);
    for row in pixels.data.chunks(pixels.width as usize) {
        for (x, light) in (0_u32..).zip(row) {
            sum += f64::from(*light);
            weighed += f64::from(*light) * (f64::from(x) + 0.5);
        }
    }
    weighed / sum / f64::from(pixels.width)
}

#[test]
fn nothing_is_shifted_by_a_part_of_a_pixel() {
    // A light bar around a quarter of the width, off any grid of the outputs.
    let (width, height) = (1021, 40);
    let light = |x: u32| if (230..280).contains(&x) { 255 } else { 0 };
    let data: Vec<u8> = (0..height).flat_map(|_| (0..width).map(light)).collect();
    let bar = Pixels { width, height, layout: Layout::Gray, data };
    let expected = center(&bar);
    for drawn_width in [800, 511, 300, 150, 97] {
        let seen = shrink(&bar, all_of(&bar), drawn_width, 20);
        let shift = (center(&seen) - expected) * f64::from(drawn_width);
        assert!(shift.abs() < 0.05, "{shift} pixels of {drawn_width}");
    }
    // The same, decoded at half: its last column is half a pixel of the picture.
    let halves: Vec<u8> =
        bar.data.chunks(1021).step_by(2).flat_map(|row| row.chunks(2).map(|two| two[0])).collect();
    let half = Pixels { width: 511, height: 20, layout: Layout::Gray, data: halves };
    let mut source = Source::new(half, (510.5, 20.0), (width, height));
    let seen = source.draw(all_of(&bar), 300, 20);
    let shift = (center(&seen) - expected) * 300.0;
    assert!(shift.abs() < 0.05, "{shift} pixels, from half the size");
}

#[test]
fn a_cascade_is_as_good_as_one_step() {
    // Waves of every length, from broad ones to some finer than any output shows, in all directions.
    let wave = |x: u32, y: u32| {
        let (x, y) = (f64::from(x), f64::from(y));
        let rings = ((x * x + y * y) / 900.0).sin();
        let broad = (x / 37.0).sin() * (y / 23.0).cos();
        [127.5 + 60.0 * rings + 60.0 * broad, 127.5 + 120.0 * broad, 127.5 + 120.0 * rings]
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 255")]
    let data = (0..900)
        .flat_map(|y| (0..1200).map(move |x| (x, y)))
        .flat_map(|(x, y)| wave(x, y).map(|level| level.round() as u8))
        .collect();
    let picture = Pixels { width: 1200, height: 900, layout: Layout::Rgb, data };
    let large = shrink(&picture, all_of(&picture), 800, 600);
    for (from, to) in [(&large, (533, 400)), (&large, (300, 225)), (&large, (150, 113))] {
        let stepped = shrink(from, all_of(from), to.0, to.1);
        let direct = shrink(&picture, all_of(&picture), to.0, to.1);
        let differs = difference(&stepped, &direct);
        assert!(differs < 1.0, "800 to {}: {differs}", to.0);
    }
}

#[test]
fn what_nobody_sees_leaves_no_seam() {
    // A yellow disc, which rings a little as all edges do; around it black that is fully transparent.
    let disc = painted(200, 200, |x, y| {
        let inside = x.abs_diff(100).pow(2) + y.abs_diff(100).pow(2) < 6400;
        if inside { [255, 220, 0, 255] } else { [0, 0, 0, 0] }
    });
    let mut source = Source::new(disc, (200.0, 200.0), (200, 200));
    let first = source.draw(Crop { left: 0.0, top: 0.0, width: 200.0, height: 200.0 }, 90, 90);
    let second = shrink(&first, all_of(&first), 33, 33);
    for seen in [&first, &second] {
        assert_eq!(seen.layout, Layout::Rgba);
        for [red, green, blue, alpha] in seen.data.as_chunks::<4>().0 {
            let yellow = *red > 243 && *green > 205 && *blue < 8;
            assert!(*alpha < 64 || yellow, "{red} {green} {blue} at opacity {alpha}");
        }
        let white = flatten(seen, Color::WHITE);
        let darkest = white.data.as_chunks::<3>().0.iter().map(|[_, green, _]| *green).min();
        assert!(darkest > Some(208), "a dark seam on white: {darkest:?}");
    }
}

#[test]
fn a_copy_that_needs_no_resizing_is_exact() {
    let picture = drawn(90, 60, Layout::Rgba);
    let mut source = Source::new(picture.clone(), (90.0, 60.0), (90, 60));
    assert_eq!(source.draw(all_of(&picture), 90, 60), picture);
    let part = source.draw(Crop { left: 30.0, top: 20.0, width: 5.0, height: 4.0 }, 5, 4);
    assert_eq!(part.data[..4], picture.data[(20 * 90 + 30) * 4..][..4]);
}

#[test]
fn alpha_that_hides_nothing_is_dropped() {
    let opaque = painted(50, 50, |x, y| [u8::try_from(x).unwrap(), u8::try_from(y).unwrap(), 9, 255]);
    let mut source = Source::new(opaque.clone(), (50.0, 50.0), (50, 50));
    assert_eq!(source.layout(), Layout::Rgb);
    let seen = source.draw(all_of(&opaque), 50, 50);
    assert_eq!((seen.layout, &seen.data[3..6]), (Layout::Rgb, &[1, 0, 9][..]));
    let mut with_hole = opaque;
    with_hole.data[4 * 1234 + 3] = 254;
    assert_eq!(Source::new(with_hole, (50.0, 50.0), (50, 50)).layout(), Layout::Rgba);
}

#[test]
fn strips_and_specks_are_drawn() {
    for (width, height) in [(1, 30_000), (30_000, 1), (1, 1), (2, 1), (3, 7)] {
        for layout in [Layout::Gray, Layout::Rgb, Layout::Rgba, Layout::Cmyk] {
            let fits = [Fit::Inside, Fit::Cover, Fit::Contain];
            let sizes: Vec<NamedSize> =
                fits.iter().flat_map(|fit| [size("a", 150, 150, *fit), size("b", 7, 9, *fit)]).collect();
            let plan = Plan::new((width, height), &sizes);
            let pixels = drawn(width, height, layout);
            let filled = (f64::from(width), f64::from(height));
            let decoded = Decoded { pixels, filled, icc: None, truncated: false };
            let seen = draw(decoded, &plan, Orientation::UPRIGHT, soon()).unwrap();
            for (pixels, planned) in seen.iter().zip(&plan.draws) {
                assert_eq!((pixels.width, pixels.height), (planned.width, planned.height));
                let len = planned.width as usize * planned.height as usize * pixels.layout.channels();
                assert_eq!(pixels.data.len(), len, "{width} by {height}, {layout:?}");
            }
            placeholder(&seen[plan.placeholder]);
        }
    }
}

#[test]
fn a_background_shows_as_far_as_a_picture_is_transparent() {
    let pixels = painted(3, 1, |x, _| [200, 100, 0, [0, 128, 255][x as usize]]);
    let flat = flatten(&pixels, Color([0, 200, 100]));
    assert_eq!((flat.layout, flat.data), (Layout::Rgb, vec![0, 200, 100, 100, 150, 50, 200, 100, 0]));
}

#[test]
fn a_picture_stands_in_the_middle_of_its_box() {
    let dot = Pixels { width: 1, height: 1, layout: Layout::Gray, data: vec![7] };
    assert_eq!(pad(&dot, (3, 2), Color::WHITE).data, [255, 7, 255, 255, 255, 255]);
    let colored = pad(&dot, (1, 3), Color([1, 2, 3]));
    assert_eq!((colored.layout, colored.data), (Layout::Rgb, vec![1, 2, 3, 7, 7, 7, 1, 2, 3]));
    let ghost = Pixels { width: 1, height: 1, layout: Layout::Rgba, data: vec![9, 9, 9, 0] };
    assert_eq!(pad(&ghost, (2, 1), Color([1, 2, 3])).data, [9, 9, 9, 0, 1, 2, 3, 255]);
}

#[test]
fn each_fit_comes_out_with_its_sides_and_none_is_enlarged() {
    let file = jpeg(400, 200);
    let fits = [Fit::Inside, Fit::Cover, Fit::Contain];
    let sizes: Vec<NamedSize> =
        fits.iter().flat_map(|fit| [size("in", 100, 100, *fit), size("over", 1000, 300, *fit)]).collect();
    let made = made(&file, &sizes);
    let drawn_sides: Vec<(u32, u32)> = made.thumbnails.iter().map(|one| (one.width, one.height)).collect();
    assert_eq!(drawn_sides, [(100, 50), (400, 200), (100, 100), (400, 200), (100, 100), (1000, 300)]);
    for thumbnail in &made.thumbnails {
        let probe = cifra::imaging::probe(&thumbnail.bytes).unwrap();
        assert_eq!((probe.width, probe.height), (thumbnail.width, thumbnail.height), "{}", thumbnail.name);
    }
    let contained = whole(&made.thumbnails[4].bytes).unwrap().pixels;
    assert_eq!(contained.data[..3], [255, 255, 255], "the background above the picture");
}

#[test]
fn the_same_picture_and_sizes_make_the_same_bytes() {
    let file = jpeg(900, 600);
    let sizes = [150, 300, 800].map(|side| size("one", side, side, Fit::Inside));
    let (once, again) = (made(&file, &sizes), made(&file, &sizes));
    assert_eq!(once.thumbnails, again.thumbnails);
    assert_eq!(once.picture, again.picture);
    let elsewhere = std::thread::spawn(move || made(&file, &sizes)).join().unwrap();
    assert_eq!(once.thumbnails, elsewhere.thumbnails);
}

#[test]
fn a_placeholder_tells_the_colors_and_the_shape() {
    let half = painted(60, 30, |x, _| if x < 30 { [255, 0, 0, 255] } else { [0, 0, 255, 255] });
    let (hash, average) = placeholder(&half);
    assert_eq!(average, Color([128, 0, 128]));
    assert!((5..=25).contains(&hash.len()));
    let ratio = thumbhash::thumb_hash_to_approximate_aspect_ratio(&hash).unwrap();
    assert!((ratio - 2.0).abs() < 0.5, "{ratio}");
    let (width, height, rgba) = thumbhash::thumb_hash_to_rgba(&hash).unwrap();
    let row = &rgba[width * (height / 2) * 4..][..width * 4];
    assert!(row[0] > 180 && row[2] < 90 && row[width * 4 - 4] < 90 && row[width * 4 - 2] > 180, "{row:?}");
    // Weighed by opacity: of what is not seen nothing counts.
    let ghost = painted(2, 1, |x, _| if x == 0 { [10, 20, 30, 255] } else { [255, 255, 255, 0] });
    assert_eq!(placeholder(&ghost).1, Color([10, 20, 30]));
    assert_eq!(placeholder(&painted(2, 2, |_, _| [0; 4])).1, Color::WHITE);
    assert_eq!(
        placeholder(&Pixels { width: 1, height: 1, layout: Layout::Gray, data: vec![77] }).1,
        Color([77; 3])
    );
}

#[test]
fn work_past_its_deadline_ends() {
    let outcome =
        make(&jpeg(64, 64), &[size("one", 16, 16, Fit::Inside)], &Limits::default(), Instant::now());
    assert!(matches!(outcome, Err(Fault { reason: Reason::TimedOut, .. })), "{outcome:?}");
}

#[test]
fn the_library_s_function_refuses_what_is_no_size_and_says_what_is_no_picture() {
    use cifra::media::{CreateError, create_thumbnails};
    let file = jpeg(300, 200);
    let made = create_thumbnails(&file, &[("small", (150, 150)), ("tiny", (16, 16))]).unwrap();
    assert_eq!(made.thumbnails[1].name.as_str(), "tiny");
    for (name, sides) in [("Small", (1, 1)), ("", (1, 1)), ("wide", (0, 5)), ("high", (5, 8193))] {
        let outcome = create_thumbnails(&file, &[(name, sides)]);
        assert!(matches!(outcome, Err(CreateError::Size(_))), "{name} {sides:?}: {outcome:?}");
    }
    let loud = ThumbnailSpec { quality: 0, ..ThumbnailSpec::inside(5, 5) };
    assert!(matches!(create_thumbnails(&file, &[("small", loud)]), Err(CreateError::Size(_))));
    let outcome = create_thumbnails(b"hello", &[("small", (150, 150))]);
    assert!(
        matches!(&outcome, Err(CreateError::Picture(fault)) if fault.reason == Reason::NotAnImage),
        "{outcome:?}"
    );
}
