//! Thumbnails beside sharp and vipsthumbnail: CPU for each picture, and how like the picture they are.
//!
//! This file reads the pictures and decides the order of runs. `ways` makes the three sizes in each way, `likeness`
//! compares what came out with the best that can be had, `figures` says what it means. Started by
//! `make bench-thumbnails` (run.sh beside this file); see README.md one folder up.

mod figures;
mod likeness;
mod ways;

use std::fs;
use std::path::{Path, PathBuf};

use cifra::imaging;

use crate::{Result, fail, interrupt};
pub(crate) use figures::markdown;
use likeness::Reference;
use ways::{Way, Ways};

/// The sizes that everybody makes, as sides of a box that the picture fits inside.
const SIDES: [u32; 3] = [800, 300, 150];

/// One picture, and what was measured with it.
pub(crate) struct Picture {
    name: String,
    megapixels: f64,
    /// Seconds of CPU: for each way, one value a round. Values of one round were measured right after each other.
    cpu: [Vec<f64>; Way::ALL.len()],
    /// For each way, of each of [`SIDES`].
    likeness: [[f64; SIDES.len()]; Way::ALL.len()],
    /// For each way, the encoded sizes together.
    bytes: [u64; Way::ALL.len()],
}

/// All pictures of `folder`, `rounds` times each, after one round that is not counted.
pub(crate) fn measure(folder: &Path, peers: &Path, runs: &Path, rounds: usize) -> Result<Vec<Picture>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    if paths.is_empty() {
        return fail(format!(
            "no pictures in {}: benches/compare/thumbnails/setup.sh brings them",
            folder.display()
        ));
    }
    let out = tempfile::Builder::new().prefix("cifra-thumbnails-").tempdir_in(runs)?;
    let mut ways = Ways::start(peers, out.path())?;
    let mut pictures = Vec::new();
    for path in paths {
        interrupt::check()?;
        let picture = measure_one(&path, &mut ways, rounds);
        pictures.push(picture.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(pictures)
}

fn measure_one(path: &Path, ways: &mut Ways, rounds: usize) -> Result<Picture> {
    let source = fs::read(path)?;
    let probe = imaging::probe(&source)?;
    let mut picture = Picture {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        megapixels: f64::from(probe.width) * f64::from(probe.height) / 1e6,
        cpu: std::array::from_fn(|_| Vec::new()),
        likeness: [[0.0; SIDES.len()]; Way::ALL.len()],
        bytes: [0; Way::ALL.len()],
    };
    eprint!("{} ", picture.name);
    let mut reference = Reference::new(&source)?;
    for way in Way::ALL {
        for (index, encoded) in ways.make(way, path, &source)?.iter().enumerate() {
            picture.likeness[way as usize][index] = reference.likeness_of(encoded)?;
            picture.bytes[way as usize] += encoded.len() as u64;
        }
    }
    let mut order = Way::ALL;
    for _ in 0..rounds {
        for way in order {
            interrupt::check()?;
            picture.cpu[way as usize].push(ways.cpu(way, path, &source)?.as_secs_f64());
        }
        order.rotate_left(1);
    }
    eprintln!("{:.3}", picture.ratio(Way::Cifra, Way::SharpThree));
    Ok(picture)
}
