//! PNG, chunk by chunk (PNG third edition, section 11): well-formed ones, and those that are not.

use std::io::Write;

use cifra::imaging::Reason;
use flate2::write::ZlibEncoder;
use flate2::{Compress, Compression, FlushCompress};

use super::case::{Case, Expected, PAYLOAD, made, refused, slow};

/// Which of PNG's kinds a picture is, and how large.
#[derive(Clone, Copy)]
pub(super) struct Png {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bits: u8,
    /// 0 gray, 2 colors, 3 palette, 4 gray with alpha, 6 colors with alpha.
    pub(super) color: u8,
    pub(super) interlaced: bool,
}

impl Png {
    pub(super) const fn rgb(width: u32, height: u32) -> Self {
        Self { width, height, bits: 8, color: 2, interlaced: false }
    }

    fn bits_a_pixel(self) -> u32 {
        let channels = match self.color {
            0 | 3 => 1,
            4 => 2,
            2 => 3,
            _ => 4,
        };
        channels * u32::from(self.bits)
    }

    /// Rows of a pattern, none of them filtered.
    fn rows(self, width: u32, height: u32) -> Vec<u8> {
        let len = (width * self.bits_a_pixel()).div_ceil(8);
        let row = |y: u32| {
            let byte = move |x: u32| (x * 7 + y * 5).to_le_bytes()[0];
            std::iter::once(0).chain((0..len).map(byte))
        };
        (0..height).flat_map(row).collect()
    }

    pub(super) fn data(self) -> Vec<u8> {
        if !self.interlaced {
            return self.rows(self.width, self.height);
        }
        // Section 8.1: where each pass of Adam7 begins, and how far its pixels are from each other.
        let passes = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ];
        let pass = |(x, y, across, down): (u32, u32, u32, u32)| {
            let width = self.width.saturating_sub(x).div_ceil(across);
            let height = self.height.saturating_sub(y).div_ceil(down);
            if width == 0 { Vec::new() } else { self.rows(width, height) }
        };
        passes.into_iter().flat_map(pass).collect()
    }

    pub(super) fn header(self) -> Vec<u8> {
        let mut data = [self.width.to_be_bytes(), self.height.to_be_bytes()].concat();
        data.extend([self.bits, self.color, 0, 0, u8::from(self.interlaced)]);
        [SIGNATURE.to_vec(), chunk(*b"IHDR", &data)].concat()
    }

    /// The file, with these chunks before the picture's data.
    pub(super) fn with(self, chunks: &[Vec<u8>]) -> Vec<u8> {
        self.with_data(chunks, &zlib(&self.data()))
    }

    pub(super) fn with_data(self, chunks: &[Vec<u8>], data: &[u8]) -> Vec<u8> {
        let mut file = self.header();
        if self.color == 3 {
            let palette: Vec<u8> = (0..=255_u8).take(1 << self.bits).flat_map(|i| [i, 255 - i, 99]).collect();
            file.extend(chunk(*b"PLTE", &palette));
        }
        file.extend(chunks.concat());
        file.extend(chunk(*b"IDAT", data));
        file.extend(chunk(*b"IEND", &[]));
        file
    }

    pub(super) fn file(self) -> Vec<u8> {
        self.with(&[])
    }
}

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

pub(super) fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap().to_be_bytes();
    let body = [kind.as_slice(), data].concat();
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &body);
    [len.as_slice(), &body, &crc.to_be_bytes()[4..]].concat()
}

pub(super) fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A zlib stream that becomes `len` zeros: a thousandth of that. One piece is packed, and repeated.
pub(super) fn zeros(len: u64) -> Vec<u8> {
    let len = usize::try_from(len).unwrap();
    let mut stream = vec![0x78, 0x01];
    stream.extend(packed_zeros(PIECE).repeat(len / PIECE));
    stream.extend(packed_zeros(len % PIECE));
    stream.extend([3, 0]); // an empty block, the last one
    let sum = u32::try_from(len % 65_521).unwrap() << 16 | 1; // Adler-32 (RFC 1950, 8.2)
    stream.extend(sum.to_be_bytes());
    stream
}

