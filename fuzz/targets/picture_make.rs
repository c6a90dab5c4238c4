//! Thumbnails of a picture: what is made are whole pictures that fit their boxes, and what is not has a reason.
#![no_main]

use std::time::{Duration, Instant};

use cifra::base::thumbnail::{Fit, NamedSize, OutputFormat, ThumbnailSpec};
use cifra::imaging::{Limits, Reason, make, probe};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Small, so that many are made in a second.
    let limits = Limits { pixels_max: 1 << 18, memory_max: 64 << 20 };
    let begun = Instant::now();
    let made = match make(data, &sizes(), &limits, begun + Duration::from_secs(60)) {
        Ok(made) => made,
        Err(fault) => {
            assert!(!matches!(fault.reason, Reason::Crashed | Reason::TimedOut), "{fault}");
            return;
        }
    };
    let seen = probe(data).expect("it was read before");
    let (width, height) = (made.picture.width, made.picture.height);
    assert!([(width, height), (height, width)].contains(&(seen.width, seen.height)));
    for (size, thumbnail) in sizes().iter().zip(&made.thumbnails) {
        let read = probe(&thumbnail.bytes).expect("a thumbnail is a picture");
        assert_eq!((read.width, read.height), (thumbnail.width, thumbnail.height));
        assert!(read.width <= size.spec.width && read.height <= size.spec.height);
        let again = make(&thumbnail.bytes, &sizes(), &limits, begun + Duration::from_secs(60));
        assert!(!again.expect("a thumbnail can be decoded").truncated);
    }
});

fn sizes() -> [NamedSize; 3] {
    let size = |name: &str, spec| NamedSize { name: name.parse().expect("a name"), spec };
    let square = ThumbnailSpec { fit: Fit::Cover, format: OutputFormat::WebP, ..ThumbnailSpec::inside(16, 16) };
    let boxed = ThumbnailSpec { fit: Fit::Contain, format: OutputFormat::Png, ..ThumbnailSpec::inside(9, 20) };
    [size("auto", ThumbnailSpec::inside(40, 40)), size("square", square), size("boxed", boxed)]
}
