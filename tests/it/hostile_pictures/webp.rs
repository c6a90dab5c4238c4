//! WebP (RFC 9649), chunk by chunk; lossless pictures of one color take no bit for a pixel.

use cifra::imaging::{Encoding, Layout, Pixels, Reason, encode};

use super::case::{Case, Expected, PAYLOAD, made, refused};

pub(super) fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap().to_le_bytes();
    let pad = vec![0; data.len() % 2];
    [&kind[..], &len, data, &pad].concat()
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    let len = u32::try_from(body.len() + 4).unwrap().to_le_bytes();
    [&b"RIFF"[..], &len, b"WEBP", &body].concat()
}

/// A canvas, and what the file says that it has: 0x10 alpha, 0x02 an animation, 0x20 a profile, 0x08 Exif.
fn extended(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let side = |side: u32| (side - 1).to_le_bytes();
    chunk(*b"VP8X", &[&[flags, 0, 0, 0][..], &side(width)[..3], &side(height)[..3]].concat())
}

/// A lossless picture of one color: its size, then five codes of one symbol each (RFC 9649, 3.7.2.1.1).
fn flat(width: u32, height: u32) -> Vec<u8> {
    let packed = (width - 1) | (height - 1) << 14 | 1 << 28;
    let mut bits = Vec::new();
    let mut put = |value: u32, len: u32| bits.extend((0..len).map(|at| value >> at & 1 == 1));
    put(0, 3); // no transform, no cache of colors, no codes by place
    for symbol in [200, 100, 50, 255, 0] {
        put(0b101, 3); // simple, one symbol, of eight bits
        put(symbol, 8);
    }
    let byte = |eight: &[bool]| eight.iter().rev().fold(0_u8, |byte, bit| byte << 1 | u8::from(*bit));
    let codes: Vec<u8> = bits.chunks(8).map(byte).collect();
    chunk(*b"VP8L", &[&[0x2f][..], &packed.to_le_bytes(), &codes].concat())
}

/// A frame of an animation at a place.
fn frame(x: u32, y: u32, width: u32, height: u32, picture: &[u8]) -> Vec<u8> {
    let three = |value: u32| value.to_le_bytes()[..3].to_vec();
    let head = [x / 2, y / 2, width - 1, height - 1, 100].map(three).concat();
    chunk(*b"ANMF", &[&head[..], &[0], picture].concat())
}

fn animation() -> Vec<u8> {
    chunk(*b"ANIM", &[0; 6])
}

/// With loss, as our own encoder makes it.
pub(super) fn lossy(width: u32, height: u32, layout: Layout) -> Vec<u8> {
    let row = usize::try_from(width).unwrap() * layout.channels();
    let len = row * usize::try_from(height).unwrap();
    let data = (0..len).map(|at| ((at % row) * 2 + at / row * 3).to_le_bytes()[0]).collect();
    encode(&Pixels { width, height, layout, data }, Encoding::WebP { quality: 80 }).unwrap().to_vec()
}

/// Its chunk `VP8 `, without the file around it.
fn lossy_chunk(width: u32, height: u32) -> Vec<u8> {
    lossy(width, height, Layout::Rgb)[12..].to_vec()
}

pub(super) fn lossless(width: u32, height: u32) -> Vec<u8> {
    riff(&[flat(width, height)])
}

pub(super) fn animated(width: u32, height: u32) -> Vec<u8> {
    let frame = frame(0, 0, width, height, &lossy_chunk(width, height));
    riff(&[extended(2, width, height), animation(), frame.clone(), frame])
}

