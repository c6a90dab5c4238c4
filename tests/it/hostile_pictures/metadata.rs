//! Exif and color profiles that are broken, absurd or meant for other pictures: the picture is shown nevertheless.

use cifra::imaging::Layout;
use moxcms::ColorProfile;

use super::case::{Case, Expected, PAYLOAD, made};
use super::jpeg::{Jpeg, PROGRESSIVE, segment};
use super::png::{Png, chunk, iccp, zlib};
use super::tiff::{Tag, Tiff, long, short};
use super::webp;

const ORIENTATION: u16 = 0x112;

fn exif(block: &[u8]) -> Vec<u8> {
    segment(0xe1, &[b"Exif\0\0", block].concat())
}

fn jpeg_with(block: &[u8]) -> Vec<u8> {
    Jpeg::with(64, 48, vec![exif(block)]).file()
}

pub(super) fn exif_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for value in (0..=10).chain([255, 65_535]) {
        let (width, height) = if (5..=8).contains(&value) { (48, 64) } else { (64, 48) };
        for big_endian in [false, true] {
            let block = Tiff { big_endian, ..Tiff::of(vec![short(ORIENTATION, value)]) }.file();
            let name = format!("orientation {value}, big endian {big_endian}");
            cases.push(Case::new(name, jpeg_with(&block), made(width, height)));
        }
        let block = Tiff::of(vec![short(ORIENTATION, value)]).file();
        let png = Png::rgb(64, 48).with(&[chunk(*b"eXIf", &block)]);
        cases.push(Case::new(format!("orientation {value} of a PNG"), png, made(width, height)));
        let webp = webp::with(8, &[], &[webp::chunk(*b"EXIF", &block)]);
        cases.push(Case::new(format!("orientation {value} of a WebP"), webp, made(width, height)));
    }
    let upright = Tiff::of(vec![short(ORIENTATION, 1)]);
    let whole = upright.file();
    let patched = |at: usize, bytes: &[u8]| [&whole[..at], bytes, &whole[at + bytes.len()..]].concat();
    let many = (0..5000).map(|tag| short(tag + 1, 6)).collect();
    let text = PAYLOAD.iter().map(|byte| u32::from(*byte)).collect();
    for (name, block) in [
        ("empty Exif", Vec::new()),
        ("Exif of one byte", vec![b'I']),
        ("Exif of another order", [b"IM", &whole[2..]].concat()),
        ("Exif whose directory is itself", patched(4, &[8, 0, 0, 0])),
        ("Exif whose directory is in its header", patched(4, &[0; 4])),
        ("Exif whose directory is past the end", patched(4, &[255; 4])),
        ("Exif whose directory goes round", Tiff { next: 8, ..upright.clone() }.file()),
        ("Exif of 65535 tags", patched(8, &[255; 2])),
        ("Exif with 4 billion orientations", patched(14, &[255; 4])),
        ("Exif with no orientation", patched(14, &[0; 4])),
        ("Exif with an orientation of no type", patched(12, &[255; 2])),
        (
            "Exif with two billion, past the end",
            Tiff::of(vec![Tag(ORIENTATION, 4, vec![6; 9])]).file()[..30].to_vec(),
        ),
        ("Exif with an orientation of 32 bits", Tiff::of(vec![long(ORIENTATION, 0xffff_0006)]).file()),
        ("Exif of 5000 tags", Tiff::of(many).file()),
        ("Exif with a script", Tiff::of(vec![Tag(0x10e, 2, text)]).file()),
        ("Exif of noise", [&b"II\x2a\0"[..], &[0x5a; 5000]].concat()),
    ] {
        cases.push(Case::new(
            name,
            jpeg_with(&block),
            if name == "Exif of 5000 tags" { Expected::Anything } else { made(64, 48) },
        ));
    }
    cases
}

