//! The scenarios: what is asked of which servers, and one run of each.
//!
//! A run is: start the server, warm it up, settle the machine, read the clocks, do the work, read the clocks,
//! check that the bytes are really there, stop the server, delete everything. Called by `main`; the numbers go
//! to `results`.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use sha2::{Digest as _, Sha256};

use crate::download::{self, RANGE_BYTES, Target};
use crate::payload::Payload;
use crate::process;
use crate::results::Sample;
use crate::servers::{Kind, Places, Server, StoredFile};
use crate::small;
use crate::upload::{self, Job, Layout, Uploaded};
use crate::{Result, fail};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// No upload or download takes longer: 10 GiB on a slow disk do not.
const RUN_LIMIT: Duration = Duration::from_mins(5);
/// Sent before the clock starts, so that a just-in-time compiler and allocators are warm.
const WARM_UP_BYTES: u64 = 64 * MIB;

/// One thing that is measured.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, ValueEnum)]
pub(crate) enum Scenario {
    /// 512 MiB in chunks of 8 MiB over four connections.
    Upload8m4,
    /// The same over one.
    Upload8m1,
    /// 512 MiB in chunks of 256 KiB over four connections.
    Upload256k4,
    /// The same over one.
    Upload256k1,
    /// Four uploads of 1 GiB at once, for the peak of memory.
    Memory,
    /// 16,000 files of 10 KiB, each in one request, over sixteen connections.
    Small16,
    /// 1 GiB into an object store, in chunks of 8 MiB over four connections.
    S3Upload8m4,
    /// The same while the store takes 100 MiB a second.
    S3Slow8m4,
    /// 10 GiB in order over one connection, for the time of finalize (only with `--full`).
    Finalize10g,
    /// 1 GiB whole over one connection.
    Download1,
    /// 1 GiB whole over each of four connections.
    Download4,
    /// Ranges of 64 KiB over one connection.
    Ranges1,
    /// Ranges of 64 KiB over four connections.
    Ranges4,
}

enum Work {
    Upload { total_bytes: u64, chunk_bytes: u64, layout: Layout },
    Download { size: u64 },
    Ranges { size: u64, requests: u64 },
    Small { files: u64 },
}

