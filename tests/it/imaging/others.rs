//! GIF, BMP and TIFF; and files of which it can only be said what they are.

use std::borrow::Cow;
use std::io::Cursor;

use cifra::imaging::{Format, Layout, Orientation, Pixels, Reason, probe};
use gif::{Encoder, Frame};
use image::{DynamicImage, ImageFormat};

use super::drawn::{drawn, whole};

/// A GIF of 10 by 10 pixels with these frames; palette: red, green, blue, black.
fn gif(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut file = Vec::new();
    let palette = [255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0];
    let mut encoder = Encoder::new(&mut file, 10, 10, &palette).unwrap();
    for frame in frames {
        encoder.write_frame(frame).unwrap();
    }
    drop(encoder);
    file
}

fn frame(place: (u16, u16), size: (u16, u16), transparent: Option<u8>, interlaced: bool) -> Frame<'static> {
    let pixels: Vec<u8> = (0..size.0 * size.1).map(|at| u8::try_from(at % 3).unwrap()).collect();
    Frame {
        left: place.0,
        top: place.1,
        width: size.0,
        height: size.1,
        transparent,
        interlaced,
        buffer: Cow::Owned(pixels),
        ..Frame::default()
    }
}

#[test]
fn of_a_gif_the_first_frame_is_shown_on_its_canvas() {
    let full = gif(&[frame((0, 0), (10, 10), None, false), frame((1, 1), (3, 3), None, false)]);
    let probe_full = probe(&full).unwrap();
    assert_eq!((probe_full.format, probe_full.width, probe_full.frames), (Format::Gif, 10, 2));
    assert!(!probe_full.has_alpha);
    let pixels = whole(&full).unwrap().pixels;
    assert_eq!((pixels.width, pixels.height, pixels.layout), (10, 10, Layout::Rgb));
    assert_eq!(pixels.data[..9], [255, 0, 0, 0, 255, 0, 0, 0, 255]);

    for interlaced in [false, true] {
        let part = gif(&[frame((8, 7), (2, 3), Some(1), interlaced)]);
        assert!(probe(&part).unwrap().has_alpha);
        let pixels = whole(&part).unwrap().pixels;
        let pixel = |x: usize, y: usize| &pixels.data[4 * (10 * y + x)..][..4];
        assert_eq!((pixel(7, 7)[3], pixel(8, 6)[3]), (0, 0));
        assert_eq!(pixel(8, 7), [255, 0, 0, 255]);
        assert_eq!(pixel(9, 7)[3], 0);
    }

    let outside = gif(&[frame((9, 9), (20, 20), None, false)]);
    let pixels = whole(&outside).unwrap().pixels;
    assert_eq!((pixels.width, &pixels.data[4 * 99..]), (10, &[255, 0, 0, 255][..]));
}

