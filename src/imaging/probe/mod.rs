//! What a picture is, by its headers alone: nothing is decoded, nothing is inflated, every offset is checked.
//!
//! One file per format; here is the one list of signatures. [`price`](super::price()) and [`decode`](super::decode()) go
//! by what is found here, and the decoders check again that they see the same size.

mod bmp;
mod exif;
mod fields;
mod gif;
mod isobmff;
pub(super) mod jpeg;
pub(super) mod png;
pub(super) mod tiff;
pub(super) mod webp;

use super::{Fault, Orientation, Reason};

/// How many bytes of a file's beginning tell, for nearly all files, what [`probe()`] wants to know.
pub const HEAD_BYTES: usize = 256 * 1024;

/// A color profile longer than this is left out: those of printing presses have some 2 MiB.
const ICC_MAX: usize = 4 << 20;

/// No more frames or pages than this are counted: counting must end soon, and nobody needs the exact number.
const FRAMES_MAX: u32 = 10_000;

/// What kind of file a picture is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// ITU-T T.81, in JFIF, Exif or bare.
    Jpeg,
    /// PNG, animated or not.
    Png,
    /// WebP: lossy, lossless, animated.
    WebP,
    /// GIF 87a and 89a.
    Gif,
    /// Windows bitmaps.
    Bmp,
    /// TIFF 6.0.
    Tiff,
    /// Known, not decoded: HEIF with HEVC inside.
    Heic,
    /// Known, not decoded: HEIF with AV1 inside.
    Avif,
    /// Known, not decoded.
    JpegXl,
    /// Known, not decoded.
    Svg,
}

impl Format {
    /// The word for it in JSON and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
            Self::Heic => "heic",
            Self::Avif => "avif",
            Self::JpegXl => "jxl",
            Self::Svg => "svg",
        }
    }
}

/// What the headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The kind of file.
    pub format: Format,
    /// In pixels, as stored (not turned), 1 at least. Of an animation: its canvas.
    pub width: u32,
    /// In pixels, as stored, 1 at least.
    pub height: u32,
    /// How to turn what is stored.
    pub orientation: Orientation,
    /// Whether it can be transparent anywhere.
    pub has_alpha: bool,
    /// Samples a pixel, as stored; 1 with a palette.
    pub channels: u8,
    /// Bits a sample, as stored.
    pub bits: u8,
    /// Frames of an animation or pages, as far as the bytes given reach; 1 at least.
    pub frames: u32,
    /// Nothing can be shown before the whole picture was taken in at full size: progressive or multi-scan JPEG,
    /// interlaced PNG, lossless WebP.
    pub progressive: bool,
    /// Bytes that its decoder must hold at full size, however small the output is to be: coefficients, passes, strips.
    pub held_bytes: u64,
}

/// Reads the headers of a picture. `head` is the file or its first [`HEAD_BYTES`].
///
/// Of a beginning alone, `frames` is what can be seen of them, and [`Reason::Corrupt`] may mean that the headers are
/// further behind (a TIFF's often are at its end): ask again with the whole file.
///
/// # Errors
/// `NotAnImage`, `UnsupportedFormat` with the format's name, `Corrupt`.
pub fn probe(head: &[u8]) -> Result<Probe, Fault> {
    let probe = match format(head)? {
        Format::Jpeg => jpeg::probe(head),
        Format::Png => png::probe(head),
        Format::WebP => webp::probe(head),
        Format::Gif => gif::probe(head),
        Format::Bmp => bmp::probe(head),
        Format::Tiff => tiff::probe(head),
        // The door for decoders that are not safe enough for this process: a build with such a feature probes these
        // here (`isobmff` for HEIC and AVIF) and decodes them in `decode::decode`, in a child process with limits.
        Format::Heic => Err(unsupported("HEIC pictures are not decoded here")),
        Format::Avif => Err(unsupported("AVIF pictures are not decoded here")),
        Format::JpegXl => Err(unsupported("JPEG XL pictures are not decoded here")),
        Format::Svg => Err(unsupported("SVG drawings are not decoded here")),
    }?;
    if probe.width == 0 || probe.height == 0 {
        return Err(corrupt(probe.format, "has no pixels"));
    }
    Ok(probe)
}

/// Which format the signature is of.
fn format(head: &[u8]) -> Result<Format, Fault> {
    Ok(match head {
        [0xff, 0xd8, 0xff, ..] => Format::Jpeg,
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Format::Png,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Format::WebP,
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Format::Gif,
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Format::Tiff,
        [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..] => {
            return Err(unsupported("BigTIFF pictures are not decoded here"));
        }
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', 0x0d, 0x0a, 0x87, 0x0a, ..] => {
            Format::JpegXl
        }
        [b'B', b'M', ..] if bmp::looks_like(head) => Format::Bmp,
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => isobmff::format(head)?,
        _ if is_svg(head) => Format::Svg,
        _ => return Err(Fault::new(Reason::NotAnImage, "the file is no picture of a known format")),
    })
}

/// Whether the text's first element is `svg`, after what XML allows before it. A kilobyte is looked at.
fn is_svg(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&head[..head.len().min(1024)]);
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    while let Some(aside) = ["<?", "<!"].iter().find_map(|open| rest.strip_prefix(open)) {
        // A document type may have declarations of its own, in brackets.
        let declares = aside.split('>').next().is_some_and(|first| first.contains('['));
        let close = match aside {
            comment if comment.starts_with("--") => "-->",
            _ if declares => "]>",
            _ => ">",
        };
        let Some((_, after)) = aside.split_once(close) else { return false };
        rest = after.trim_start();
    }
    rest.starts_with("<svg") || rest.starts_with("<svg:svg")
}

fn unsupported(detail: &str) -> Fault {
    Fault::new(Reason::UnsupportedFormat, detail)
}

/// A broken file of `format` that `what`.
pub(super) fn corrupt(format: Format, what: &str) -> Fault {
    Fault::new(Reason::Corrupt, format!("the {} file {what}", format.as_str()))
}
