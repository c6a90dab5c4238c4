//! The ways to make three sizes of a picture: ours, sharp's three, vipsthumbnail.
//!
//! Ours runs in this process and sharp in one process of its own that lives as long as [`Ways`]; both are handed bytes
//! that are in memory already, on one thread. vipsthumbnail is a process for each size, its start included: that is
//! how it is used. Called by the module above.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use cifra::base::thumbnail::{NamedSize, ThumbnailSpec};
use cifra::imaging::{self, Limits};
use serde_json::{Value, json};

use super::SIDES;
use crate::{Result, fail, process};

/// How often a way does its work for one value: noise of the clock is spread, and sharp is not asked for each.
const TIMES: u32 = 2;
/// No picture of the comparison takes longer.
const LIMIT: Duration = Duration::from_mins(1);

/// Who makes them, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `cifra::imaging::make`.
    Cifra,
    /// A pipeline for each size.
    SharpThree,
    /// Clones of one pipeline, at once.
    SharpClones,
    /// By hand: 800 to raw pixels, 300 from them, 150 from those.
    SharpCascade,
    /// Three runs of vipsthumbnail.
    Vips,
}

impl Way {
    /// All of them; the place of each is its number.
    pub(super) const ALL: [Self; 5] =
        [Self::Cifra, Self::SharpThree, Self::SharpClones, Self::SharpCascade, Self::Vips];

    /// The name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cifra => "cifra",
            Self::SharpThree => "sharp, three pipelines",
            Self::SharpClones => "sharp, clones",
            Self::SharpCascade => "sharp, cascade",
            Self::Vips => "vipsthumbnail",
        }
    }
}

/// Everybody, ready to work.
pub(super) struct Ways {
    sizes: Vec<NamedSize>,
    sharp: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    out: PathBuf,
}

impl Ways {
    /// Starts sharp; encoded pictures of others than us pass through `out`.
    pub(super) fn start(peers: &Path, out: &Path) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--", "node"]).arg(peers.join("sharp/sharp.mjs"));
        // libuv's threads are where sharp works: one, as everybody here.
        command.env("UV_THREADPOOL_SIZE", "1").env("NODE_ENV", "production");
        let mut sharp = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(questions), Some(answers)) = (sharp.stdin.take(), sharp.stdout.take()) else {
            return fail("sharp has no pipes".to_owned());
        };
        let mut sizes = Vec::new();
        for side in SIDES {
            let name = format!("s{side}").parse().map_err(|()| "not a name of a size")?;
            sizes.push(NamedSize { name, spec: ThumbnailSpec::inside(side, side) });
        }
        Ok(Self { sizes, sharp, questions, answers: BufReader::new(answers), out: out.to_owned() })
    }

    /// The encoded sizes, in the order of [`SIDES`].
    pub(super) fn make(&mut self, way: Way, path: &Path, source: &[u8]) -> Result<Vec<Vec<u8>>> {
        match way {
            Way::Cifra => {
                let made = imaging::make(source, &self.sizes, &Limits::default(), Instant::now() + LIMIT)?;
                return Ok(made.thumbnails.into_iter().map(|thumbnail| thumbnail.bytes.to_vec()).collect());
            }
            Way::Vips => {
                self.vips(path)?;
            }
            _ => {
                self.sharp(way, path, true)?;
            }
        }
        let read = |side| Ok(fs::read(self.out.join(format!("out-{side}.jpg")))?);
        SIDES.into_iter().map(read).collect()
    }

    /// CPU time, user and system, of all threads, to make the sizes once.
    pub(super) fn cpu(&mut self, way: Way, path: &Path, source: &[u8]) -> Result<Duration> {
        match way {
            Way::Cifra => {
                let before = process::own_cpu_time()?;
                for _ in 0..TIMES {
                    self.make(way, path, source)?;
                }
                Ok(process::own_cpu_time()?.saturating_sub(before) / TIMES)
            }
            Way::Vips => self.vips(path),
            _ => self.sharp(way, path, false),
        }
    }

    fn sharp(&mut self, way: Way, path: &Path, keep: bool) -> Result<Duration> {
        let name = match way {
            Way::SharpClones => "clones",
            Way::SharpCascade => "cascade",
            _ => "three",
        };
        let out = keep.then(|| self.out.join("out"));
        writeln!(self.questions, "{}", json!({ "way": name, "path": path, "times": TIMES, "out": out }))?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)?;
        match answer["cpu"].as_f64() {
            Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
            None => fail(format!("sharp: {answer}")),
        }
    }

    fn vips(&self, path: &Path) -> Result<Duration> {
        let before = process::children_cpu_time()?;
        for side in SIDES {
            let out = self.out.join(format!("out-{side}.jpg[Q=80,optimize_coding,strip]"));
            let status = Command::new("vipsthumbnail")
                .env("VIPS_CONCURRENCY", "1")
                .args(["--size", &format!("{side}x{side}>"), "--export-profile", "srgb", "-o"])
                .arg(out)
                .arg(path)
                .status()?;
            if !status.success() {
                return fail(format!("vipsthumbnail ended with {status}"));
            }
        }
        Ok(process::children_cpu_time()?.saturating_sub(before))
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        process::terminate(self.sharp.id());
        let _ = self.sharp.wait();
    }
}
