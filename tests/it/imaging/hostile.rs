//! Files that want to hurt: they claim too much, end too early, never end, or are broken in every place.

use std::time::{Duration, Instant};

use cifra::imaging::{Encoding, Layout, Limits, Needed, Orientation, Reason, decode, encode, price, probe};

use super::drawn::{at_least, drawn, whole};
use super::foreign::{anmf, exif, jpeg, lossless_webp, vp8x, webp, with_chunk, with_segment};

/// A small file of every kind.
fn one_of_each() -> Vec<(&'static str, Vec<u8>)> {
    let (rgb, rgba) = (drawn(24, 20, Layout::Rgb), drawn(24, 20, Layout::Rgba));
    let ours = |encoding| encode(&rgb, encoding).unwrap().to_vec();
    let frame = encode(&rgba, Encoding::WebP { quality: 50 }).unwrap();
    let (canvas, first) = (vp8x(0x12, 40, 30), anmf(&frame, (2, 4), (24, 20)));
    let mut gif = Vec::new();
    let mut encoder = gif::Encoder::new(&mut gif, 24, 20, &[0; 12]).unwrap();
    let indexed: Vec<u8> = (0..24 * 20_u16).map(|at| u8::try_from(at % 4).unwrap()).collect();
    let buffer = indexed.into();
    encoder
        .write_frame(&gif::Frame { width: 24, height: 20, buffer, interlaced: true, ..gif::Frame::default() })
        .unwrap();
    drop(encoder);
    let theirs = |format| {
        let mut file = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_raw(24, 20, rgb.data.clone()).unwrap().write_to(&mut file, format).unwrap();
        file.into_inner()
    };
    vec![
        (
            "jpeg",
            with_segment(
                &ours(Encoding::Jpeg { quality: 80 }),
                0xe1,
                &[b"Exif\0\0", &exif(6, true)[..]].concat(),
            ),
        ),
        ("progressive jpeg", jpeg(&rgb, true, true)),
        ("cmyk jpeg", jpeg(&drawn(24, 20, Layout::Cmyk), false, false)),
        ("png", with_chunk(&ours(Encoding::Png), *b"eXIf", &exif(3, false))),
        ("webp", ours(Encoding::WebP { quality: 80 })),
        ("lossless webp", lossless_webp(&rgba)),
        ("animated webp", webp(&[(*b"VP8X", &canvas), (*b"ANIM", &[0; 6]), (*b"ANMF", &first)])),
        ("gif", gif),
        ("bmp", theirs(image::ImageFormat::Bmp)),
        ("tiff", theirs(image::ImageFormat::Tiff)),
    ]
}

#[test]
fn a_file_that_ends_anywhere_is_decoded_or_told_to_be_broken() {
    for (name, file) in one_of_each() {
        assert!(!whole(&file).unwrap().truncated, "{name}");
        for len in 0..file.len() {
            if let Err(fault) = whole(&file[..len]) {
                let known = [Reason::Corrupt, Reason::NotAnImage];
                assert!(known.contains(&fault.reason), "{name} of {len} bytes: {fault:?}");
            }
        }
    }
}

#[test]
fn a_file_that_is_broken_anywhere_neither_hangs_nor_panics() {
    for (name, file) in one_of_each() {
        let begun = Instant::now();
        for at in 0..file.len().min(500) {
            for flip in [0x01 << (at % 7), 0x80] {
                let mut broken = file.clone();
                broken[at] ^= flip;
                // What comes out is anybody's guess, but it is a picture or a fault.
                if let Ok(decoded) = at_least(&broken, 5, 5) {
                    let pixels = decoded.pixels;
                    let len = pixels.width as usize * pixels.height as usize * pixels.layout.channels();
                    assert_eq!(pixels.data.len(), len, "{name}, byte {at} ^ {flip}");
                }
            }
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "{name}");
    }
}

/// The beginning of a PNG that claims this size.
fn claimed_png(width: u32, height: u32) -> Vec<u8> {
    let file = encode(&drawn(1, 1, Layout::Rgba), Encoding::Png).unwrap();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[16, 6, 0, 0, 0]].concat();
    let renamed = with_chunk(&file[..33], *b"IHDR", &header);
    [&file[..8], &renamed[33..], &file[33..]].concat()
}

