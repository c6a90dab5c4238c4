//! Pictures that nobody should send, made by code: bombs, lies, damage, files that are two things at once; and odd but
//! honest ones, which look like them. What must come of each stands beside it.
//!
//! A file per format makes them. `made` sends them all through `imaging`; `served` through a real server whose
//! memory is limited.

mod bmp;
mod case;
mod damaged;
mod gif;
mod jpeg;
mod made;
mod metadata;
mod png;
mod served;
mod tiff;
mod webp;

use case::Case;

/// All of a kind; the kinds are tested side by side.
fn cases(kind: &str) -> Vec<Case> {
    let cases = match kind {
        "PNG" => png::cases(),
        "JPEG" => jpeg::cases(),
        "GIF" => gif::cases(),
        "WebP" => webp::cases(),
        "BMP" => bmp::cases(),
        "TIFF" => tiff::cases(),
        "Exif" => metadata::exif_cases(),
        "profile" => metadata::profile_cases(),
        "cut" => damaged::cut(),
        "changed" => damaged::changed(),
        "other" => damaged::others(),
        other => panic!("there is no kind {other}"),
    };
    cases.into_iter().map(|case| case.of(kind)).collect()
}