const PIECE: usize = 1 << 20;

/// Blocks that end on a whole byte, and refer to nothing before them.
fn packed_zeros(len: usize) -> Vec<u8> {
    let mut packed = Vec::with_capacity(4096 + len / 500);
    let mut deflate = Compress::new(Compression::best(), false);
    deflate.compress_vec(&vec![0; len], &mut packed, FlushCompress::Full).unwrap();
    packed
}

/// A profile's chunk: its name, how it is packed, and it, packed.
pub(super) fn iccp(packed: &[u8]) -> Vec<u8> {
    chunk(*b"iCCP", &[b"profile\0\0", packed].concat())
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = bombs();
    cases.extend(kinds());
    cases.extend(chunks());
    cases
}

fn bombs() -> Vec<Case> {
    let square = |side, color, bits| Png { width: side, height: side, bits, color, interlaced: false };
    let row = |png: Png| u64::from((png.width * png.bits_a_pixel()).div_ceil(8)) + 1;
    let zeros_of = |png: Png| png.with_data(&[], &zeros(row(png) * u64::from(png.height)));
    let tiny = |png: Png| png.with_data(&[], &zlib(&[0; 4]));
    let interlaced = Png { interlaced: true, ..square(16_383, 6, 8) };
    let small = Png::rgb(64, 48);
    let many = small.data().len();
    vec![
        Case::new("65 bytes of 65535x65535", tiny(square(65_535, 6, 16)), refused(Reason::TooLarge)),
        Case::new("as large as can be said", tiny(square(0x7fff_ffff, 6, 16)), refused(Reason::TooLarge)),
        Case::new("larger than can be said", tiny(square(0xffff_ffff, 6, 16)), refused(Reason::Corrupt)),
        Case::new("one pixel too many", tiny(square(16_384, 0, 8)), refused(Reason::TooLarge)),
        Case::new("16383x16383 of nothing", tiny(square(16_383, 6, 16)), Expected::Broken),
        Case::new("16383x16383 gray zeros", zeros_of(square(16_383, 0, 8)), slow(16_383, 16_383)),
        // All its boxes are held at once: how much that is, and whether it is too much, is up to the largest size.
        Case::new("16383x16383 interlaced", tiny(interlaced), Expected::Anything),
        Case::new("data that go on", small.with_data(&[], &zeros(200 << 20)), made(64, 48)),
        Case::new("a profile of 200 MB", small.with(&[iccp(&zeros(200 << 20))]), made(64, 48)),
        Case::new(
            "a text of 200 MB",
            small.with(&[chunk(*b"zTXt", &[b"Comment\0\0", zeros(200 << 20).as_slice()].concat())]),
            made(64, 48),
        ),
        Case::new(
            "an international text of 200 MB",
            small.with(&[chunk(*b"iTXt", &[b"Comment\0\x01\0\0\0", zeros(200 << 20).as_slice()].concat())]),
            made(64, 48),
        ),
        Case::new("twenty thousand texts", small.with(&vec![chunk(*b"tEXt", b"a\0b"); 20_000]), made(64, 48)),
        Case::new("twenty thousand empty data", empty_data(small, 20_000), made(64, 48)),
        Case::new(
            "half of the rows",
            small.with_data(&[], &zlib(&small.data()[..many / 2])),
            Expected::Broken,
        ),
    ]
}

/// As many chunks of data with nothing in them, before the picture's.
fn empty_data(png: Png, count: usize) -> Vec<u8> {
    png.with(&vec![chunk(*b"IDAT", &[]); count])
}

