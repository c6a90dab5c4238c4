//! TIFF 6.0: directories of tags, in both orders of bytes.

use cifra::imaging::Reason;

use super::case::{Case, Expected, made, refused};
use super::png::{zeros, zlib};

/// A tag, its type (1 BYTE, 2 ASCII, 3 SHORT, 4 LONG, 7 anything) and its values.
#[derive(Clone)]
pub(super) struct Tag(pub(super) u16, pub(super) u16, pub(super) Vec<u32>);

pub(super) fn short(tag: u16, value: u32) -> Tag {
    Tag(tag, 3, vec![value])
}

pub(super) fn long(tag: u16, value: u32) -> Tag {
    Tag(tag, 4, vec![value])
}

const WIDTH: u16 = 0x100;
const HEIGHT: u16 = 0x101;
const BITS: u16 = 0x102;
const COMPRESSION: u16 = 0x103;
const PHOTOMETRIC: u16 = 0x106;
const STRIP_OFFSETS: u16 = 0x111;
const SAMPLES: u16 = 0x115;
const ROWS_PER_STRIP: u16 = 0x116;
const STRIP_BYTES: u16 = 0x117;
const PLANAR: u16 = 0x11c;
const PREDICTOR: u16 = 0x13d;
const TILE_WIDTH: u16 = 0x142;
const TILE_HEIGHT: u16 = 0x143;
const TILE_OFFSETS: u16 = 0x144;
const TILE_BYTES: u16 = 0x145;
const EXTRA_SAMPLES: u16 = 0x152;
const SAMPLE_FORMAT: u16 = 0x153;

/// A file of one directory, at whose `next` another one is said to be.
#[derive(Clone)]
pub(super) struct Tiff {
    pub(super) big_endian: bool,
    pub(super) tags: Vec<Tag>,
    /// Stands at 8.
    pub(super) data: Vec<u8>,
    pub(super) next: u32,
}

impl Tiff {
    /// A whole picture of 8 bits a sample.
    pub(super) fn new(width: u16, height: u16, samples: u16) -> Self {
        let (wide, high, deep) = (u32::from(width), u32::from(height), u32::from(samples));
        let data: Vec<u8> = (0..wide * high * deep).map(|at| (at * 3).to_le_bytes()[0]).collect();
        let photometric = match samples {
            1 | 2 => 1,
            _ => 2,
        };
        let mut tiff = Self { big_endian: false, tags: Vec::new(), data, next: 0 };
        tiff.put(short(WIDTH, wide));
        tiff.put(short(HEIGHT, high));
        tiff.put(Tag(BITS, 3, vec![8; samples.into()]));
        tiff.put(short(COMPRESSION, 1));
        tiff.put(short(PHOTOMETRIC, photometric));
        tiff.put(long(STRIP_OFFSETS, 8));
        tiff.put(short(SAMPLES, deep));
        tiff.put(long(ROWS_PER_STRIP, high));
        tiff.put(long(STRIP_BYTES, wide * high * deep));
        if matches!(samples, 2 | 4) {
            tiff.put(short(EXTRA_SAMPLES, 2));
        }
        tiff
    }

    /// Only tags, as Exif has them.
    pub(super) fn of(tags: Vec<Tag>) -> Self {
        Self { big_endian: false, tags, data: Vec::new(), next: 0 }
    }

    fn put(&mut self, tag: Tag) {
        self.tags.retain(|present| present.0 != tag.0);
        self.tags.push(tag);
        self.tags.sort_by_key(|tag| tag.0);
    }

    pub(super) fn with(mut self, tags: Vec<Tag>) -> Self {
        for tag in tags {
            self.put(tag);
        }
        self
    }

    fn without(mut self, tag: u16) -> Self {
        self.tags.retain(|present| present.0 != tag);
        self
    }

    fn packed(self, compression: u32, data: Vec<u8>) -> Self {
        let len = u32::try_from(data.len()).unwrap();
        let packed = self.with(vec![short(COMPRESSION, compression), long(STRIP_BYTES, len)]);
        Self { data, ..packed }
    }

