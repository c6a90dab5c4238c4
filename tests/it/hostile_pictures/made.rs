//! The corpus through `imaging`, in this process: each comes to what stands beside it, in time, and twice the same.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use cifra::base::thumbnail::{Fit, NamedSize, OutputFormat, ThumbnailSpec};
use cifra::imaging::{Fault, Limits, Made, Reason, make, probe};

use super::case::{Case, Expected, MEMORY_MAX, PAYLOAD};

/// Much more than any of them takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// The slow ones are given up then.
const SHORT_DEADLINE: Duration = Duration::from_secs(2);

/// How long after that one is allowed to end: the deadline is looked at between steps.
const GRACE: Duration = Duration::from_secs(10);

fn sizes() -> Vec<NamedSize> {
    let size = |name: &str, spec| NamedSize { name: name.parse().unwrap(), spec };
    let square =
        ThumbnailSpec { fit: Fit::Cover, format: OutputFormat::WebP, ..ThumbnailSpec::inside(100, 100) };
    let boxed =
        ThumbnailSpec { fit: Fit::Contain, format: OutputFormat::Png, ..ThumbnailSpec::inside(40, 20) };
    vec![
        size("large", ThumbnailSpec::inside(300, 300)),
        size("small", ThumbnailSpec::inside(150, 150)),
        size("square", square),
        size("boxed", boxed),
    ]
}

fn made(bytes: &[u8], deadline: Duration) -> Result<Made, Fault> {
    let limits = Limits { memory_max: MEMORY_MAX, ..Limits::default() };
    make(bytes, &sizes(), &limits, Instant::now() + deadline)
}

/// What went wrong with a case, if something did.
fn fault(case: &Case) -> Option<String> {
    let deadline = if matches!(case.expected, Expected::Slow(..)) { SHORT_DEADLINE } else { DEADLINE };
    let begun = Instant::now();
    let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| made(&case.bytes, deadline))) else {
        return Some("it panicked".to_owned());
    };
    let took = begun.elapsed();
    if took > deadline + GRACE {
        return Some(format!("it took {took:?}"));
    }
    let described = match &outcome {
        Ok(made) => {
            if let Some(wrong) = look_at(made) {
                return Some(wrong);
            }
            format!("{}x{}, truncated: {}", made.picture.width, made.picture.height, made.truncated)
        }
        Err(fault) => format!("{:?}: {fault}", fault.reason),
    };
    let corrupt =
        matches!(&outcome, Err(fault) if matches!(fault.reason, Reason::Corrupt | Reason::NotAnImage));
    let honest = |fault: &Fault| !matches!(fault.reason, Reason::Crashed | Reason::TimedOut);
    let holds = match (case.expected, &outcome) {
        (Expected::Made(width, height) | Expected::Slow(width, height), Ok(made)) => {
            (made.picture.width, made.picture.height, made.truncated) == (width, height, false)
        }
        (Expected::Slow(..), Err(fault)) => fault.reason == Reason::TimedOut,
        (Expected::Refused(reason), Err(fault)) => fault.reason == reason,
        (Expected::Broken, Ok(made)) => made.truncated,
        (Expected::Broken, Err(_)) => corrupt,
        (Expected::Anything, Err(fault)) => honest(fault),
        (Expected::Anything, Ok(_)) => true,
        _ => false,
    };
    (!holds).then(|| format!("expected {:?}, got {described} after {took:?}", case.expected))
}

/// Every thumbnail is a whole picture of its own, within its box, and has nothing in it but that.
fn look_at(made: &Made) -> Option<String> {
    for (size, thumbnail) in sizes().iter().zip(&made.thumbnails) {
        let probe = match probe(&thumbnail.bytes) {
            Ok(probe) => probe,
            Err(fault) => return Some(format!("{} is no picture: {fault}", thumbnail.name)),
        };
        if (probe.width, probe.height) != (thumbnail.width, thumbnail.height) {
            return Some(format!("{} is {}x{}", thumbnail.name, probe.width, probe.height));
        }
        if thumbnail.width > size.spec.width || thumbnail.height > size.spec.height {
            return Some(format!("{} is larger than its box", thumbnail.name));
        }
        if thumbnail.bytes.windows(PAYLOAD.len()).any(|window| window == PAYLOAD) {
            return Some(format!("{} has the payload", thumbnail.name));
        }
    }
    (made.thumbnails.len() != sizes().len()).then(|| "a size is missing".to_owned())
}

/// Sends all of a kind through; every one that is not as expected is told.
fn check(kind: &str) {
    let mut wrong = Vec::new();
    for case in super::cases(kind) {
        let begun = Instant::now();
        if let Some(fault) = fault(&case) {
            wrong.push(format!("{}: {fault}", case.name));
        }
        if begun.elapsed() > Duration::from_secs(1) {
            eprintln!("{} took {:?}", case.name, begun.elapsed());
        }
    }
    assert!(wrong.is_empty(), "{} of {kind}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_png_gets_through_that_should_not() {
    check("PNG");
}

#[test]
fn no_jpeg_gets_through_that_should_not() {
    check("JPEG");
}

#[test]
fn no_gif_gets_through_that_should_not() {
    check("GIF");
}

#[test]
fn no_webp_gets_through_that_should_not() {
    check("WebP");
}

#[test]
fn no_bmp_gets_through_that_should_not() {
    check("BMP");
}

#[test]
fn no_tiff_gets_through_that_should_not() {
    check("TIFF");
}

#[test]
fn exif_that_is_broken_is_not_believed_and_orientations_are() {
    check("Exif");
}

#[test]
fn a_picture_is_shown_whatever_its_color_profile_is() {
    check("profile");
}

#[test]
fn what_is_cut_off_is_never_passed_off_as_whole() {
    check("cut");
}

#[test]
fn changed_bytes_crash_nothing() {
    check("changed");
}

#[test]
fn what_is_not_decoded_is_told_by_its_name() {
    check("other");
}