impl Scenario {
    /// The name in flags.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The heading in the report.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Upload8m4 => "Upload of 512 MiB, chunks of 8 MiB, 4 connections",
            Self::Upload8m1 => "Upload of 512 MiB, chunks of 8 MiB, 1 connection",
            Self::Upload256k4 => "Upload of 512 MiB, chunks of 256 KiB, 4 connections",
            Self::Upload256k1 => "Upload of 512 MiB, chunks of 256 KiB, 1 connection",
            Self::Memory => "Four uploads of 1 GiB at once, chunks of 8 MiB",
            Self::Small16 => "16,000 files of 10 KiB, each in one request, 16 connections",
            Self::S3Upload8m4 => "Upload of 1 GiB to S3, chunks of 8 MiB, 4 connections",
            Self::S3Slow8m4 => "Upload of 1 GiB to S3 at 100 MiB/s, chunks of 8 MiB, 4 connections",
            Self::Finalize10g => "Upload of 10 GiB in order, chunks of 8 MiB, 1 connection",
            Self::Download1 => "Download of 1 GiB, 1 connection",
            Self::Download4 => "Download of 1 GiB on each of 4 connections",
            Self::Ranges1 => "Ranges of 64 KiB, 1 connection",
            Self::Ranges4 => "Ranges of 64 KiB, 4 connections",
        }
    }

    /// The servers it makes sense for.
    pub(crate) fn servers(self) -> &'static [Kind] {
        match self {
            Self::Finalize10g => &[Kind::CifraDefault],
            Self::Download1 | Self::Download4 | Self::Ranges1 | Self::Ranges4 => {
                &[Kind::CifraCrc, Kind::CifraDefault, Kind::Nginx]
            }
            Self::S3Upload8m4 | Self::S3Slow8m4 => Kind::ON_S3,
            _ => Kind::ON_DISK,
        }
    }

    /// Bytes a second that the object store takes, where that is bounded.
    fn store_rate(self) -> Option<u64> {
        (self == Self::S3Slow8m4).then_some(100 * MIB)
    }

    /// Large runs are repeated less: a peak of memory hardly varies, and 10 GiB take a while.
    pub(crate) fn rounds(self, wished: usize) -> usize {
        match self {
            Self::Memory | Self::Finalize10g => wished.min(2),
            _ => wished,
        }
    }

    fn connections(self) -> usize {
        match self {
            Self::Upload8m4
            | Self::Upload256k4
            | Self::Memory
            | Self::S3Upload8m4
            | Self::S3Slow8m4
            | Self::Download4
            | Self::Ranges4 => 4,
            Self::Small16 => 16,
            Self::Upload8m1 | Self::Upload256k1 | Self::Finalize10g | Self::Download1 | Self::Ranges1 => 1,
        }
    }

    fn work(self) -> Work {
        let upload = |total_bytes, chunk_bytes, layout| Work::Upload { total_bytes, chunk_bytes, layout };
        match self {
            Self::Upload8m4 | Self::Upload8m1 => upload(512 * MIB, 8 * MIB, Layout::OneFile),
            Self::Upload256k4 | Self::Upload256k1 => upload(512 * MIB, 256 * KIB, Layout::OneFile),
            Self::S3Upload8m4 | Self::S3Slow8m4 => upload(GIB, 8 * MIB, Layout::OneFile),
            Self::Memory => upload(4 * GIB, 8 * MIB, Layout::FilePerConnection),
            Self::Small16 => Work::Small { files: 16_000 },
            Self::Finalize10g => upload(10 * GIB, 8 * MIB, Layout::OneFile),
            Self::Download1 | Self::Download4 => Work::Download { size: GIB },
            Self::Ranges1 | Self::Ranges4 => Work::Ranges { size: GIB, requests: 16 * 1024 },
        }
    }
}

/// Runs `scenario` once on a fresh server.
pub(crate) fn run(scenario: Scenario, kind: Kind, places: &Places, payload: &Payload) -> Result<Sample> {
    let server = Server::start(kind, places, scenario.store_rate())?;
    let idle = server.memory()?.resident;
    let mut sample = match scenario.work() {
        Work::Upload { total_bytes, chunk_bytes, layout } => {
            let send = |label, total_bytes| {
                let connections = scenario.connections();
                upload(&server, payload, Size { total_bytes, chunk_bytes, connections }, layout, label)
            };
            timed_upload(&server, send, total_bytes)?
        }
        Work::Small { files } => timed_small(&server, payload, files, scenario.connections())?,
        Work::Download { size } => {
            let connections = scenario.connections();
            let bytes = size * connections as u64;
            timed_download(&server, payload, size, bytes, |target| download::whole(target, connections))?
        }
        Work::Ranges { size, requests } => {
            let bytes = requests * RANGE_BYTES;
            let mut sample = timed_download(&server, payload, size, bytes, |target| {
                download::ranges(target, scenario.connections(), requests)
            })?;
            sample.requests = requests;
            sample
        }
    };
    sample.idle_memory = idle;
    sample.peak_memory = server.memory()?.peak;
    Ok(sample)
}

/// CPU time of one SHA-256 pass over 1 GiB in this process: what hashing alone costs on this machine now.
pub(crate) fn sha256_pass(payload: &Payload) -> Result<Duration> {
    let block = payload.block();
    let before = process::own_cpu_time()?;
    let mut digest = Sha256::new();
    for _ in 0..GIB / block.len() as u64 {
        digest.update(block);
    }
    std::hint::black_box(digest.finalize());
    Ok(process::own_cpu_time()?.saturating_sub(before))
}