/// A JPEG whose frame claims another size than it has.
fn claimed_jpeg(progressive: bool, width: u16, height: u16) -> Vec<u8> {
    let mut file = jpeg(&drawn(16, 16, Layout::Rgb), progressive, false);
    let frame = file.windows(2).position(|two| two == [0xff, if progressive { 0xc2 } else { 0xc0 }]).unwrap();
    file[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    file[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    file
}

#[test]
fn what_claims_too_much_is_refused_before_anything_is_decoded() {
    let begun = Instant::now();
    let needed = |file: &[u8]| at_least(file, 800, 800).unwrap_err();
    for (width, height) in
        [(i32::MAX.cast_unsigned(), i32::MAX.cast_unsigned()), (16_384, 16_384), (300_000_000, 1)]
    {
        assert_eq!(needed(&claimed_png(width, height)).reason, Reason::TooLarge);
    }
    assert_eq!(needed(&claimed_jpeg(false, 65_500, 65_500)).reason, Reason::TooLarge);
    // Few enough pixels, too many coefficients.
    assert_eq!(needed(&claimed_jpeg(true, 16_383, 16_383)).reason, Reason::TooLarge);
    let canvas = vp8x(2, 1 << 24, 1 << 24);
    assert_eq!(needed(&webp(&[(*b"VP8X", &canvas)])).reason, Reason::TooLarge);
    let gif = [&b"GIF89a\x01\0\x01\0\0\0\0\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\x01\0\0\x3b"[..]].concat();
    assert_eq!(needed(&gif).reason, Reason::TooLarge);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_picture_without_width_or_height_is_broken() {
    for (width, height) in [(0, 1), (1, 0), (0, 0)] {
        assert_eq!(probe(&claimed_png(width, height)).unwrap_err().reason, Reason::Corrupt);
        let (short_width, short_height) = (u16::try_from(width).unwrap(), u16::try_from(height).unwrap());
        let jpeg = claimed_jpeg(false, short_width, short_height);
        assert_eq!(probe(&jpeg).unwrap_err().reason, Reason::Corrupt);
        let sides = [short_width.to_le_bytes(), short_height.to_le_bytes()].concat();
        let gif = [&b"GIF89a"[..], &sides, &[0; 3]].concat();
        assert_eq!(probe(&gif).unwrap_err().reason, Reason::Corrupt);
    }
}

#[test]
fn a_jpeg_that_claims_much_and_has_little_is_decoded_small_or_refused() {
    let begun = Instant::now();
    match at_least(&claimed_jpeg(false, 16_000, 16_000), 800, 800) {
        Ok(decoded) => assert!(decoded.truncated && decoded.pixels.width == 2000),
        Err(fault) => assert_eq!(fault.reason, Reason::Corrupt),
    }
    assert_eq!(at_least(&claimed_png(16_000, 16_000), 800, 800).unwrap_err().reason, Reason::Corrupt);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn thousands_of_scans_are_not_gone_through() {
    let file = jpeg(&drawn(640, 640, Layout::Rgb), true, false);
    let last = (0..file.len() - 1).rev().find(|at| file[*at..*at + 2] == [0xff, 0xda]).unwrap();
    let (head, scan) = (&file[..last], &file[last..file.len() - 2]);
    let bomb = [head.to_vec(), scan.repeat(3000), vec![0xff, 0xd9]].concat();
    let begun = Instant::now();
    assert_eq!(whole(&bomb).unwrap_err().reason, Reason::Corrupt);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// Bits, the lowest of each byte first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, count: u32, value: u32) {
        self.0.extend((0..count).map(|bit| value >> bit & 1 == 1));
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        self.0.chunks(8).map(byte).collect()
    }
}

/// A lossless WebP of 1024 by 1024 pixels, each block of 4 by 4 of which has prefix codes of its own, up to `groups`
/// (65536 at most).
fn webp_of_many_codes(groups: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(32, 1023 | 1023 << 14);
    // No transform, no cache; a picture of 256 by 256 says which codes are for which block.
    bits.put(2, 0);
    bits.put(1, 1);
    bits.put(3, 0);
    bits.put(1, 0);
    // Green and red: 256 symbols of 8 bits each, told in no bits at all but their number.
    for _ in 0..2 {
        bits.put(1, 0);
        bits.put(4, 12 - 4);
        (0..11).for_each(|_| bits.put(3, 0));
        bits.put(3, 1);
        bits.put(1, 1);
        bits.put(3, 3);
        bits.put(8, 254);
    }
    let only_zero = |bits: &mut Bits| bits.put(4, 1);
    (0..3).for_each(|_| only_zero(&mut bits));
    for block in 0..65536_u32 {
        let group = block % groups;
        let word = |value: u32| value.reverse_bits() >> 24;
        bits.put(8, word(group & 255));
        bits.put(8, word(group >> 8));
    }
    (0..5 * groups).for_each(|_| only_zero(&mut bits));
    webp(&[(*b"VP8L", &[&[0x2f][..], &bits.bytes(), &[0; 64]].concat())])
}

#[test]
fn a_lossless_webp_whose_tables_alone_would_fill_the_memory_is_refused() {
    let decoded = at_least(&webp_of_many_codes(1500), 100, 100).unwrap();
    assert!(!decoded.truncated);
    for groups in [20_000, 65_536] {
        let file = webp_of_many_codes(groups);
        assert!(file.len() < 400_000);
        assert_eq!(at_least(&file, 100, 100).unwrap_err().reason, Reason::TooLarge);
    }
}

#[test]
fn frames_are_counted_only_so_far() {
    let frame = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
    let gif = [&b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff"[..], &frame.repeat(50_000), b";"].concat();
    assert_eq!(probe(&gif).unwrap().frames, 10_000);
    assert_eq!(probe(&gif[..19 + 15 * 3]).unwrap().frames, 3);

    let still = encode(&drawn(2, 2, Layout::Rgb), Encoding::WebP { quality: 1 }).unwrap();
    let (canvas, frame) = (vp8x(2, 2, 2), anmf(&still, (0, 0), (2, 2)));
    let mut chunks: Vec<([u8; 4], &[u8])> = vec![(*b"VP8X", &canvas), (*b"ANIM", &[0; 6])];
    chunks.extend(std::iter::repeat_n((*b"ANMF", &frame[..]), 50_000));
    assert_eq!(probe(&webp(&chunks)).unwrap().frames, 10_000);

    // A directory that follows itself.
    let tag = |tag: u8, value: u8| [tag, 1, 3, 0, 1, 0, 0, 0, value, 0, 0, 0];
    let tiff = [&b"II\x2a\0\x08\0\0\0\x02\0"[..], &tag(0, 1), &tag(1, 1), &[8, 0, 0, 0]].concat();
    assert_eq!(probe(&tiff).unwrap().frames, 10_000);
}

#[test]
fn broken_exif_counts_as_upright() {
    let file = encode(&drawn(8, 8, Layout::Rgb), Encoding::Jpeg { quality: 80 }).unwrap();
    let good = exif(6, false);
    let changed = |at: usize, to: &[u8]| {
        let mut block = good.clone();
        block[at..at + to.len()].copy_from_slice(to);
        block
    };
    let blocks = [
        Vec::new(),
        b"II".to_vec(),
        good[..20].to_vec(),
        changed(4, &[0xff; 4]),  // the directory is far outside
        changed(8, &[0xff; 2]),  // more entries than bytes
        changed(12, &[7, 0]),    // another type
        changed(14, &[0xff; 4]), // more values than bytes
        changed(18, &[9, 0]),    // no such orientation
    ];
    for block in blocks {
        let jpeg = with_segment(&file, 0xe1, &[b"Exif\0\0", &block[..]].concat());
        assert_eq!(probe(&jpeg).unwrap().orientation, Orientation::UPRIGHT, "{block:?}");
        assert!(whole(&jpeg).is_ok());
    }
}

#[test]
fn a_deadline_that_has_passed_ends_it() {
    for (name, file) in one_of_each() {
        let (probe, needed) = (probe(&file).unwrap(), Needed { width: 8, height: 8 });
        let fault = decode(&file, &probe, needed, &Limits::default(), Instant::now()).unwrap_err();
        assert_eq!(fault.reason, Reason::TimedOut, "{name}");
    }
}

#[test]
fn the_price_grows_with_what_must_be_held_and_limits_are_kept() {
    let (needed, limits) = (Needed { width: 100, height: 100 }, Limits::default());
    let picture = drawn(1000, 1000, Layout::Rgb);
    let cost = |file: &[u8]| price(&probe(file).unwrap(), needed, &limits).unwrap();
    let (baseline, progressive) = (jpeg(&picture, false, false), jpeg(&picture, true, false));
    assert!(cost(&progressive) >= cost(&baseline) + 6_000_000);

    let small = Limits { memory_max: cost(&progressive) - 1, ..limits };
    assert_eq!(price(&probe(&progressive).unwrap(), needed, &small).unwrap_err().reason, Reason::TooLarge);
    assert!(price(&probe(&baseline).unwrap(), needed, &small).is_ok());
    let few = Limits { pixels_max: 999_999, ..limits };
    assert_eq!(price(&probe(&baseline).unwrap(), needed, &few).unwrap_err().reason, Reason::TooLarge);
}
