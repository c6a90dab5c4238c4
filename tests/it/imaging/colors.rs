//! Colors: profiles become sRGB, broken ones are passed over, CMYK looks like print.

use std::time::{Duration, Instant};

use cifra::base::thumbnail::Fit;
use cifra::imaging::color::Conversion;
use cifra::imaging::{Encoding, Layout, Limits, Pixels, encode, make};
use moxcms::{
    ColorProfile, DataColorSpace, LutDataType, LutStore, LutType, LutWarehouse, Matrix3d, ProfileClass,
};

use super::drawn::{drawn, whole};
use super::foreign::with_segment;
use super::plan::size;

fn one(layout: Layout, samples: &[u8]) -> Pixels {
    Pixels { width: 1, height: 1, layout, data: samples.to_vec() }
}

fn converted(layout: Layout, samples: &[u8], icc: Option<&[u8]>) -> Vec<u8> {
    Conversion::new(layout, icc).apply(one(layout, samples)).data
}

fn near(seen: &[u8], expected: &[u8], tolerance: u8) -> bool {
    seen.len() == expected.len()
        && seen.iter().zip(expected).all(|(one, other)| one.abs_diff(*other) <= tolerance)
}

#[test]
fn colors_of_wide_profiles_become_those_of_srgb() {
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    let adobe = ColorProfile::new_adobe_rgb().encode().unwrap();
    // Computed from the matrices of the two spaces (SMPTE EG 432-1; Adobe RGB (1998) 4.3) and IEC 61966-2-1.
    for (icc, given, expected) in [
        (&p3, [255, 255, 255], [255, 255, 255]),
        (&p3, [128, 128, 128], [128, 128, 128]),
        (&p3, [234, 51, 35], [255, 0, 0]),
        (&p3, [117, 251, 76], [0, 255, 0]),
        (&p3, [200, 150, 100], [209, 147, 91]),
        (&adobe, [255, 255, 255], [255, 255, 255]),
        (&adobe, [219, 0, 0], [255, 0, 0]),
        (&adobe, [128, 128, 128], [129, 129, 129]),
        (&adobe, [150, 120, 90], [162, 121, 88]),
    ] {
        let seen = converted(Layout::Rgb, &given, Some(icc));
        assert!(near(&seen, &expected, 3), "{given:?}: {seen:?}, expected {expected:?}");
        let [red, green, blue] = given;
        let seen = converted(Layout::Rgba, &[red, green, blue, 77], Some(icc));
        assert!(near(&seen[..3], &expected, 3), "{given:?} with alpha: {seen:?}");
        assert_eq!(seen[3], 77, "alpha is no color");
    }
}

#[test]
fn srgb_by_any_profile_is_not_touched() {
    let srgb = ColorProfile::new_srgb().encode().unwrap();
    assert!(matches!(Conversion::new(Layout::Rgb, Some(&srgb)), Conversion::None));
    assert!(matches!(Conversion::new(Layout::Rgba, Some(&srgb)), Conversion::None));
    assert!(matches!(Conversion::new(Layout::Gray, Some(&srgb)), Conversion::None));
    assert!(matches!(Conversion::new(Layout::Rgb, None), Conversion::None));
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    assert!(matches!(Conversion::new(Layout::Rgb, Some(&p3)), Conversion::Profile(_)));
}

#[test]
fn gray_stays_gray_whatever_its_profile() {
    let linear = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    // Half of the light is level 188 of sRGB.
    for (layout, given, expected) in [
        (Layout::Gray, &[128][..], &[188][..]),
        (Layout::Gray, &[0], &[0]),
        (Layout::Gray, &[255], &[255]),
        (Layout::Rgba, &[128, 128, 128, 9], &[188, 188, 188, 9]),
        (Layout::Rgb, &[128, 128, 128], &[188, 188, 188]),
        // Colors cannot be meant by a profile for gray.
        (Layout::Rgb, &[128, 128, 20], &[128, 128, 20]),
    ] {
        let seen = converted(layout, given, Some(&linear));
        assert!(near(&seen, expected, 1), "{layout:?} {given:?}: {seen:?}");
    }
    let adobe = ColorProfile::new_adobe_rgb().encode().unwrap();
    assert_eq!(converted(Layout::Gray, &[128], Some(&adobe)).len(), 1);
}