#[test]
fn a_gif_that_ends_too_early_gives_the_rows_it_has() {
    let mut file = Vec::new();
    let noise: Vec<u8> =
        (0..100 * 100_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let palette: Vec<u8> = (0..=255).flat_map(|gray| [gray; 3]).collect();
    let mut encoder = Encoder::new(&mut file, 100, 100, &palette).unwrap();
    let buffer = Cow::Borrowed(&noise[..]);
    encoder.write_frame(&Frame { width: 100, height: 100, buffer, ..Frame::default() }).unwrap();
    drop(encoder);
    let decoded = whole(&file[..file.len() / 2]).unwrap();
    assert!(decoded.truncated);
    assert!(decoded.pixels.data.iter().step_by(3).zip(&noise).take(2000).all(|(is, drawn)| is == drawn));
    assert_eq!(decoded.pixels.data[3 * 9999..], [0; 3]);

    let file = gif(&[frame((0, 0), (10, 10), None, false)]);
    for len in [8, 13, 25, 36] {
        assert_eq!(whole(&file[..len]).unwrap_err().reason, Reason::Corrupt, "{len} bytes");
    }
}

/// A picture as the `image` crate has it, and as we do.
fn twins() -> Vec<(DynamicImage, Pixels)> {
    [Layout::Gray, Layout::Rgb, Layout::Rgba]
        .into_iter()
        .map(|layout| {
            let ours = drawn(33, 21, layout);
            let data = ours.data.clone();
            let theirs = match layout {
                Layout::Gray => image::GrayImage::from_raw(33, 21, data).unwrap().into(),
                Layout::Rgb => image::RgbImage::from_raw(33, 21, data).unwrap().into(),
                _ => image::RgbaImage::from_raw(33, 21, data).unwrap().into(),
            };
            (theirs, ours)
        })
        .collect()
}

#[test]
fn bmp_and_tiff_come_back_as_they_were_drawn() {
    for (format, name) in [(ImageFormat::Bmp, Format::Bmp), (ImageFormat::Tiff, Format::Tiff)] {
        for (theirs, ours) in twins() {
            let mut file = Cursor::new(Vec::new());
            theirs.write_to(&mut file, format).unwrap();
            let file = file.into_inner();
            let probe = probe(&file).unwrap();
            assert_eq!((probe.format, probe.width, probe.height), (name, 33, 21));
            let decoded = whole(&file).unwrap();
            let expected = if name == Format::Bmp && ours.layout == Layout::Gray {
                let data = ours.data.iter().flat_map(|gray| [*gray; 3]).collect();
                Pixels { layout: Layout::Rgb, data, ..ours }
            } else {
                ours
            };
            assert!(decoded.pixels == expected, "{name:?}");
            assert_eq!(whole(&file[..50]).unwrap_err().reason, Reason::Corrupt);
        }
    }
}

#[test]
fn a_tiff_of_sixteen_bits_comes_as_eight_and_tells_its_orientation() {
    let wide: image::ImageBuffer<image::LumaA<u16>, _> =
        image::ImageBuffer::from_raw(1, 1, vec![0x1234, 0xffff]).unwrap();
    let mut file = Cursor::new(Vec::new());
    DynamicImage::ImageLumaA16(wide).to_rgba16().write_to(&mut file, ImageFormat::Tiff).unwrap();
    let mut file = file.into_inner();
    let pixels = whole(&file).unwrap().pixels;
    assert_eq!((pixels.layout, &pixels.data[..]), (Layout::Rgba, &[0x12, 0x12, 0x12, 0xff][..]));

    // Any tag that the decoder does not need becomes the orientation.
    let tag = file.windows(4).position(|four| four == [0x28, 0x01, 3, 0]).expect("a resolution unit");
    file[tag..tag + 2].copy_from_slice(&[0x12, 0x01]);
    file[tag + 8..tag + 10].copy_from_slice(&[5, 0]);
    assert_eq!(probe(&file).unwrap().orientation, Orientation::from_exif(5));
}

#[test]
fn what_is_known_but_not_decoded_is_called_by_its_name() {
    let cases: [(&[u8], &str); 8] = [
        (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0avifmif1", "AVIF"),
        (b"\xff\x0a\x00\x00", "JPEG XL"),
        (b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a", "JPEG XL"),
        (b"<?xml version='1.0'?>\n<!-- > --><!DOCTYPE svg>\n<svg xmlns=''/>", "SVG"),
        (b"\xef\xbb\xbf <svg/>", "SVG"),
        (b"II\x2b\0\x08\0\0\0", "BigTIFF"),
        (b"\xff\xd8\xff\xc3\0\x0b\x08\0\x01\0\x01\x01\x01\x11\0", "lossless"),
    ];
    for (head, name) in cases {
        let fault = probe(head).unwrap_err();
        assert_eq!(fault.reason, Reason::UnsupportedFormat, "{name}");
        assert!(fault.detail.contains(name), "{}", fault.detail);
    }
}

#[test]
fn what_is_no_picture_is_told_so() {
    let film = b"\0\0\0\x18ftypisom\0\0\0\0isommp42";
    for head in [&b""[..], b"BM", b"hello", b"%PDF-1.7", b"<html><svg/></html>", b"GIF88a", b"<?<?", film] {
        assert_eq!(probe(head).unwrap_err().reason, Reason::NotAnImage, "{head:?}");
    }
}
