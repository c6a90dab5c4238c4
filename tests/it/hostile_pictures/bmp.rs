//! Windows bitmaps, with every header and compression there was.

use cifra::imaging::Reason;

use super::case::{Case, Expected, made, refused};

/// A header of 40 bytes, and what stands behind it.
struct Bmp {
    width: i32,
    height: i32,
    bits: u16,
    compression: u32,
    /// Of the palette; 0 is as many as there can be.
    colors: u32,
    rest: Vec<u8>,
}

impl Bmp {
    fn file(&self) -> Vec<u8> {
        self.with_header_of(40)
    }

    fn with_header_of(&self, len: u32) -> Vec<u8> {
        let mut info = len.to_le_bytes().to_vec();
        info.extend(self.width.to_le_bytes());
        info.extend(self.height.to_le_bytes());
        info.extend([1_u16, self.bits].into_iter().flat_map(u16::to_le_bytes));
        info.extend([self.compression, 0, 2835, 2835, self.colors, 0].into_iter().flat_map(u32::to_le_bytes));
        let palette = if self.bits <= 8 { 4 << self.bits } else { 0 };
        let masks = if self.compression == 3 { 12 } else { 0 };
        let start = 14 + u32::try_from(info.len() + palette + masks).unwrap();
        let len = start + u32::try_from(self.rest.len()).unwrap();
        let mut file = b"BM".to_vec();
        file.extend([len, 0, start].into_iter().flat_map(u32::to_le_bytes));
        file.extend(info);
        if masks == 0 {
            file.extend((0..=255_u8).cycle().take(palette));
        }
        file.extend(&self.rest);
        file
    }
}

fn rows(width: usize, height: usize, bits: usize) -> Vec<u8> {
    let row = (width * bits).div_ceil(32) * 4;
    (0..row * height).map(|at| (at * 3).to_le_bytes()[0]).collect()
}

/// A whole one of 24 bits.
pub(super) fn file(width: u16, height: u16) -> Vec<u8> {
    let rest = rows(width.into(), height.into(), 24);
    Bmp { width: width.into(), height: height.into(), bits: 24, compression: 0, colors: 0, rest }.file()
}

const RLE8: u32 = 1;
const RLE4: u32 = 2;
const MASKS: u32 = 3;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for bits in [1, 4, 8, 16, 24, 32] {
        for height in [43, -43] {
            let rest = rows(61, 43, bits.into());
            let bmp = Bmp { width: 61, height, bits, compression: 0, colors: 0, rest };
            cases.push(Case::new(format!("{bits} bits, height {height}"), bmp.file(), made(61, 43)));
        }
    }
    for bits in [0, 2, 3, 7, 64, 65_535] {
        let bmp = Bmp { width: 61, height: 43, bits, compression: 0, colors: 0, rest: vec![0; 9999] };
        let file = Bmp { bits: 24, ..bmp }.file();
        let file = [&file[..28], &bits.to_le_bytes(), &file[30..]].concat();
        cases.push(Case::new(format!("{bits} bits"), file, Expected::Anything));
    }
    for len in [12, 52, 56, 64, 108, 124] {
        let bmp = Bmp { width: 61, height: 43, bits: 24, compression: 0, colors: 0, rest: vec![0; 9999] };
        cases.push(Case::new(
            format!("40 bytes that say {len}"),
            bmp.with_header_of(len),
            Expected::Anything,
        ));
    }
    for len in [0, 1, 13, 41, 125, 0x7fff_ffff, 0xffff_ffff] {
        let bmp = Bmp { width: 61, height: 43, bits: 24, compression: 0, colors: 0, rest: vec![0; 9999] };
        let file = bmp.with_header_of(len);
        cases.push(Case::new(format!("a header of {len} bytes"), file, refused(Reason::NotAnImage)));
    }
    cases.extend(sizes());
    cases.extend(packed());
    cases
}

