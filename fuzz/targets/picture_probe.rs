//! What a picture is, by its headers, and what it costs.
#![no_main]

use cifra::imaging::{Limits, Needed, price, probe};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(probe) = probe(data) else { return };
    assert!(probe.width > 0 && probe.height > 0 && probe.frames > 0, "{probe:?}");
    let limits = Limits::default();
    let thumbnail = Needed { width: probe.width.min(800), height: probe.height.min(800) };
    let whole = Needed { width: probe.width, height: probe.height };
    if let Ok(whole) = price(&probe, whole, &limits) {
        let thumbnail = price(&probe, thumbnail, &limits).expect("a smaller output costs less");
        assert!(thumbnail <= whole && whole <= limits.memory_max, "{thumbnail} and {whole}: {probe:?}");
    }
});