#[derive(Clone, Copy)]
struct Size {
    total_bytes: u64,
    chunk_bytes: u64,
    connections: usize,
}

fn upload(server: &Server, payload: &Payload, size: Size, layout: Layout, label: &str) -> Result<Uploaded> {
    upload::run(&Job {
        payload,
        protocol: server.kind.protocol(),
        store: server.store.as_ref(),
        address: server.address,
        total_bytes: size.total_bytes,
        chunk_bytes: size.chunk_bytes,
        connections: size.connections,
        layout,
        label,
        deadline: Instant::now() + RUN_LIMIT,
    })
}

fn timed_upload(
    server: &Server,
    send: impl Fn(&'static str, u64) -> Result<Uploaded>,
    total_bytes: u64,
) -> Result<Sample> {
    let mut stored: Vec<StoredFile> = send("warm-up", WARM_UP_BYTES)?.stored;
    process::settle();
    let clocks = Clocks::read(server)?;
    let uploaded = send("timed", total_bytes)?;
    let mut sample = clocks.sample(server, total_bytes, uploaded.elapsed)?;
    sample.requests = uploaded.chunks;
    sample.finalize = uploaded.finalize;
    stored.extend(uploaded.stored);
    server.verify_stored(&stored)?;
    Ok(sample)
}

/// Files in one request each; the first tenth warms up.
fn timed_small(server: &Server, payload: &Payload, files: u64, connections: usize) -> Result<Sample> {
    let send = |files| small::run(server, payload, files, connections, Instant::now() + RUN_LIMIT);
    let (_, mut stored) = send(0..files / 10)?;
    process::settle();
    let clocks = Clocks::read(server)?;
    let (elapsed, timed) = send(files / 10..files / 10 + files)?;
    let mut sample = clocks.sample(server, files * small::FILE_BYTES, elapsed)?;
    sample.requests = files;
    stored.extend(timed);
    server.verify_stored(&stored)?;
    Ok(sample)
}

fn timed_download(
    server: &Server,
    payload: &Payload,
    size: u64,
    bytes: u64,
    fetch: impl Fn(&Target<'_>) -> Result<Duration>,
) -> Result<Sample> {
    let path = match server.kind {
        Kind::Nginx => server.place_file(payload, size)?,
        Kind::CifraCrc | Kind::CifraAuto | Kind::CifraDefault => {
            let shape = Size { total_bytes: size, chunk_bytes: 8 * MIB, connections: 1 };
            upload(server, payload, shape, Layout::OneFile, "download")?.path
        }
        Kind::CifraS3 | Kind::TusNode | Kind::Rustus | Kind::TusNodeS3 | Kind::S3Direct => {
            return fail("downloads are compared with nginx only".to_owned());
        }
    };
    let target = Target { address: server.address, path: &path, size, deadline: Instant::now() + RUN_LIMIT };
    download::check(&target, payload.file_crc64(size))?;
    process::settle();
    let clocks = Clocks::read(server)?;
    let elapsed = fetch(&target)?;
    clocks.sample(server, bytes, elapsed)
}

/// CPU clocks of both sides at the start of the timed part.
struct Clocks {
    server: Duration,
    client: Duration,
}

impl Clocks {
    fn read(server: &Server) -> Result<Self> {
        Ok(Self { server: server.cpu_time()?, client: process::own_cpu_time()? })
    }

    fn sample(&self, server: &Server, bytes: u64, elapsed: Duration) -> Result<Sample> {
        let Some(server_cpu) = server.cpu_time()?.checked_sub(self.server) else {
            return fail("a process of the server ended while it was measured".to_owned());
        };
        Ok(Sample {
            bytes,
            elapsed,
            server_cpu,
            client_cpu: process::own_cpu_time()?.saturating_sub(self.client),
            ..Sample::default()
        })
    }
}