/// An opaque picture with these chunks beside it.
pub(super) fn with(flags: u8, before: &[Vec<u8>], after: &[Vec<u8>]) -> Vec<u8> {
    riff(&[extended(flags, 64, 48), before.concat(), lossy_chunk(64, 48), after.concat()])
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = lies();
    let whole = lossy(64, 48, Layout::Rgb);
    let small = || frame(0, 0, 8, 8, &flat(8, 8));
    let film = |count| riff(&[extended(0x12, 8, 8), animation(), vec![small(); count].concat()]);
    let sized = |len: u32| [&whole[..4], &len.to_le_bytes(), &whole[8..]].concat();
    let mut huge = whole.clone();
    huge[26..30].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    let payload = [chunk(*b"XMP ", PAYLOAD), chunk(*b"EXIF", PAYLOAD)];
    cases.extend([
        Case::new("five thousand frames", film(5000), made(8, 8)),
        Case::new("thirty thousand frames", film(30_000), made(8, 8)),
        Case::new("lossless 16383x16383 in 40 bytes", lossless(16_383, 16_383), refused(Reason::TooLarge)),
        Case::new("lossless 16384x16384 in 40 bytes", lossless(16_384, 16_384), refused(Reason::TooLarge)),
        Case::new("lossless 3000x3000 in 40 bytes", lossless(3000, 3000), made(3000, 3000)),
        Case::new("64x48 that claims 16383x16383", huge, Expected::Broken),
        Case::new("the length 0", sized(0), Expected::Anything),
        Case::new("the length of 4 GB", sized(0xffff_ffff), Expected::Anything),
        Case::new("an odd length", sized(u32::try_from(whole.len()).unwrap() - 9), Expected::Anything),
        Case::new("a text and Exif", with(0x0c, &[], &payload), made(64, 48)),
        Case::new("bytes behind it", [&whole[..], PAYLOAD].concat(), made(64, 48)),
        Case::new("only its beginning", whole[..12].to_vec(), refused(Reason::Corrupt)),
        Case::new("alpha", lossy(61, 43, Layout::Rgba), made(61, 43)),
        Case::new("opaque", lossy(61, 43, Layout::Rgb), made(61, 43)),
        Case::new("gray", lossy(61, 43, Layout::Gray), made(61, 43)),
        Case::new("1x1", lossy(1, 1, Layout::Rgb), made(1, 1)),
        Case::new("1x16383", lossy(1, 16_383, Layout::Rgb), made(1, 16_383)),
        Case::new("16383x1", lossy(16_383, 1, Layout::Rgba), made(16_383, 1)),
    ]);
    cases
}

/// A canvas and what stands on it do not agree.
fn lies() -> Vec<Case> {
    let tiny = || lossy_chunk(8, 8);
    let plain = |flags, width, height, picture: Vec<u8>| riff(&[extended(flags, width, height), picture]);
    let film = |width, height, frames: Vec<u8>| riff(&[extended(2, width, height), animation(), frames]);
    let anything = Expected::Anything;
    vec![
        Case::new("a canvas of 16383x16383, 8x8 on it", plain(0, 16_383, 16_383, tiny()), anything),
        Case::new("a canvas of 16777216x1", plain(0, 16_777_216, 1, tiny()), anything),
        Case::new(
            "a canvas of 16777216x16777216",
            plain(0, 1 << 24, 1 << 24, tiny()),
            refused(Reason::TooLarge),
        ),
        Case::new("a canvas of 8x8, 16383x16383 on it", plain(0, 8, 8, flat(16_383, 16_383)), anything),
        Case::new("a film that is none", plain(2, 8, 8, tiny()), anything),
        Case::new(
            "a picture that is a film",
            riff(&[extended(0, 8, 8), frame(0, 0, 8, 8, &tiny())]),
            anything,
        ),
        Case::new("a film without frames", film(8, 8, Vec::new()), anything),
        Case::new("a frame larger than its canvas", film(8, 8, frame(0, 0, 9, 9, &flat(9, 9))), anything),
        Case::new(
            "a frame with another size than its picture",
            film(8, 8, frame(0, 0, 8, 8, &flat(9000, 9000))),
            anything,
        ),
        Case::new("a frame outside of the canvas", film(8, 8, frame(4000, 4000, 8, 8, &tiny())), anything),
        Case::new(
            "a tiny frame on a large canvas",
            film(1000, 1000, frame(0, 0, 8, 8, &tiny())),
            made(1000, 1000),
        ),
        Case::new(
            "a tiny frame on a giant canvas",
            film(16_000, 16_000, frame(0, 0, 8, 8, &tiny())),
            refused(Reason::TooLarge),
        ),
        Case::new("a frame of nothing", film(8, 8, frame(0, 0, 8, 8, &[])), Expected::Broken),
        Case::new("alpha that is promised", plain(0x10, 8, 8, tiny()), anything),
        Case::new(
            "alpha of noise",
            plain(0x10, 8, 8, [chunk(*b"ALPH", &[0xff; 99]), tiny()].concat()),
            anything,
        ),
        Case::new("two canvases", riff(&[extended(0, 8, 8), extended(0, 9000, 9000), tiny()]), anything),
        Case::new("two pictures", riff(&[tiny(), flat(9000, 9000)]), anything),
        Case::new("a canvas behind its picture", riff(&[tiny(), extended(0, 9000, 9000)]), anything),
        Case::new(
            "thousands of unknown chunks",
            riff(&[extended(0, 8, 8), chunk(*b"junk", &[]).repeat(20_000), tiny()]),
            made(8, 8),
        ),
    ]
}
