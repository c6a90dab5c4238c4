//! What thumbnails really take, measured in a process of its own: the price is not passed.

use std::path::Path;
use std::time::{Duration, Instant};

use cifra::base::thumbnail::Fit;
use cifra::imaging::{Encoding, Layout, Limits, Pixels, encode, make, plan, price, probe};

use super::drawn::drawn;
use super::foreign::{jpeg, lossless_webp};
use super::plan::size;
use crate::child::{again, role};

/// Beside each picture's file, what its child found.
const MEASURED: &str = "measured";

#[test]
fn thumbnails_take_no_more_memory_than_their_price() {
    if let Some(file_and_side) = role() {
        let (file, side) = file_and_side.rsplit_once(' ').unwrap();
        return one_picture(Path::new(file), side.parse().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let (rgb, rgba) = (drawn(2400, 1600, Layout::Rgb), drawn(2400, 1600, Layout::Rgba));
    let webp = Encoding::WebP { quality: 60 };
    let image = |pixels: &Pixels, format| {
        let mut file = std::io::Cursor::new(Vec::new());
        let picture = image::RgbImage::from_raw(pixels.width, pixels.height, pixels.data.clone()).unwrap();
        picture.write_to(&mut file, format).unwrap();
        file.into_inner()
    };
    let files = [
        ("baseline.jpg", jpeg(&rgb, false, true)),
        ("progressive.jpg", jpeg(&rgb, true, false)),
        ("half.jpg", jpeg(&rgb, true, true)),
        ("cmyk.jpg", jpeg(&drawn(2400, 1600, Layout::Cmyk), true, false)),
        ("rgba.png", encode(&rgba, Encoding::Png).unwrap().to_vec()),
        ("wide.png", encode(&drawn(300_000, 12, Layout::Rgb), Encoding::Png).unwrap().to_vec()),
        ("lossy.webp", encode(&rgb, webp).unwrap().to_vec()),
        ("alpha.webp", encode(&rgba, webp).unwrap().to_vec()),
        ("lossless.webp", lossless_webp(&rgba)),
        ("picture.bmp", image(&rgb, image::ImageFormat::Bmp)),
        ("picture.tiff", image(&rgb, image::ImageFormat::Tiff)),
    ];
    for (name, file) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, file).unwrap();
        for side in [100, 800] {
            let (taken, priced) = measured(&path, side);
            assert!(taken <= priced, "{name} for {side}: {taken} bytes taken, {priced} priced");
        }
    }
}

/// Bytes taken and bytes priced, as a child says that runs the test above.
fn measured(path: &Path, side: u32) -> (u64, u64) {
    let name = "imaging::memory::thumbnails_take_no_more_memory_than_their_price";
    let output = again(name, &format!("{} {side}", path.display()), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    let text = std::fs::read_to_string(path.with_extension(MEASURED)).unwrap_or_else(|_| panic!("{said}"));
    let (taken, priced) = text.split_once(' ').unwrap();
    (taken.parse().unwrap(), priced.parse().unwrap())
}

fn one_picture(path: &Path, side: u32) {
    let file = std::fs::read(path).unwrap();
    let sizes = [
        size("large", side, side, Fit::Inside),
        size("tile", side, side / 2, Fit::Cover),
        size("small", side / 3, side / 3, Fit::Contain),
    ];
    let (limits, deadline) = (Limits::default(), Instant::now() + Duration::from_mins(1));
    let probe = probe(&file).unwrap();
    let needed = plan(&probe, &sizes).needed(probe.orientation);
    let priced = price(&probe, needed, &limits).unwrap();
    // The code that is run for the first time is memory, too, but not the picture's.
    for (layout, encoding) in [(Layout::Rgb, Encoding::Jpeg { quality: 80 }), (Layout::Rgba, Encoding::Png)] {
        let small = encode(&drawn(60, 40, layout), encoding).unwrap();
        make(&small, &sizes, &limits, deadline).unwrap();
    }
    // proc(5): writing 5 sets the peak back to what is resident now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = resident("VmHWM:");
    let made = make(&file, &sizes, &limits, deadline).unwrap();
    let peak = resident("VmHWM:");
    assert_eq!(made.thumbnails.len(), sizes.len());
    std::fs::write(path.with_extension(MEASURED), format!("{} {priced}", peak - before)).unwrap();
}

fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
