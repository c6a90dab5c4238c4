//! Boxed files (ISO/IEC 14496-12): which of the pictures that we know but do not decode, by the brands in `ftyp`.

use super::fields::{Order::Big, offset_at};
use super::{Fault, Format, Reason};

pub(super) fn format(head: &[u8]) -> Result<Format, Fault> {
    // The box: length, `ftyp`, major brand, minor version, compatible brands. 32 brands are more than anybody lists.
    let len = offset_at(head, 0, Big).unwrap_or(0).min(head.len()).min(16 + 4 * 32);
    let brands = || head.get(8..len).unwrap_or_default().chunks_exact(4);
    if brands().any(|brand| matches!(brand, b"avif" | b"avis")) {
        return Ok(Format::Avif);
    }
    let heif = |brand: &[u8]| {
        matches!(brand, b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1")
    };
    if brands().any(heif) {
        return Ok(Format::Heic);
    }
    Err(Fault::new(Reason::NotAnImage, "the file is a film or another container, no picture"))
}