/// A profile of inks as tables: `inputs` of them to `outputs`, `grid` points each (ICC.1:2022, 10.10).
pub(super) fn tables(space: [u8; 4], inputs: u8, outputs: u8, grid: u8, points: usize) -> Vec<u8> {
    let mut table = b"mft1\0\0\0\0".to_vec();
    table.extend([inputs, outputs, grid, 0]);
    for one in [1_u32, 0, 0, 0, 1, 0, 0, 0, 1] {
        table.extend((one << 16).to_be_bytes());
    }
    table.extend((0..usize::from(inputs)).flat_map(|_| 0..=255));
    table.extend((0..points).map(|at| (at * 53).to_le_bytes()[0]));
    table.extend((0..usize::from(outputs)).flat_map(|_| 0..=255));
    profile(space, &[(b"A2B0", &table)])
}

/// A profile of these tags.
fn profile(space: [u8; 4], tags: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let start = 128 + 4 + 12 * tags.len();
    let len: usize = start + tags.iter().map(|(_, data)| data.len()).sum::<usize>();
    let number = |value: usize| u32::try_from(value).unwrap().to_be_bytes();
    let mut file = number(len).to_vec();
    file.extend([0; 4]);
    file.extend([2, 0x40, 0, 0]);
    file.extend(b"prtr");
    file.extend(space);
    file.extend(b"Lab ");
    file.extend([0; 12]);
    file.extend(b"acsp");
    file.extend([0; 28]);
    file.extend([0, 0, 0xf6, 0xd6, 0, 1, 0, 0, 0, 0, 0xd3, 0x2d]); // the white of D50
    file.resize(128, 0);
    file.extend(number(tags.len()));
    let mut at = start;
    for (name, data) in tags {
        file.extend(*name);
        file.extend(number(at));
        file.extend(number(data.len()));
        at += data.len();
    }
    file.extend(tags.iter().flat_map(|(_, data)| *data));
    file
}

/// A profile in as many segments of a JPEG as it needs (ICC.1:2022, B.4); they count to 255.
fn pieces(profile: &[u8]) -> Vec<Vec<u8>> {
    let pieces: Vec<_> = profile.chunks(65_000).collect();
    let of = u8::try_from(pieces.len()).unwrap();
    (1..=of).zip(pieces).map(|(number, piece)| piece_of(number, of, piece)).collect()
}

fn piece_of(number: u8, of: u8, piece: &[u8]) -> Vec<u8> {
    segment(0xe2, &[b"ICC_PROFILE\0", &[number, of][..], piece].concat())
}

