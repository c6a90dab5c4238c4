//! GIF 89a: the logical screen, the first frame's transparency, and how many frames follow. Nothing is unpacked.

use super::fields::{Order::Little, bytes, u16_at};
use super::{FRAMES_MAX, Fault, Format, Orientation, Probe, corrupt};

/// What the walk over the blocks finds.
#[derive(Default)]
struct Frames {
    count: u32,
    /// The first frame has no transparent color and covers the canvas.
    first_is_opaque: bool,
    /// Of the first frame, which may be larger than the canvas.
    first_pixels: u64,
    first_is_canvas: bool,
}

pub(super) fn probe(head: &[u8]) -> Result<Probe, Fault> {
    let screen = bytes(head, 6, 7).ok_or_else(|| corrupt(Format::Gif, "ends before its size is told"))?;
    let (width, height) = (u16_at(screen, 0, Little).unwrap_or(0), u16_at(screen, 2, Little).unwrap_or(0));
    let frames = frames(head, 13 + palette_len(screen[4]), (width, height));
    Ok(Probe {
        format: Format::Gif,
        width: width.into(),
        height: height.into(),
        orientation: Orientation::UPRIGHT,
        has_alpha: !frames.first_is_opaque,
        channels: 1,
        bits: 8,
        frames: frames.count.max(1),
        progressive: false,
        // A frame that is not its canvas is unpacked beside it.
        held_bytes: if frames.first_is_canvas { 0 } else { 4 * frames.first_pixels },
    })
}

/// Walks over the blocks (appendix B), each byte of which is looked at once at most.
fn frames(file: &[u8], start: usize, canvas: (u16, u16)) -> Frames {
    let mut frames = Frames::default();
    let (mut at, mut transparent) = (start, false);
    while frames.count < FRAMES_MAX {
        let next = match file.get(at) {
            Some(0x21) => {
                if frames.count == 0 && file.get(at + 1) == Some(&0xf9) {
                    transparent = file.get(at + 3).is_some_and(|flags| flags & 1 == 1);
                }
                skip_data(file, at + 2)
            }
            Some(0x2c) => {
                let Some(image) = bytes(file, at + 1, 9) else { break };
                frames.count += 1;
                if frames.count == 1 {
                    let number = |at| u16_at(image, at, Little).unwrap_or(0);
                    let (width, height) = (number(4), number(6));
                    let cornered = (number(0), number(2)) == (0, 0);
                    frames.first_is_opaque =
                        cornered && width >= canvas.0 && height >= canvas.1 && !transparent;
                    frames.first_is_canvas = cornered && (width, height) == canvas;
                    frames.first_pixels = u64::from(width) * u64::from(height);
                }
                skip_data(file, at + 11 + palette_len(image[8]))
            }
            _ => break,
        };
        let Some(next) = next else { break };
        at = next;
    }
    frames
}

/// Where the blocks of data that begin at `at` end.
fn skip_data(file: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *file.get(at)? {
            0 => return Some(at + 1),
            len => at += 1 + usize::from(len),
        }
    }
}

fn palette_len(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}
