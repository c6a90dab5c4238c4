//! Whole files of every format, cut off and with bytes changed. What is changed comes from a fixed seed.

use cifra::imaging::{Layout, Reason};

use super::case::{Case, Expected, PAYLOAD, refused};
use super::jpeg::{BASELINE, Jpeg, PROGRESSIVE};
use super::png::Png;
use super::{bmp, gif, tiff, webp};

/// How many files with changed bytes are made of each.
const CHANGED: u32 = 24;

/// A file of each kind, large enough that a sixteenth of it is more than a header.
fn whole() -> Vec<(&'static str, Vec<u8>)> {
    let jpeg = |process| Jpeg { process, ..Jpeg::new(200, 150) }.file();
    let png = |color, bits, interlaced| Png { width: 120, height: 90, bits, color, interlaced }.file();
    vec![
        ("JPEG", jpeg(BASELINE)),
        ("progressive JPEG", jpeg(PROGRESSIVE)),
        ("CMYK JPEG", Jpeg { components: vec![(1, 1); 4], ..Jpeg::new(200, 150) }.file()),
        ("PNG", png(2, 8, false)),
        ("interlaced PNG", png(6, 16, true)),
        ("palette PNG", png(3, 4, false)),
        ("GIF", gif::file(120, 90)),
        ("WebP", webp::lossy(120, 90, Layout::Rgb)),
        ("WebP with alpha", webp::lossy(120, 90, Layout::Rgba)),
        ("lossless WebP", webp::lossless(120, 90)),
        ("animated WebP", webp::animated(120, 90)),
        ("BMP", bmp::file(60, 45)),
        ("TIFF", tiff::file(60, 45)),
    ]
}

pub(super) fn cut() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, file) in whole() {
        for sixteenth in 0..16 {
            let cut = file[..file.len() * sixteenth / 16].to_vec();
            let expected = match (kind, sixteenth) {
                (_, 0) => refused(Reason::NotAnImage),
                // Its second frame is cut, the first one is whole.
                ("animated WebP", _) => Expected::Anything,
                _ => Expected::Broken,
            };
            cases.push(Case::new(format!("{kind}, {sixteenth}/16"), cut, expected));
        }
    }
    cases
}

pub(super) fn changed() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, file) in whole() {
        for seed in 0..CHANGED {
            let mut changed = file.clone();
            let mut dice = Dice(u64::from(seed) * 0x9e37_79b9 + 1);
            for _ in 0..=seed % 8 {
                // Half of them in the headers, where they do most.
                let all = if seed % 2 == 0 { changed.len() } else { changed.len().min(64) };
                let at = dice.roll(all);
                changed[at] = dice.roll(256).to_le_bytes()[0];
            }
            cases.push(Case::new(format!("{kind}, changed by seed {seed}"), changed, Expected::Anything));
        }
    }
    cases
}

/// Numbers without a pattern (xorshift64*, Vigna 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % below
    }
}

/// Pictures of formats that are known and not decoded, and what is no picture.
pub(super) fn others() -> Vec<Case> {
    let iso = |brands: &[u8]| {
        let len = u32::try_from(brands.len() + 8).unwrap().to_be_bytes();
        [&len[..], b"ftyp", brands, &[0; 4000]].concat()
    };
    let svg = |text: &str| text.replace("PAYLOAD", std::str::from_utf8(PAYLOAD).unwrap()).into_bytes();
    let unsupported = [
        ("HEIC", iso(b"heic\0\0\0\0mif1heic")),
        ("HEIC of a burst", iso(b"msf1\0\0\0\0hevc")),
        ("HEIC by its other brands", iso(b"mif1\0\0\0\0mif1heic")),
        ("AVIF", iso(b"avif\0\0\0\0avifmif1miaf")),
        ("AVIF film", iso(b"avis\0\0\0\0avis")),
        ("JPEG XL", [&[0xff, 0x0a][..], &[0; 400]].concat()),
        ("JPEG XL in boxes", [b"\0\0\0\x0cJXL \r\n\x87\n", &[0; 400][..]].concat()),
        ("SVG", svg("<svg xmlns='http://www.w3.org/2000/svg'>PAYLOAD</svg>")),
        (
            "SVG behind a declaration",
            svg("<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY a 'b'>]><!-- > --><svg/>"),
        ),
    ];
    let none = [
        ("nothing", Vec::new()),
        ("one byte", vec![0xff]),
        ("HTML", b"<!DOCTYPE html><html><script>alert(1)</script>".to_vec()),
        ("a text", b"BM is no bitmap, GIF8 is no picture".to_vec()),
        ("a ZIP archive", b"PK\x03\x04".repeat(99)),
        ("a PDF", b"%PDF-1.7\n".to_vec()),
        ("a film", iso(b"isom\0\0\0\0mp42")),
        ("RIFF of sounds", b"RIFF\x10\0\0\0WAVEfmt ".repeat(9)),
        ("zeros", vec![0; 9999]),
        ("a GIF of another year", b"GIF90a".repeat(9)),
    ];
    let unsupported = unsupported
        .into_iter()
        .map(|(name, bytes)| Case::new(name, bytes, refused(Reason::UnsupportedFormat)));
    let none = none.into_iter().map(|(name, bytes)| Case::new(name, bytes, refused(Reason::NotAnImage)));
    unsupported.chain(none).collect()
}
