//! Which part of a picture is drawn how large, and from what: tables.

use cifra::base::thumbnail::{Fit, NamedSize, ThumbnailSpec};
use cifra::imaging::Orientation;
use cifra::imaging::plan::{Crop, Draw, Origin, Plan};

pub(super) fn size(name: &str, width: u32, height: u32, fit: Fit) -> NamedSize {
    let spec = ThumbnailSpec { fit, ..ThumbnailSpec::inside(width, height) };
    NamedSize { name: name.parse().unwrap(), spec }
}

/// The one size's draw, and its canvas.
fn planned(seen: (u32, u32), box_sides: (u32, u32), fit: Fit) -> (Draw, Option<(u32, u32)>) {
    let plan = Plan::new(seen, &[size("one", box_sides.0, box_sides.1, fit)]);
    (plan.draws[plan.sizes[0].draw], plan.sizes[0].canvas)
}

#[test]
fn a_picture_inside_a_box_keeps_its_shape_and_is_never_enlarged() {
    // What sharp 0.34 gives for `fit: "inside", withoutEnlargement: true`: rounded to the nearest, no side below 1.
    for (seen, sides, drawn) in [
        ((4000, 3000), (800, 800), (800, 600)),
        ((3000, 4000), (800, 800), (600, 800)),
        ((1200, 900), (150, 150), (150, 113)),
        ((4032, 3024), (300, 300), (300, 225)),
        ((1000, 667), (150, 150), (150, 100)),
        ((1000, 663), (150, 150), (150, 99)),
        ((801, 801), (800, 800), (800, 800)),
        ((800, 1), (150, 150), (150, 1)),
        ((1, 30_000), (800, 800), (1, 800)),
        ((30_000, 1), (150, 150), (150, 1)),
        ((3, 30_000), (800, 800), (1, 800)),
        ((1, 1), (800, 800), (1, 1)),
        ((640, 480), (800, 800), (640, 480)),
        ((640, 480), (640, 480), (640, 480)),
        ((640, 480), (1000, 240), (320, 240)),
    ] {
        let (draw, canvas) = planned(seen, sides, Fit::Inside);
        assert_eq!((draw.width, draw.height), drawn, "{seen:?} inside {sides:?}");
        let whole = Crop { left: 0.0, top: 0.0, width: f64::from(seen.0), height: f64::from(seen.1) };
        assert_eq!((draw.crop, canvas), (whole, None));
        let (draw, canvas) = planned(seen, sides, Fit::Contain);
        assert_eq!((draw.width, draw.height, draw.crop), (drawn.0, drawn.1, whole));
        assert_eq!(canvas, Some(sides), "{seen:?} contained in {sides:?} fills the box");
    }
}

#[test]
fn a_picture_covers_a_box_from_its_middle_and_is_never_enlarged() {
    for (seen, sides, drawn, (left, top, width, height)) in [
        ((4000, 3000), (800, 800), (800, 800), (500.0, 0.0, 3000.0, 3000.0)),
        ((3000, 4000), (800, 400), (800, 400), (0.0, 1250.0, 3000.0, 1500.0)),
        ((1001, 500), (100, 100), (100, 100), (250.5, 0.0, 500.0, 500.0)),
        // Smaller than the box on one side or both: cut to it where it hangs over, and nothing else.
        ((1000, 501), (800, 800), (800, 501), (100.0, 0.0, 800.0, 501.0)),
        ((1001, 500), (800, 800), (800, 500), (100.0, 0.0, 800.0, 500.0)),
        ((400, 300), (800, 800), (400, 300), (0.0, 0.0, 400.0, 300.0)),
        ((1, 30_000), (150, 150), (1, 150), (0.0, 14_925.0, 1.0, 150.0)),
        ((1, 1), (150, 150), (1, 1), (0.0, 0.0, 1.0, 1.0)),
    ] {
        let (draw, canvas) = planned(seen, sides, Fit::Cover);
        assert_eq!((draw.width, draw.height, canvas), (drawn.0, drawn.1, None), "{seen:?} covers {sides:?}");
        assert_eq!(draw.crop, Crop { left, top, width, height }, "{seen:?} covers {sides:?}");
    }
}

#[test]
fn each_size_is_drawn_from_the_smallest_that_shows_enough() {
    let plan = Plan::new(
        (4000, 3000),
        &[
            size("small", 150, 150, Fit::Inside),
            size("square", 150, 150, Fit::Cover),
            size("medium", 300, 300, Fit::Inside),
            size("near", 250, 250, Fit::Inside),
            size("large", 800, 800, Fit::Inside),
            size("again", 800, 600, Fit::Contain),
            size("tile", 400, 400, Fit::Cover),
        ],
    );
    let origin = |index: usize| match plan.draws[plan.sizes[index].draw].origin {
        Origin::Picture => None,
        Origin::Draw(parent) => Some((plan.draws[parent].width, plan.draws[parent].height)),
    };
    assert_eq!(origin(4), None, "the largest");
    assert_eq!(plan.sizes[4].draw, plan.sizes[5].draw, "the same pixels are drawn once");
    assert_eq!(origin(6), Some((800, 600)), "the part of a picture, from the whole");
    assert_eq!(origin(2), Some((800, 600)), "the whole, not from a part");
    assert_eq!(origin(3), Some((800, 600)), "250 is too near to 300");
    assert_eq!(origin(0), Some((250, 188)));
    assert_eq!(origin(1), Some((300, 225)), "225 down to 150, but not 188 to 150");
    for (index, draw) in plan.draws.iter().enumerate() {
        if let Origin::Draw(parent) = draw.origin {
            assert!(parent < index, "what is drawn from is there before");
        }
    }
    let tiny = plan.draws[plan.placeholder];
    assert_eq!((tiny.width, tiny.height), (50, 38));
    assert_eq!(tiny.crop.width.to_bits(), 4000_f64.to_bits(), "the placeholder shows all of the picture");
}

#[test]
fn a_picture_smaller_than_every_size_is_drawn_once() {
    let sizes = [150, 300, 800].map(|side| size("one", side, side, Fit::Inside));
    let plan = Plan::new((40, 30), &sizes);
    assert_eq!(plan.draws.len(), 1);
    assert_eq!((plan.sizes[0].draw, plan.sizes[1].draw, plan.placeholder), (0, 0, 0));
}

#[test]
fn a_decoder_is_asked_for_the_whole_picture_as_dense_as_the_densest_draw() {
    let upright = Orientation::UPRIGHT;
    let turned = Orientation::from_exif(6);
    for (seen, fit, orientation, needed) in [
        ((4000, 3000), Fit::Inside, upright, (800, 600)),
        ((4000, 3000), Fit::Inside, turned, (600, 800)),
        ((4000, 3000), Fit::Cover, upright, (1067, 800)),
        ((640, 480), Fit::Contain, upright, (640, 480)),
        ((1, 30_000), Fit::Inside, upright, (1, 800)),
        ((1, 30_000), Fit::Cover, turned, (30_000, 1)),
    ] {
        let plan = Plan::new(seen, &[size("large", 800, 800, fit), size("small", 150, 150, fit)]);
        let asked = plan.needed(orientation);
        assert_eq!((asked.width, asked.height), needed, "{seen:?} {fit:?}");
    }
}