pub(super) fn profile_cases() -> Vec<Case> {
    let srgb = ColorProfile::new_srgb().encode().unwrap();
    let wide = ColorProfile::new_display_p3().encode().unwrap();
    let gray = ColorProfile::new_gray_with_gamma(2.2).encode().unwrap();
    let inks = tables(*b"CMYK", 4, 3, 2, 16 * 3);
    let tags = [&srgb[..128], &[255; 4], &srgb[132..]].concat();
    let past = [&srgb[..136], &[255; 8], &srgb[144..]].concat();
    let long = [&srgb[..], &vec![7; 10 << 20]].concat();
    let profiles: Vec<(&str, Vec<u8>)> = vec![
        ("sRGB", srgb.clone()),
        ("Display P3", wide),
        ("gray", gray),
        ("inks", inks.clone()),
        ("of 10 MB", long),
        ("empty", vec![0]),
        ("cut in its header", srgb[..64].to_vec()),
        ("cut in its tags", srgb[..150].to_vec()),
        ("cut in its curves", srgb[..srgb.len() - 20].to_vec()),
        ("of 4 billion tags", tags),
        ("whose tags are past the end", past),
        ("of zeros", vec![0; 4000]),
        ("of noise", (0..4000_u32).map(|at| (at * at % 251).to_le_bytes()[0]).collect()),
        ("of no space", [&srgb[..16], b"nope", &srgb[20..]].concat()),
        ("tables of 15 inputs, 255 points each", tables(*b"RGB ", 15, 15, 255, 4000)),
        ("tables of 3 inputs, 255 points each, missing", tables(*b"RGB ", 3, 3, 255, 30)),
        ("tables of 3 inputs, 1 point each", tables(*b"RGB ", 3, 3, 1, 3)),
        ("tables of 3 inputs, no points", tables(*b"RGB ", 3, 3, 0, 0)),
        ("tables of no inputs", tables(*b"RGB ", 0, 0, 2, 0)),
        ("tables of one output", tables(*b"RGB ", 3, 1, 2, 8)),
        ("tables, whole", tables(*b"RGB ", 3, 3, 9, 9 * 9 * 9 * 3)),
        ("tables, large", tables(*b"RGB ", 3, 3, 100, 3_000_000)),
        ("without tags", profile(*b"RGB ", &[])),
        ("curves of nothing", profile(*b"RGB ", &[(b"rTRC", b"curv\0\0\0\0\xff\xff\xff\xff")])),
    ];
    let mut cases = Vec::new();
    for (name, profile) in &profiles {
        let jpeg = Jpeg::with(64, 48, pieces(profile));
        let gray = Jpeg { components: vec![(1, 1)], ..jpeg.clone() };
        let cmyk = Jpeg { components: vec![(1, 1); 4], ..jpeg.clone() };
        let progressive = Jpeg { process: PROGRESSIVE, ..jpeg.clone() };
        for (kind, jpeg) in [("colors", jpeg), ("gray", gray), ("CMYK", cmyk), ("progressive", progressive)] {
            cases.push(Case::new(format!("{name}, {kind}"), jpeg.file(), made(64, 48)));
        }
        let png = Png::rgb(64, 48).with(&[iccp(&zlib(profile))]);
        cases.push(Case::new(format!("{name}, PNG"), png, made(64, 48)));
        let webp = webp::with(0x20, &[webp::chunk(*b"ICCP", profile)], &[]);
        cases.push(Case::new(format!("{name}, WebP"), webp, made(64, 48)));
        let bytes = profile.iter().map(|byte| u32::from(*byte)).collect();
        let tiff = Tiff::new(64, 48, 3).with(vec![Tag(0x8773, 7, bytes)]);
        cases.push(Case::new(format!("{name}, TIFF"), tiff.file(), made(64, 48)));
    }
    let half = &srgb[..srgb.len() / 2];
    for (name, segments) in [
        ("the second piece alone", vec![piece_of(2, 2, half)]),
        ("the first piece twice", vec![piece_of(1, 2, half), piece_of(1, 2, half)]),
        ("piece 0 of 0", vec![piece_of(0, 0, &srgb)]),
        ("piece 255 of 1", vec![piece_of(255, 1, &srgb)]),
        ("a thousand pieces", vec![piece_of(1, 255, &vec![0; 60_000]); 300]),
        ("no piece", vec![segment(0xe2, b"ICC_PROFILE\0")]),
    ] {
        cases.push(Case::new(name, Jpeg::with(64, 48, segments).file(), made(64, 48)));
    }
    cases.extend(inked(&inks));
    cases
}

/// CMYK as Adobe writes it and as the standard has it, with a profile and without.
fn inked(inks: &[u8]) -> Vec<Case> {
    let adobe = |transform: u8| segment(0xee, &[b"Adobe\0\x64\0\0\0\0", &[transform][..]].concat());
    let mut cases = Vec::new();
    for (name, mark) in [
        ("no mark", Vec::new()),
        ("Adobe's CMYK", adobe(0)),
        ("Adobe's YCCK", adobe(2)),
        ("a mark of no kind", adobe(99)),
    ] {
        for profile in [Vec::new(), pieces(inks)] {
            // What libjpeg warns of is told.
            let expected = if name == "a mark of no kind" { Expected::Broken } else { made(61, 43) };
            let name = format!("{name}, {} profiles", profile.len());
            let segments = [vec![mark.clone()], profile].concat();
            let jpeg = Jpeg { components: vec![(1, 1); 4], ..Jpeg::with(61, 43, segments) };
            cases.push(Case::new(name, jpeg.file(), expected));
        }
    }
    let alpha = webp::lossy(64, 48, Layout::Rgba);
    cases.push(Case::new("inks for a WebP with alpha", alpha, made(64, 48)));
    cases
}