    fn two(&self, value: u32) -> [u8; 2] {
        let value = u16::try_from(value).unwrap();
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn four(&self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// Where its directory is.
    fn directory(&self) -> u32 {
        u32::try_from(8 + self.data.len()).unwrap()
    }

    pub(super) fn file(&self) -> Vec<u8> {
        let mut file = if self.big_endian { b"MM\0\x2a".to_vec() } else { b"II\x2a\0".to_vec() };
        file.extend(self.four(self.directory()));
        file.extend(&self.data);
        file.extend(self.two(u32::try_from(self.tags.len()).unwrap()));
        let mut behind = Vec::new();
        let end = self.directory() + 2 + 12 * u32::try_from(self.tags.len()).unwrap() + 4;
        for Tag(tag, kind, values) in &self.tags {
            file.extend(self.two((*tag).into()));
            file.extend(self.two((*kind).into()));
            file.extend(self.four(u32::try_from(values.len()).unwrap()));
            let mut bytes: Vec<u8> = values.iter().flat_map(|value| self.value(*kind, *value)).collect();
            if bytes.len() <= 4 {
                bytes.resize(4, 0);
                file.extend(bytes);
            } else {
                file.extend(self.four(end + u32::try_from(behind.len()).unwrap()));
                behind.extend(bytes);
            }
        }
        file.extend(self.four(self.next));
        file.extend(behind);
        file
    }

    fn value(&self, kind: u16, value: u32) -> Vec<u8> {
        match kind {
            3 => self.two(value).to_vec(),
            4 => self.four(value).to_vec(),
            _ => vec![value.to_le_bytes()[0]],
        }
    }
}

pub(super) fn file(width: u16, height: u16) -> Vec<u8> {
    Tiff::new(width, height, 3).file()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for samples in 1..=4 {
        for big_endian in [false, true] {
            let tiff = Tiff { big_endian, ..Tiff::new(61, 43, samples) };
            let name = format!("{samples} samples, big endian {big_endian}");
            let expected = if samples == 2 { Expected::Anything } else { made(61, 43) };
            cases.push(Case::new(name, tiff.file(), expected));
        }
    }
    cases.extend(sizes());
    cases.extend(directories());
    cases.extend(strips());
    cases.extend(bombs());
    cases
}

fn sizes() -> Vec<Case> {
    let claims =
        |width, height| Tiff::new(8, 8, 3).with(vec![long(WIDTH, width), long(HEIGHT, height)]).file();
    vec![
        Case::new("0x0", claims(0, 0), refused(Reason::Corrupt)),
        Case::new("0x8", claims(0, 8), refused(Reason::Corrupt)),
        Case::new("64 samples of 65535x65535", claims(65_535, 65_535), refused(Reason::TooLarge)),
        Case::new("as large as can be said", claims(u32::MAX, u32::MAX), refused(Reason::TooLarge)),
        Case::new("16383x16383", claims(16_383, 16_383), refused(Reason::TooLarge)),
        Case::new("2000x2000 of 192 bytes", claims(2000, 2000), Expected::Broken),
        Case::new("1x30000", file(1, 30_000), made(1, 30_000)),
        Case::new("30000x1", file(30_000, 1), made(30_000, 1)),
        Case::new("1x1", file(1, 1), made(1, 1)),
    ]
}

fn directories() -> Vec<Case> {
    let tiff = Tiff::new(61, 43, 3);
    let next = |next| Tiff { next, ..tiff.clone() }.file();
    let whole = tiff.file();
    let at = usize::try_from(tiff.directory()).unwrap();
    let patched = |at: usize, bytes: &[u8]| [&whole[..at], bytes, &whole[at + bytes.len()..]].concat();
    let absurd = |tag| {
        let place = tiff.tags.iter().position(|present| present.0 == tag).unwrap();
        patched(at + 2 + 12 * place + 4, &[255; 4])
    };
    let kind_of = |tag, kind: u16| {
        let place = tiff.tags.iter().position(|present| present.0 == tag).unwrap();
        patched(at + 2 + 12 * place + 2, &kind.to_le_bytes())
    };
    let many = (0..40_000).map(|tag| short(tag + 1000, 1)).collect();
    let anything = Expected::Anything;
    vec![
        Case::new("a directory that is its own next", next(tiff.directory()), refused(Reason::Corrupt)),
        Case::new("a next directory past the end", next(u32::MAX), made(61, 43)),
        Case::new("a next directory in the header", next(4), anything),
        Case::new("the first directory past the end", patched(4, &[255; 4]), refused(Reason::Corrupt)),
        Case::new("the first directory in the header", patched(4, &[0; 4]), refused(Reason::Corrupt)),
        Case::new("a directory of 65535 tags", patched(at, &[255; 2]), refused(Reason::Corrupt)),
        Case::new("a directory of no tags", patched(at, &[0; 2]), refused(Reason::Corrupt)),
        Case::new("forty thousand tags", tiff.clone().with(many).file(), made(61, 43)),
        Case::new("4 billion widths", absurd(WIDTH), anything),
        Case::new("4 billion strips", absurd(STRIP_OFFSETS), anything),
        Case::new("4 billion lengths of strips", absurd(STRIP_BYTES), anything),
        Case::new("4 billion depths", absurd(BITS), anything),
        Case::new("a width of doubles", kind_of(WIDTH, 12), anything),
        Case::new("a width of no type", kind_of(WIDTH, 65_535), anything),
        Case::new("strips of bytes", kind_of(STRIP_OFFSETS, 1), anything),
        Case::new(
            "BigTIFF",
            [b"II\x2b\0\x08\0\0\0", &whole[8..]].concat(),
            refused(Reason::UnsupportedFormat),
        ),
        Case::new("no width", tiff.clone().without(WIDTH).file(), refused(Reason::Corrupt)),
        Case::new("no strips", tiff.clone().without(STRIP_OFFSETS).file(), Expected::Broken),
        Case::new("no lengths of strips", tiff.clone().without(STRIP_BYTES).file(), anything),
        Case::new("no photometric interpretation", tiff.clone().without(PHOTOMETRIC).file(), anything),
    ]
}

fn strips() -> Vec<Case> {
    let tiff = || Tiff::new(61, 43, 3);
    let one = |tag| tiff().with(vec![tag]).file();
    let tiled = |side, offsets: Vec<u32>| {
        let count = offsets.len();
        let tags = vec![
            long(TILE_WIDTH, side),
            long(TILE_HEIGHT, side),
            Tag(TILE_OFFSETS, 4, offsets),
            Tag(TILE_BYTES, 4, vec![16 * 16 * 3; count]),
        ];
        tiff().without(STRIP_OFFSETS).without(STRIP_BYTES).without(ROWS_PER_STRIP).with(tags).file()
    };
    let anything = Expected::Anything;
    vec![
        Case::new("a strip of 4 billion rows", one(long(ROWS_PER_STRIP, u32::MAX)), made(61, 43)),
        Case::new("strips of no rows", one(long(ROWS_PER_STRIP, 0)), anything),
        Case::new("a strip past the end", one(long(STRIP_OFFSETS, u32::MAX)), Expected::Broken),
        Case::new("a strip of 4 GB", one(long(STRIP_BYTES, u32::MAX)), anything),
        Case::new("a strip of nothing", one(long(STRIP_BYTES, 0)), anything),
        Case::new("a million strips", one(Tag(STRIP_OFFSETS, 4, vec![8; 1_000_000])), anything),
        Case::new("65535 samples", one(short(SAMPLES, 65_535)), refused(Reason::Corrupt)),
        Case::new("no samples", one(short(SAMPLES, 0)), anything),
        Case::new("200 samples", one(short(SAMPLES, 200)), anything),
        Case::new("depths of 0", one(Tag(BITS, 3, vec![0; 3])), anything),
        Case::new("depths of 255", one(Tag(BITS, 3, vec![255; 3])), anything),
        Case::new("depths that differ", one(Tag(BITS, 3, vec![8, 16, 1])), anything),
        Case::new("planes", one(short(PLANAR, 2)), anything),
        Case::new("planes of no kind", one(short(PLANAR, 77)), anything),
        Case::new("a predictor of floats", one(short(PREDICTOR, 3)), anything),
        Case::new("no such predictor", one(short(PREDICTOR, 65_535)), anything),
        Case::new("samples of floats", one(Tag(SAMPLE_FORMAT, 3, vec![3; 3])), anything),
        Case::new(
            "a palette that is missing",
            Tiff::new(61, 43, 1).with(vec![short(PHOTOMETRIC, 3)]).file(),
            anything,
        ),
        Case::new(
            "CMYK",
            Tiff::new(61, 43, 4).without(EXTRA_SAMPLES).with(vec![short(PHOTOMETRIC, 5)]).file(),
            made(61, 43),
        ),
        Case::new("YCbCr", one(short(PHOTOMETRIC, 6)), anything),
        Case::new("CIELab", one(short(PHOTOMETRIC, 8)), anything),
        Case::new("no such interpretation", one(short(PHOTOMETRIC, 65_535)), anything),
        Case::new("tiles", tiled(16, vec![8; 12]), made(61, 43)),
        Case::new("tiles that are missing", tiled(16, vec![8]), anything),
        Case::new("tiles of 0", tiled(0, vec![8; 12]), anything),
        Case::new("tiles of 4 billion", tiled(u32::MAX, vec![8]), anything),
        Case::new("tiles of 60000", tiled(60_000, vec![8]), anything),
        Case::new("16 bits", sixteen().file(), made(61, 43)),
    ]
}

fn sixteen() -> Tiff {
    let tiff = Tiff::new(61, 43, 3);
    let data = [tiff.data.clone(), tiff.data.clone()].concat();
    let len = u32::try_from(data.len()).unwrap();
    Tiff { data, ..tiff.with(vec![Tag(BITS, 3, vec![16; 3]), long(STRIP_BYTES, len)]) }
}

fn bombs() -> Vec<Case> {
    let tiff = || Tiff::new(64, 48, 3);
    let data = tiff().data;
    let giant = tiff().with(vec![long(WIDTH, 1600), long(HEIGHT, 800), long(ROWS_PER_STRIP, 800)]);
    let flat = giant.clone().packed(8, zeros(1600 * 800 * 3));
    let one_tile = tiff().without(STRIP_OFFSETS).without(STRIP_BYTES).without(ROWS_PER_STRIP).with(vec![
        long(TILE_WIDTH, 16_384),
        long(TILE_HEIGHT, 16_384),
        long(TILE_OFFSETS, 8),
    ]);
    let zipped = zeros(200 << 20);
    let len = u32::try_from(zipped.len()).unwrap();
    let one_tile =
        Tiff { data: zipped.clone(), ..one_tile.with(vec![short(COMPRESSION, 8), long(TILE_BYTES, len)]) };
    vec![
        Case::new("deflated", tiff().packed(8, zlib(&data)).file(), made(64, 48)),
        Case::new("deflated, with 200 MB too much", tiff().packed(8, zipped).file(), Expected::Anything),
        Case::new("deflated 1600x800 of zeros", flat.file(), made(1600, 800)),
        Case::new("deflated, a tile of 16384x16384", one_tile.file(), Expected::Anything),
        Case::new("deflated noise", tiff().packed(8, vec![0x55; 999]).file(), Expected::Broken),
        Case::new("LZW of noise", tiff().packed(5, vec![0x80; 9999]).file(), Expected::Anything),
        Case::new(
            "packed bits that unfold",
            giant.packed(32_773, [129, 7].repeat(30_000)).file(),
            Expected::Anything,
        ),
        Case::new("a JPEG inside", tiff().packed(7, vec![0xff; 999]).file(), Expected::Anything),
        Case::new("a fax inside", tiff().packed(4, vec![0; 999]).file(), Expected::Anything),
        Case::new("an unknown compression", tiff().packed(65_535, vec![0; 999]).file(), Expected::Anything),
    ]
}
