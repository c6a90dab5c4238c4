//! Files as other programs make them, which our own encoders do not.
#![expect(
    unsafe_code,
    reason = "what C libraries can encode and cifra does not: CMYK, progressive, lossless"
)]

use std::ffi::c_int;
use std::ptr;

use cifra::imaging::{Layout, Pixels};
use turbojpeg_sys as tj;

/// A JPEG, 4:4:4 (4:2:0 if `halved`), quality 90; CMYK as YCCK with Adobe's marker, inks inverted as Adobe does.
pub(super) fn jpeg(pixels: &Pixels, progressive: bool, halved: bool) -> Vec<u8> {
    let (format, inverted) = match pixels.layout {
        Layout::Gray => (tj::TJPF_TJPF_GRAY, false),
        Layout::Rgb => (tj::TJPF_TJPF_RGB, false),
        Layout::Rgba => panic!("no JPEG has alpha"),
        Layout::Cmyk => (tj::TJPF_TJPF_CMYK, true),
    };
    let data: Vec<u8> = pixels.data.iter().map(|sample| if inverted { !sample } else { *sample }).collect();
    let sampling = if halved { tj::TJSAMP_TJSAMP_420 } else { tj::TJSAMP_TJSAMP_444 };
    let (width, height) = (c_int::try_from(pixels.width).unwrap(), c_int::try_from(pixels.height).unwrap());
    let (mut bytes, mut len) = (ptr::null_mut(), 0);
    // SAFETY: the buffer has as many rows as said; the result is copied before it is freed.
    unsafe {
        let handle = tj::tj3Init(0);
        tj::tj3Set(handle, 3, 90);
        tj::tj3Set(handle, 4, sampling);
        tj::tj3Set(handle, 12, c_int::from(progressive));
        let status =
            tj::tj3Compress8(handle, data.as_ptr(), width, 0, height, format, &raw mut bytes, &raw mut len);
        assert_eq!(status, 0);
        let file = std::slice::from_raw_parts(bytes, usize::try_from(len).unwrap()).to_vec();
        tj::tj3Free(bytes.cast());
        tj::tj3Destroy(handle);
        file
    }
}

/// A lossless WebP.
pub(super) fn lossless_webp(pixels: &Pixels) -> Vec<u8> {
    assert_eq!(pixels.layout, Layout::Rgba);
    let (width, height) = (c_int::try_from(pixels.width).unwrap(), c_int::try_from(pixels.height).unwrap());
    let mut bytes = ptr::null_mut();
    // SAFETY: the buffer has as many rows as said; the result is copied before it is freed.
    unsafe {
        let data = pixels.data.as_ptr();
        let len = libwebp_sys::WebPEncodeLosslessRGBA(data, width, height, 4 * width, &raw mut bytes);
        let file = std::slice::from_raw_parts(bytes, len).to_vec();
        libwebp_sys::WebPFree(bytes.cast());
        file
    }
}

/// A segment put behind a JPEG's first marker.
pub(super) fn with_segment(jpeg: &[u8], marker: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, marker], &len[..], content, &jpeg[2..]].concat()
}

/// A chunk put behind a PNG's header.
pub(super) fn with_chunk(png: &[u8], kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap().to_be_bytes();
    let crc = crc32(&[&kind[..], content].concat()).to_be_bytes();
    [&png[..33], &len[..], &kind[..], content, &crc[..], &png[33..]].concat()
}

/// The check of PNG's chunks (annex D).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

/// A WebP file of these chunks.
pub(super) fn webp(chunks: &[([u8; 4], &[u8])]) -> Vec<u8> {
    let body = [b"WEBP".to_vec(), webp_chunks(chunks)].concat();
    [&b"RIFF"[..], &u32::try_from(body.len()).unwrap().to_le_bytes(), &body].concat()
}

/// Chunks, one behind the other.
pub(super) fn webp_chunks(chunks: &[([u8; 4], &[u8])]) -> Vec<u8> {
    let one = |(kind, data): &([u8; 4], &[u8])| {
        let len = u32::try_from(data.len()).unwrap().to_le_bytes();
        [&kind[..], &len[..], data, &[0][..data.len() % 2]].concat()
    };
    chunks.iter().flat_map(one).collect()
}

/// Three bytes, little end first.
fn three(number: u32) -> [u8; 3] {
    let [a, b, c, _] = number.to_le_bytes();
    [a, b, c]
}

/// A `VP8X` chunk's content.
pub(super) fn vp8x(flags: u8, width: u32, height: u32) -> Vec<u8> {
    [&[flags, 0, 0, 0][..], &three(width - 1), &three(height - 1)].concat()
}

/// An `ANMF` chunk's content: the picture of a still WebP file at a place (even numbers).
pub(super) fn anmf(still: &[u8], (x, y): (u32, u32), (width, height): (u32, u32)) -> Vec<u8> {
    let place = [three(x / 2), three(y / 2), three(width - 1), three(height - 1), three(100)].concat();
    // What is told of the whole file is no part of a frame.
    let chunks = if still[12..].starts_with(b"VP8X") { &still[30..] } else { &still[12..] };
    [&place[..], &[0], chunks].concat()
}

/// An Exif block that tells the orientation, in either byte order.
pub(super) fn exif(orientation: u16, big: bool) -> Vec<u8> {
    let two = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let four = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let head = if big { *b"MM\0*" } else { *b"II*\0" };
    let entry = [&two(0x0112)[..], &two(3), &four(1), &two(orientation), &two(0)].concat();
    [&head[..], &four(8), &two(1), &entry, &four(0)].concat()
}
