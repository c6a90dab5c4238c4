//! CMYK without a profile: what a press would print, seen on a screen.
//!
//! Neugebauer's model: dots of three inks fall on paper at random, so that each of their eight overprints covers a known
//! part of it; black falls on top. The overprints are those of coated paper (ISO 12647-2, as Fogra39 has them), told
//! in sRGB with the paper as white. Dots grow when they are printed. Called by `color`.

/// sRGB of the paper and of the overprints of cyan (1), magenta (2) and yellow (4).
const OVERPRINTS: [[u8; 3]; 8] = [
    [255, 255, 255],
    [0, 158, 227],
    [230, 0, 126],
    [49, 39, 131],
    [255, 237, 0],
    [0, 150, 64],
    [227, 6, 19],
    [54, 52, 50],
];

/// sRGB of black ink on paper.
const BLACK: u8 = 29;

/// What dots that cover half of the paper cover more when they are printed, in parts of it. With it, 20, 40, 60 and
/// 80 % of black are seen as #dadada, #b2b2b2, #878787 and #575757, which is what Fogra39 says.
const GAIN: f32 = 0.17;

/// Steps between no light and all of it; fine enough that no dark level of sRGB is left out.
const STEPS: u16 = 4096;

/// Pixels of cyan, magenta, yellow and black (0 is no ink) in sRGB.
pub(super) fn to_srgb(pixels: &[[u8; 4]]) -> Vec<[u8; 3]> {
    let overprints = OVERPRINTS.map(|color| color.map(light));
    let black = light(BLACK);
    let covered: Vec<f32> = (0..=u8::MAX).map(covered).collect();
    let levels: Vec<u8> = (0..=STEPS).map(|step| level(f32::from(step) / f32::from(STEPS))).collect();
    let seen = |&[c, m, y, k]: &[u8; 4]| {
        let [c, m, y, k] = [c, m, y, k].map(|ink| covered[usize::from(ink)]);
        let mut color = [0.0; 3];
        for (index, overprint) in overprints.iter().enumerate() {
            let part = |ink: f32, bit: usize| if index & bit == 0 { 1.0 - ink } else { ink };
            let weight = part(c, 1) * part(m, 2) * part(y, 4);
            for (sum, channel) in color.iter_mut().zip(overprint) {
                *sum += weight * channel;
            }
        }
        // Black lets through the same part of whatever lies below it.
        color.map(|light| levels[step(light * (1.0 - k + k * black))])
    };
    pixels.iter().map(seen).collect()
}

/// The part of the paper that an ink covers.
fn covered(ink: u8) -> f32 {
    let part = f32::from(ink) / 255.0;
    part + 4.0 * GAIN * part * (1.0 - part)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "light is between 0 and 1")]
fn step(light: f32) -> usize {
    (light.clamp(0.0, 1.0) * f32::from(STEPS) + 0.5) as usize
}

/// sRGB's transfer function (IEC 61966-2-1).
fn light(level: u8) -> f32 {
    let level = f32::from(level) / 255.0;
    if level <= 0.04045 { level / 12.92 } else { ((level + 0.055) / 1.055).powf(2.4) }
}

/// Its inverse.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "light is between 0 and 1")]
fn level(light: f32) -> u8 {
    let level = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
    (level * 255.0 + 0.5) as u8
}
