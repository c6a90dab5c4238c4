//! WebP (RFC 9649): the canvas, the first frame and what is told of it, Exif, how many frames there are.

use super::fields::{Order::Little, bytes, offset_at, u16_at, u32_at};
use super::{FRAMES_MAX, Fault, Format, ICC_MAX, Orientation, Probe, corrupt, exif};

/// What the chunks tell.
#[derive(Debug, Default)]
pub(in crate::imaging) struct Headers<'a> {
    pub(in crate::imaging) canvas: Option<(u32, u32)>,
    /// The first frame, if it is animated: its place on the canvas and its chunks.
    pub(in crate::imaging) frame: Option<FirstFrame<'a>>,
    pub(in crate::imaging) icc: Option<&'a [u8]>,
    has_alpha: bool,
    frames: u32,
    lossless: Option<Lossless<'a>>,
    /// The plane of opacities beside a lossy picture is there.
    alpha_plane: bool,
    /// What it is packed as, if it is.
    alpha_stream: Option<&'a [u8]>,
    exif: Option<&'a [u8]>,
}

/// An animation's first frame (2.7.1.2).
#[derive(Debug, Clone, Copy)]
pub(in crate::imaging) struct FirstFrame<'a> {
    pub(in crate::imaging) x: u32,
    pub(in crate::imaging) y: u32,
    pub(in crate::imaging) width: u32,
    pub(in crate::imaging) height: u32,
    pub(in crate::imaging) chunks: &'a [u8],
}

/// A picture without loss, behind its header (RFC 9649, 3.4).
#[derive(Debug, Clone, Copy)]
pub(in crate::imaging) struct Lossless<'a> {
    pub(in crate::imaging) stream: &'a [u8],
    pub(in crate::imaging) width: u32,
    pub(in crate::imaging) height: u32,
}

impl<'a> Headers<'a> {
    /// Walks over the chunks. Their lengths are not believed: the last one ends where the bytes do.
    pub(in crate::imaging) fn read(file: &'a [u8]) -> Self {
        let mut headers = Self::default();
        for (kind, data) in Chunks(file.get(12..).unwrap_or_default()) {
            headers.take(kind, data);
            if headers.frames >= FRAMES_MAX {
                break;
            }
        }
        headers
    }

    fn take(&mut self, kind: &[u8], data: &'a [u8]) {
        match kind {
            b"VP8X" => self.extended(data),
            b"ANMF" => {
                self.frames += 1;
                if self.frames == 1 {
                    self.frame = FirstFrame::read(data);
                    let chunks = self.frame.map_or(&[][..], |frame| frame.chunks);
                    Chunks(chunks).for_each(|(kind, data)| self.picture(kind, data));
                }
            }
            b"VP8 " | b"VP8L" | b"ALPH" => self.picture(kind, data),
            b"EXIF" if self.exif.is_none() => self.exif = Some(data),
            b"ICCP" if self.icc.is_none() && data.len() <= ICC_MAX => self.icc = Some(data),
            _ => {}
        }
    }

    /// Flags and the canvas (2.7.1): sides less one, in three bytes each.
    fn extended(&mut self, data: &[u8]) {
        if let (Some(flags), Some(width), Some(height)) = (data.first(), u24_at(data, 4), u24_at(data, 7)) {
            self.canvas = self.canvas.or(Some((width + 1, height + 1)));
            self.has_alpha |= flags & 0x10 != 0;
        }
    }

    fn picture(&mut self, kind: &[u8], data: &'a [u8]) {
        let size = match kind {
            b"ALPH" => {
                self.alpha_plane = true;
                // 2.7.1.2: one byte tells how it is packed.
                self.alpha_stream = data.split_first().filter(|(how, _)| *how & 3 == 1).map(|(_, rest)| rest);
                None
            }
            // RFC 6386, 9.1: three bytes of frame tag, the start code, two sides of 14 bits.
            b"VP8 " if bytes(data, 3, 3) == Some(&[0x9d, 0x01, 0x2a]) => {
                let side = |at| u16_at(data, at, Little).map(|side| u32::from(side & 0x3fff));
                side(6).zip(side(8))
            }
            // RFC 9649, 3.4: the signature, two sides less one of 14 bits, a bit for alpha.
            b"VP8L" if data.first() == Some(&0x2f) => u32_at(data, 1, Little).map(|packed| {
                let (width, height) = ((packed & 0x3fff) + 1, (packed >> 14 & 0x3fff) + 1);
                self.lossless = Some(Lossless { stream: &data[5..], width, height });
                self.has_alpha |= self.canvas.is_none() && packed >> 28 & 1 == 1;
                (width, height)
            }),
            _ => None,
        };
        self.canvas = self.canvas.or(size);
    }