fn sizes() -> Vec<Case> {
    let sized = |width, height, expected| {
        let rest = vec![0; 400];
        let bmp = Bmp { width, height, bits: 24, compression: 0, colors: 0, rest };
        Case::new(format!("400 bytes of {width}x{height}"), bmp.file(), expected)
    };
    vec![
        sized(0, 0, refused(Reason::Corrupt)),
        sized(0, 8, refused(Reason::Corrupt)),
        sized(8, 0, refused(Reason::Corrupt)),
        sized(-8, 8, refused(Reason::Corrupt)),
        sized(8, i32::MIN, refused(Reason::TooLarge)),
        sized(i32::MAX, i32::MAX, refused(Reason::TooLarge)),
        sized(65_535, 65_535, refused(Reason::TooLarge)),
        sized(16_000, 16_000, refused(Reason::TooLarge)),
        sized(2000, -2000, Expected::Broken),
        Case::new("1x30000", file(1, 30_000), made(1, 30_000)),
        Case::new("30000x1", file(30_000, 1), made(30_000, 1)),
        Case::new("1x1", file(1, 1), made(1, 1)),
    ]
}

fn packed() -> Vec<Case> {
    let packed = |name: &str, side, compression, bits, rest: Vec<u8>, expected| {
        let bmp = Bmp { width: side, height: side, bits, compression, colors: 0, rest };
        Case::new(name, bmp.file(), expected)
    };
    let masks = |masks: [u32; 3]| masks.map(u32::to_le_bytes).concat();
    let with = |head: Vec<u8>| [head, vec![0x5a; 40_000]].concat();
    let anything = Expected::Anything;
    let mut cases = vec![
        packed("RLE8 that ends at once", 1000, RLE8, 8, vec![0, 1], anything),
        packed("RLE4 that ends at once", 1000, RLE4, 4, vec![0, 1], anything),
        packed("RLE8 that ends at once, giant", 16_000, RLE8, 8, vec![0, 1], refused(Reason::TooLarge)),
        packed("RLE8 of long runs", 1000, RLE8, 8, [255, 7].repeat(4000), anything),
        packed("RLE8 of too much", 64, RLE8, 8, [255, 7].repeat(100_000), anything),
        packed("RLE8 of moves", 64, RLE8, 8, [0, 2, 255, 255].repeat(100_000), anything),
        packed("RLE8 of ends of lines", 64, RLE8, 8, [0, 0].repeat(100_000), anything),
        packed("RLE8 of literals that are not there", 64, RLE8, 8, vec![0, 255, 1], anything),
        packed("RLE8 of 24 bits", 64, RLE8, 24, vec![0, 1], anything),
        packed("masks of nothing", 64, MASKS, 32, with(masks([0; 3])), anything),
        packed("masks that overlap", 64, MASKS, 32, with(masks([u32::MAX; 3])), anything),
        packed("masks with holes", 64, MASKS, 32, with(masks([0x5555_5555, 0xaaaa_aaaa, 1])), anything),
        packed(
            "masks of 16 bits for 32",
            64,
            MASKS,
            16,
            with(masks([0xff00_0000, 0xff_0000, 0xff00])),
            anything,
        ),
        packed("masks that are missing", 64, MASKS, 32, Vec::new(), Expected::Broken),
        packed("a JPEG inside", 64, 4, 0, vec![0xff, 0xd8, 0xff], anything),
        packed("an unknown compression", 64, 0xffff_ffff, 24, vec![0; 13_000], anything),
    ];
    for colors in [1, 257, 65_536, u32::MAX] {
        let bmp = Bmp { width: 64, height: 64, bits: 8, compression: 0, colors, rest: rows(64, 64, 8) };
        cases.push(Case::new(format!("a palette of {colors} colors"), bmp.file(), anything));
    }
    for start in [0, 1, 13, 54, 0x7fff_ffff, u32::MAX] {
        let whole = file(64, 48);
        let moved = [&whole[..10], &start.to_le_bytes(), &whole[14..]].concat();
        cases.push(Case::new(format!("pixels at {start}"), moved, anything));
    }
    cases
}