/// Every color type with every depth, interlaced and not.
fn kinds() -> Vec<Case> {
    let mut cases = Vec::new();
    let depths: [(u8, &[u8]); 5] =
        [(0, &[1, 2, 4, 8, 16]), (2, &[8, 16]), (3, &[1, 2, 4, 8]), (4, &[8, 16]), (6, &[8, 16])];
    for (color, depths) in depths {
        for bits in depths {
            for interlaced in [false, true] {
                let png = Png { width: 61, height: 43, bits: *bits, color, interlaced };
                let name = format!("type {color} of {bits} bits, interlaced {interlaced}");
                cases.push(Case::new(name, png.file(), made(61, 43)));
            }
        }
    }
    for (color, bits) in [(0, 3), (0, 0), (1, 8), (2, 4), (3, 16), (7, 8), (255, 255)] {
        let png = Png { width: 61, height: 43, bits, color, interlaced: false };
        let name = format!("no such type as {color} of {bits} bits");
        cases.push(Case::new(name, png.with_data(&[], &zlib(&[0; 64])), refused(Reason::Corrupt)));
    }
    for (width, height) in [(0, 0), (0, 9), (9, 0)] {
        let name = format!("{width}x{height}");
        cases.push(Case::new(name, Png::rgb(width, height).file(), refused(Reason::Corrupt)));
    }
    for (width, height) in [(1, 1), (1, 30_000), (30_000, 1), (2, 30_000), (30_000, 2)] {
        let name = format!("{width}x{height}");
        cases.push(Case::new(name, Png::rgb(width, height).file(), made(width, height)));
    }
    // Thirds of a pixel are left of its shorter side.
    cases.push(Case::new(
        "1x300000",
        Png { bits: 1, color: 0, ..Png::rgb(1, 300_000) }.file(),
        made(1, 300_000),
    ));
    cases
}

/// Chunks that are not what they say, and that stand where they must not.
fn chunks() -> Vec<Case> {
    let small = Png::rgb(64, 48);
    let whole = small.file();
    let header = small.header().len();
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let palette = Png { color: 3, ..small };
    let without_palette = [palette.header(), chunk(*b"IDAT", &zlib(&palette.data())), chunk(*b"IEND", &[])];
    let indices = Png { bits: 8, ..palette };
    let short_palette = [
        palette.header(),
        chunk(*b"PLTE", &[1, 2, 3]),
        chunk(*b"IDAT", &zlib(&indices.data())),
        chunk(*b"IEND", &[]),
    ];
    let animated = chunk(*b"acTL", &[255; 8]);
    vec![
        Case::new("a chunk of 4 GB", patched(header, &[255; 4]), Expected::Anything),
        Case::new("a chunk of 2 GB", patched(header, &[127, 255, 255, 255]), Expected::Anything),
        Case::new("a header of 4 GB", patched(8, &[255; 4]), refused(Reason::Corrupt)),
        Case::new("a wrong checksum of the header", patched(header - 4, &[1, 2, 3, 4]), Expected::Anything),
        Case::new(
            "a wrong checksum of the data",
            patched(whole.len() - 16, &[1, 2, 3, 4]),
            Expected::Anything,
        ),
        Case::new("a wrong checksum of the rows", wrong_adler(small), Expected::Anything),
        Case::new("two headers", [small.header(), whole[8..].to_vec()].concat(), Expected::Anything),
        Case::new("no data", [small.header(), chunk(*b"IEND", &[])].concat(), Expected::Broken),
        Case::new("no palette", without_palette.concat(), Expected::Anything),
        Case::new("a palette of one color", short_palette.concat(), Expected::Anything),
        Case::new(
            "a palette of 1000 colors",
            palette.with(&[chunk(*b"PLTE", &[0; 3000])]),
            Expected::Anything,
        ),
        Case::new("an unknown filter", small.with_data(&[], &zlib(&[9; 64 * 48 * 4])), Expected::Broken),
        Case::new("4 billion frames", small.with(&[animated]), made(64, 48)),
        Case::new("a transparency of 9 colors", small.with(&[chunk(*b"tRNS", &[0; 9])]), Expected::Anything),
        Case::new("HTML in it and behind it", with_html(small), made(64, 48)),
    ]
}

fn wrong_adler(png: Png) -> Vec<u8> {
    let mut data = zlib(&png.data());
    *data.last_mut().unwrap() ^= 1;
    png.with_data(&[], &data)
}

fn with_html(png: Png) -> Vec<u8> {
    let text = chunk(*b"tEXt", &[b"Comment\0", PAYLOAD].concat());
    [png.with(&[text]), PAYLOAD.to_vec()].concat()
}