    /// What libwebp keeps at full size while it decodes the first frame, and what putting that on a canvas takes.
    fn held_bytes(&self, (width, height): (u32, u32)) -> u64 {
        let canvas = u64::from(width) * u64::from(height);
        let (mut pixels, mut composed) = (canvas, 0);
        if let Some(frame) = self.frame {
            pixels = u64::from(frame.width) * u64::from(frame.height);
            composed = if frame.covers((width, height)) { 0 } else { 4 * (canvas + pixels) };
        }
        // Pixels of 4 bytes, and up to three small pictures that tell for each block of 4 by 4 how it is coded.
        let unpacking = 5 * pixels + TABLES_BYTES;
        let decoder = match (self.lossless, self.alpha_plane, self.alpha_stream) {
            (Some(_), ..) => unpacking,
            (None, true, Some(_)) => pixels + unpacking,
            (None, true, None) => pixels,
            (None, false, _) => 0,
        };
        decoder + composed
    }

    /// What is packed without loss: the picture, or its opacities.
    pub(in crate::imaging) fn packed(&self) -> Option<Lossless<'a>> {
        let (width, height) = match self.frame {
            Some(frame) => (frame.width, frame.height),
            None => self.canvas?,
        };
        self.lossless.or(self.alpha_stream.map(|stream| Lossless { stream, width, height }))
    }
}

/// What the tables of prefix codes may take: libwebp's encoder makes up to 2600 groups of them (`MAX_HUFF_IMAGE_SIZE`),
/// each of which its decoder unfolds to some 16 KiB. A picture with more is refused when it is decoded.
pub(in crate::imaging) const TABLES_BYTES: u64 = 2600 * 16 * 1024;

impl<'a> FirstFrame<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        Some(Self {
            x: u24_at(data, 0)? * 2,
            y: u24_at(data, 3)? * 2,
            width: u24_at(data, 6)? + 1,
            height: u24_at(data, 9)? + 1,
            chunks: data.get(16..)?,
        })
    }

    /// Whether nothing of a canvas shows around it.
    pub(in crate::imaging) fn covers(self, canvas: (u32, u32)) -> bool {
        (self.x, self.y) == (0, 0) && (self.width, self.height) == canvas
    }
}

pub(super) fn probe(head: &[u8]) -> Result<Probe, Fault> {
    let headers = Headers::read(head);
    let canvas = headers.canvas.ok_or_else(|| corrupt(Format::WebP, "ends before its size is told"))?;
    let partial = headers.frame.is_some_and(|frame| !frame.covers(canvas));
    let has_alpha = headers.has_alpha || partial;
    Ok(Probe {
        format: Format::WebP,
        width: canvas.0,
        height: canvas.1,
        orientation: headers.exif.map_or(Orientation::UPRIGHT, exif::orientation),
        has_alpha,
        channels: if has_alpha { 4 } else { 3 },
        bits: 8,
        frames: headers.frames.max(1),
        progressive: headers.lossless.is_some(),
        held_bytes: headers.held_bytes(canvas) + headers.icc.map_or(0, |icc| icc.len() as u64),
    })
}

/// Chunks: a name, a length, data, and a byte more if the length is odd (2.3).
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, len) = (bytes(self.0, 0, 4)?, offset_at(self.0, 4, Little)?);
        let rest = &self.0[8..];
        let (data, after) = rest.split_at(len.min(rest.len()));
        self.0 = after.get(len & 1..).unwrap_or_default();
        Some((kind, data))
    }
}

fn u24_at(data: &[u8], at: usize) -> Option<u32> {
    bytes(data, at, 3).map(|three| u32::from_le_bytes([three[0], three[1], three[2], 0]))
}
