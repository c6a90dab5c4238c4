//! Sizes of thumbnails: a map whose names are the operator's, each a list or a map.

use super::*;
use crate::base::thumbnail::{Color, Fit, OutputFormat, ThumbnailSpec};

fn sizes(loaded: &Loaded) -> Vec<(&str, ThumbnailSpec)> {
    loaded.config.thumbnails.sizes.iter().map(|size| (size.name.as_str(), size.spec)).collect()
}

#[test]
fn there_are_three_sizes_unless_a_file_names_others() {
    let three = [("small", 150), ("medium", 300), ("large", 800)];
    let three = three.map(|(name, side)| (name, ThumbnailSpec::inside(side, side)));
    for text in ["", "thumbnails: { eager: false }", "thumbnails: { sizes: }"] {
        assert_eq!(sizes(&Place::with_file(text).load()), three, "{text}");
    }
    let none = Place::with_file("thumbnails: { sizes: {} }").load();
    assert_eq!(sizes(&none), []);
    assert_eq!(Place::with_file(&none.show()).load().config, none.config, "{}", none.show());

    let one = Place::with_file("thumbnails: { sizes: { tiny: [48, 32] } }").load();
    assert_eq!(sizes(&one), [("tiny", ThumbnailSpec::inside(48, 32))]);
}

#[test]
fn the_environment_changes_one_size_and_leaves_the_others() {
    let place = Place::new()
        .env("CIFRA__THUMBNAILS__SIZES__SMALL", "[100, 90]")
        .env("CIFRA__THUMBNAILS__SIZES__HUGE__WIDTH", "2000")
        .env("CIFRA__THUMBNAILS__SIZES__HUGE__HEIGHT", "1000");
    let loaded = place.load();
    let expected = [("small", 100, 90), ("medium", 300, 300), ("large", 800, 800), ("huge", 2000, 1000)];
    let expected = expected.map(|(name, width, height)| (name, ThumbnailSpec::inside(width, height)));
    assert_eq!(sizes(&loaded), expected);
}

#[test]
fn a_size_that_is_a_map_has_all_keys_and_is_shown_so() {
    let place = Place::with_file(
        "\
thumbnails:
  sizes:
    card: { width: 640, height: 360, fit: cover, format: webp, quality: 70 }
    square: { width: 200, height: 200, fit: contain, background: '#10A0ff' }
    plain: [300, 300]
",
    );
    let loaded = place.load();
    let card = ThumbnailSpec {
        fit: Fit::Cover,
        format: OutputFormat::WebP,
        quality: 70,
        ..ThumbnailSpec::inside(640, 360)
    };
    let square = ThumbnailSpec {
        fit: Fit::Contain,
        background: Color([0x10, 0xa0, 0xff]),
        ..ThumbnailSpec::inside(200, 200)
    };
    let plain = ThumbnailSpec::inside(300, 300);
    assert_eq!(sizes(&loaded), [("square", square), ("plain", plain), ("card", card)]);
    let again = Place::with_file(&loaded.show());
    assert_eq!(again.load().config, loaded.config, "{}", loaded.show());
}

#[test]
fn what_is_wrong_with_sizes_is_told_at_once() {
    let place = Place::with_file(
        "\
thumbnails:
  threads: 0
  memory: 1MiB
  sizes:
    Big: [1, 1]
    flat: [10]
    gone: [0, 10]
    half: { width: 10 }
    odd: { width: 10, height: 10, fit: squeeze, quality: 101, backgroud: '#fff', background: red }
    wide: 9000
",
    );
    let box_ = "expected [width, height] in pixels, each from 1 to 8192, or a map with width, height, fit, …";
    let expected = [
        "cifra.yaml:2:3: thumbnails.threads: found 0, expected null, or a number from 1 to 1024".to_owned(),
        "cifra.yaml:3:3: thumbnails.memory: found 1MiB, expected 32MiB at least: less is not enough for a photo of 12 megapixels".to_owned(),
        "cifra.yaml:5:5: thumbnails.sizes.Big: found \"Big\", expected a size's name: 1 to 32 lower-case letters, digits, - and _, beginning with a letter".to_owned(),
        format!("cifra.yaml:6:5: thumbnails.sizes.flat: found \"10\", {box_}"),
        format!("cifra.yaml:7:5: thumbnails.sizes.gone: found \"0, 10\", {box_}"),
        "cifra.yaml:8:5: thumbnails.sizes.half: found a size that lacks a side, expected width and height, in pixels".to_owned(),
        "cifra.yaml:9:35: thumbnails.sizes.odd.fit: found \"squeeze\", expected inside or cover or contain".to_owned(),
        "cifra.yaml:9:49: thumbnails.sizes.odd.quality: found 101, expected a number from 1 to 100".to_owned(),
        "cifra.yaml:9:63: thumbnails.sizes.odd.backgroud: unknown key; did you mean thumbnails.sizes.odd.background?".to_owned(),
        "cifra.yaml:9:82: thumbnails.sizes.odd.background: found \"red\", expected a color such as \"#ffffff\", in quotes".to_owned(),
        format!("cifra.yaml:10:5: thumbnails.sizes.wide: found \"9000\", {box_}"),
    ];
    assert_eq!(place.faults(), expected);

    let many: Vec<String> = (0..17).map(|n| format!("s{n}: [1, 1]")).collect();
    let place = Place::with_file(&format!("thumbnails: {{ sizes: {{ {} }} }}", many.join(", ")));
    assert_eq!(
        place.faults(),
        [
            "cifra.yaml:1:15: thumbnails.sizes: found more than 16 sizes, expected 16 at most: each costs time for every picture"
        ]
    );
}