#[test]
fn a_profile_that_is_broken_or_foreign_is_passed_over() {
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    let gray = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    let mut claims_much = p3.clone();
    claims_much[128..132].copy_from_slice(&u32::MAX.to_be_bytes());
    for icc in [&[][..], &[0; 4], &[0xff; 3000], &p3[..100], &claims_much, &vec![0; 5 << 20]] {
        assert_eq!(converted(Layout::Rgb, &[200, 150, 100], Some(icc)), [200, 150, 100]);
        assert_eq!(converted(Layout::Gray, &[200], Some(icc)), [200]);
        assert_eq!(converted(Layout::Cmyk, &[0, 0, 0, 0], Some(icc)), [255, 255, 255]);
    }
    assert_eq!(converted(Layout::Cmyk, &[0, 0, 0, 0], Some(&p3)), [255, 255, 255]);
    assert_eq!(converted(Layout::Rgb, &[200, 150, 100], Some(&gray)), [200, 150, 100]);
    // No byte of a profile makes it panic.
    for at in 0..p3.len() {
        let mut broken = p3.clone();
        broken[at] ^= 0xff;
        converted(Layout::Rgb, &[200, 150, 100], Some(&broken));
    }
}

/// Of a press whose inks are all gray: one of them leaves half of the lightness (L* 50), two or more leave none.
fn gray_press() -> Vec<u8> {
    // ICC.1 10.10: L* 100 is ff00, a* 0 is 8000.
    let identity =
        |channels: usize| (0..=255).map(|level: u16| level * 257).collect::<Vec<u16>>().repeat(channels);
    let overprint = |inks: u32| {
        [[0xff00, 0x8000, 0x8000], [0x7f80, 0x8000, 0x8000], [0, 0x8000, 0x8000]]
            [inks.count_ones().min(2) as usize]
    };
    let table = LutDataType {
        num_input_channels: 4,
        num_output_channels: 3,
        num_clut_grid_points: 2,
        matrix: Matrix3d::IDENTITY,
        num_input_table_entries: 256,
        num_output_table_entries: 256,
        input_table: LutStore::Store16(identity(4)),
        clut_table: LutStore::Store16((0..16).flat_map(overprint).collect()),
        output_table: LutStore::Store16(identity(3)),
        lut_type: LutType::Lut16,
    };
    let mut profile = ColorProfile::new_srgb();
    profile.profile_class = ProfileClass::OutputDevice;
    profile.color_space = DataColorSpace::Cmyk;
    profile.pcs = DataColorSpace::Lab;
    profile.lut_a_to_b_perceptual = Some(LutWarehouse::Lut(table));
    profile.encode().unwrap()
}

#[test]
fn cmyk_with_a_profile_looks_as_its_press_prints() {
    let icc = gray_press();
    for (inks, expected) in [
        ([0, 0, 0, 0], [255; 3]),
        // L* 50 is level 119 of sRGB.
        ([255, 0, 0, 0], [119; 3]),
        ([0, 0, 255, 0], [119; 3]),
        ([0, 255, 0, 255], [0; 3]),
    ] {
        let seen = converted(Layout::Cmyk, &inks, Some(&icc));
        assert!(near(&seen, &expected, 4), "{inks:?}: {seen:?}");
    }
    assert_eq!(converted(Layout::Rgb, &[200, 150, 100], Some(&icc)), [200, 150, 100], "colors are no inks");
}

#[test]
fn a_profile_that_was_met_before_means_the_same_again() {
    let profiles: Vec<Vec<u8>> = (10_u8..40)
        .map(|gamma| ColorProfile::new_gray_with_gamma(f32::from(gamma) / 10.0).encode().unwrap())
        .collect();
    let pass =
        || profiles.iter().map(|icc| converted(Layout::Gray, &[100], Some(icc))[0]).collect::<Vec<u8>>();
    let first = pass();
    assert!(first.is_sorted_by(|one, next| one > next), "more gamma is darker: {first:?}");
    assert_eq!(pass(), first);
    // Of the same profile, a gray picture's conversion is not a colored one's.
    assert_eq!(converted(Layout::Rgb, &[100, 100, 9], Some(&profiles[0])), [100, 100, 9]);
}

