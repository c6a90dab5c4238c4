//! GIF 89a, block by block.

use cifra::imaging::Reason;
use gif::{Encoder, Frame};

use super::case::{Case, Expected, PAYLOAD, made, refused};

/// The signature, the logical screen and a palette of two colors.
fn screen(width: u16, height: u16) -> Vec<u8> {
    let mut file = b"GIF89a".to_vec();
    file.extend(width.to_le_bytes());
    file.extend(height.to_le_bytes());
    file.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    file
}

/// A frame's descriptor, and its data as blocks.
fn frame(left: u16, top: u16, width: u16, height: u16, packed: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x2c];
    frame.extend([left, top, width, height].into_iter().flat_map(u16::to_le_bytes));
    frame.extend([0, 2]);
    for block in packed.chunks(255) {
        frame.push(u8::try_from(block.len()).unwrap());
        frame.extend(block);
    }
    frame.push(0);
    frame
}

/// Clear, color 1, end: 4, 1, 5 in three bits each, the lowest first.
const PIXEL: &[u8] = &[0x4c, 0x01];

/// Whole, as an encoder makes it.
pub(super) fn file(width: u16, height: u16) -> Vec<u8> {
    let mut file = Vec::new();
    let palette: Vec<u8> = (0..=255).flat_map(|i| [i, 255 - i, 99]).collect();
    let mut encoder = Encoder::new(&mut file, width, height, &palette).unwrap();
    let pixel = |at: usize| ((at % usize::from(width)) * 3 + at / usize::from(width) * 5).to_le_bytes()[0];
    let indices: Vec<u8> = (0..usize::from(width) * usize::from(height)).map(pixel).collect();
    encoder.write_frame(&Frame::from_indexed_pixels(width, height, indices, None)).unwrap();
    drop(encoder);
    file
}

/// Nothing but color 0, packed as well as LZW can.
fn flat(width: u16, height: u16) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width, height, &[0; 6]).unwrap();
    let indices = vec![0; usize::from(width) * usize::from(height)];
    encoder.write_frame(&Frame::from_indexed_pixels(width, height, indices, None)).unwrap();
    drop(encoder);
    file
}

pub(super) fn cases() -> Vec<Case> {
    let with = |screen: Vec<u8>, frames: &[Vec<u8>]| [screen, frames.concat(), vec![0x3b]].concat();
    let one = |width, height, frame| with(screen(width, height), &[frame]);
    let pixel = || frame(0, 0, 1, 1, PIXEL);
    let comment = [&[0x21, 0xfe, u8::try_from(PAYLOAD.len()).unwrap()][..], PAYLOAD, &[0]].concat();
    // `GIF89a/*` is a comment that begins, to a browser that takes the file for a script.
    let script =
        [with(screen(0x2a2f, 9), &[comment, frame(0, 0, 1, 1, PIXEL)]), b"*/=1;".to_vec(), PAYLOAD.to_vec()];
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i * i * 31 % 251).to_le_bytes()[0]).collect();
    let one_block_each: Vec<u8> = [1, 0x44].repeat(100_000);
    vec![
        Case::new("five thousand frames", with(screen(8, 8), &vec![pixel(); 5000]), made(8, 8)),
        Case::new("forty thousand frames", with(screen(8, 8), &vec![pixel(); 40_000]), made(8, 8)),
        Case::new("a giant canvas and a tiny frame", one(16_000, 16_000, pixel()), refused(Reason::TooLarge)),
        Case::new("a canvas of 65535x65535", one(65_535, 65_535, pixel()), refused(Reason::TooLarge)),
        Case::new("a large canvas and a tiny frame", one(800, 800, pixel()), made(800, 800)),
        Case::new(
            "a tiny canvas and a giant frame",
            one(8, 8, frame(0, 0, 65_535, 65_535, PIXEL)),
            Expected::Anything,
        ),
        Case::new(
            "a frame outside of the canvas",
            one(8, 8, frame(60_000, 60_000, 1, 1, PIXEL)),
            Expected::Anything,
        ),
        Case::new("a frame partly outside", one(8, 8, frame(7, 7, 3, 3, &noise)), Expected::Anything),
        Case::new("a frame without pixels", one(8, 8, frame(0, 0, 0, 0, PIXEL)), Expected::Anything),
        Case::new("a canvas without pixels", one(0, 0, pixel()), Expected::Anything),
        Case::new("LZW that unfolds", flat(1200, 1200), made(1200, 1200)),
        Case::new(
            "LZW that goes on",
            one(8, 8, frame(0, 0, 8, 8, &flat(2000, 2000)[40..])),
            Expected::Anything,
        ),
        Case::new("LZW of noise", one(64, 64, frame(0, 0, 64, 64, &noise)), Expected::Anything),
        Case::new("codes of 12 bits", codes_of(12), Expected::Anything),
        Case::new("codes of 255 bits", codes_of(255), Expected::Broken),
        Case::new(
            "blocks of one byte",
            [screen(64, 64), frame(0, 0, 64, 64, &[])[..11].to_vec(), one_block_each].concat(),
            Expected::Anything,
        ),
        Case::new("no frame", with(screen(8, 8), &[]), refused(Reason::Corrupt)),
        Case::new("no palette", no_palette(), Expected::Anything),
        Case::new(
            "a comment of a megabyte",
            with(screen(8, 8), &[long_comment(), pixel_of(8, 8)]),
            Expected::Anything,
        ),
        Case::new("a script", script.concat(), Expected::Anything),
        Case::new("1x30000", file(1, 30_000), made(1, 30_000)),
        Case::new("30000x1", file(30_000, 1), made(30_000, 1)),
        Case::new("1x1", file(1, 1), made(1, 1)),
    ]
}

fn pixel_of(width: u16, height: u16) -> Vec<u8> {
    frame(0, 0, width, height, PIXEL)
}

fn long_comment() -> Vec<u8> {
    let block = [&[255][..], &[b'a'; 255]].concat();
    [vec![0x21, 0xfe], block.repeat(4000), vec![0]].concat()
}

fn codes_of(bits: u8) -> Vec<u8> {
    let mut frame = frame(0, 0, 8, 8, PIXEL);
    frame[10] = bits;
    [screen(8, 8), frame, vec![0x3b]].concat()
}

fn no_palette() -> Vec<u8> {
    let mut screen = screen(8, 8);
    screen[10] = 0;
    screen.truncate(13);
    [screen, pixel_of(1, 1), vec![0x3b]].concat()
}