#[test]
fn cmyk_without_a_profile_looks_as_printed_on_coated_paper() {
    let percent = |part: u32| u8::try_from(part * 255 / 100).unwrap();
    // Fogra39 in sRGB with the paper as white, as layout programs show it.
    for (inks, expected) in [
        ([0, 0, 0, 0], [255, 255, 255]),
        ([0, 0, 0, 20], [218, 218, 218]),
        ([0, 0, 0, 40], [178, 178, 178]),
        ([0, 0, 0, 60], [135, 135, 135]),
        ([0, 0, 0, 80], [87, 87, 86]),
        ([0, 0, 0, 100], [29, 29, 27]),
        ([100, 0, 0, 0], [0, 158, 227]),
        ([0, 100, 0, 0], [230, 0, 126]),
        ([0, 0, 100, 0], [255, 237, 0]),
        ([0, 100, 100, 0], [227, 6, 19]),
        ([100, 100, 0, 0], [49, 39, 131]),
        ([100, 100, 100, 100], [0, 0, 0]),
    ] {
        let seen = converted(Layout::Cmyk, &inks.map(percent), None);
        assert!(near(&seen, &expected, 8), "{inks:?}: {seen:?}, expected {expected:?}");
    }
}

#[test]
fn no_level_of_ink_makes_a_band() {
    for ink in 0..4 {
        let seen: Vec<Vec<u8>> = (0..=255)
            .map(|level| {
                let mut inks = [0; 4];
                inks[ink] = level;
                converted(Layout::Cmyk, &inks, None)
            })
            .collect();
        for pair in seen.windows(2) {
            for (light, dark) in pair[0].iter().zip(&pair[1]) {
                assert!(dark <= light && light - dark <= 6, "ink {ink}: {pair:?}");
            }
        }
    }
}

#[test]
fn a_jpeg_with_a_wide_profile_has_thumbnails_in_srgb() {
    let data = [234_u8, 51, 35].repeat(64 * 64);
    let red = Pixels { width: 64, height: 64, layout: Layout::Rgb, data };
    let jpeg = encode(&red, Encoding::Jpeg { quality: 100 }).unwrap();
    let icc = ColorProfile::new_display_p3().encode().unwrap();
    let tagged = with_segment(&jpeg, 0xe2, &[b"ICC_PROFILE\0\x01\x01", icc.as_slice()].concat());
    let deadline = Instant::now() + Duration::from_mins(1);
    let thumbnail = |file: &[u8]| {
        let made = make(file, &[size("one", 16, 16, Fit::Inside)], &Limits::default(), deadline).unwrap();
        (whole(&made.thumbnails[0].bytes).unwrap(), made.picture.average_color.0)
    };
    let (plain, _) = thumbnail(&jpeg);
    assert!(near(&plain.pixels.data[..3], &[234, 51, 35], 4), "{:?}", &plain.pixels.data[..3]);
    let (converted, average) = thumbnail(&tagged);
    assert!(near(&converted.pixels.data[..3], &[255, 0, 0], 4), "{:?}", &converted.pixels.data[..3]);
    assert!(near(&average, &[255, 0, 0], 4), "{average:?}");
    assert_eq!(converted.icc, None, "no metadata");
}

#[test]
fn a_gray_jpeg_has_gray_thumbnails() {
    let jpeg = encode(&drawn(300, 200, Layout::Gray), Encoding::Jpeg { quality: 90 }).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let made = make(&jpeg, &[size("one", 60, 60, Fit::Inside)], &Limits::default(), deadline).unwrap();
    assert_eq!(whole(&made.thumbnails[0].bytes).unwrap().pixels.layout, Layout::Gray);
}
