//! cifra and its peers side by side: whole processes, one run, one client, a Markdown report.
//!
//! This file reads the flags and decides the order of runs. `scenario` does one run, `servers` starts and stops,
//! `http`, `upload`, `small` and `download` are the load, `garage` and `throttle` the object store below, `process` asks the kernel, `results`, `goals` and `report` make
//! sense of the numbers; `thumbnails` and `cache` are comparisons of their own. Started by `make bench` (benches/compare/run.sh); see README.md beside this file.
#![expect(clippy::print_stdout, reason = "the report is what this program is for")]
#![expect(clippy::cast_precision_loss, reason = "bytes and counts become rates; 53 bits are plenty")]

mod cache;
mod download;
mod garage;
mod goals;
mod http;
mod interrupt;
mod payload;
mod process;
mod report;
mod results;
mod scenario;
mod servers;
mod small;
mod throttle;
mod thumbnails;
mod upload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use clap::{Parser, ValueEnum as _};

use payload::Payload;
use results::Results;
use scenario::Scenario;
use servers::{Kind, Places};

/// What can go wrong here ends a run and goes into the report as text.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An error of our own words.
pub(crate) fn fail<T>(message: String) -> Result<T> {
    Err(message.into())
}

/// Compare cifra with @tus/server, rustus and nginx on this machine.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct Flags {
    /// The cifra binary; by default the one built with this program.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_cifra"))]
    cifra: PathBuf,
    /// Where setup.sh put the peers; by default ~/.cache/cifra/peers.
    #[arg(long)]
    peers: Option<PathBuf>,
    /// Where the servers keep their data while they run: one filesystem for all, with 12 GiB free.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// How often each server does each scenario.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these servers, separated by commas.
    #[arg(long, value_delimiter = ',')]
    servers: Vec<Kind>,
    /// Only these scenarios, separated by commas.
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// The 10 GiB scenario too.
    #[arg(long)]
    full: bool,
    /// Write the report here as well.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Instead of servers: thumbnails of the pictures in this folder (thumbnails/setup.sh brings them).
    #[arg(long)]
    thumbnails: Option<PathBuf>,
    /// Instead of servers: the cache, beside nginx and bentocache (cache/setup.sh brings them).
    #[arg(long)]
    cache: bool,
    /// Measure; without it nothing happens.
    #[arg(long)]
    run: bool,
    /// `cargo bench` hands this and its filter to every bench.
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(hide = true)]
    filter: Vec<String>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let alone = match &flags.thumbnails {
        Some(folder) => Some(compare_thumbnails(&flags, folder)),
        None => flags.cache.then(|| compare_cache(&flags)),
    };
    if let Some(compared) = alone {
        return compared.map_or_else(
            |error| {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    if !flags.run {
        // `cargo bench` and `cargo test --all-targets` start this too; half an hour of load is not what they mean.
        println!("compare: nothing measured, that is what `make bench` does");
        return ExitCode::SUCCESS;
    }
    match compare(&flags) {
        Ok(results) if results.failures.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(flags: &Flags) -> Result<Results> {
    let places = places(flags)?;
    interrupt::listen()?;
    let payload = Payload::new();
    let mut results = Results::default();
    let mut report = String::new();
    for scenario in chosen_scenarios(flags) {
        measure(scenario, flags, &places, &payload, &mut results)?;
        // After each scenario, so that a run that is cut off leaves what it knew.
        report = report::markdown(&results, &places, flags.rounds);
        if let Some(path) = &flags.out {
            fs::write(path, &report)?;
        }
        if interrupt::check().is_err() {
            break;
        }
    }
    println!("{report}");
    Ok(results)
}

fn compare_thumbnails(flags: &Flags, folder: &Path) -> Result<()> {
    // As `serve` does, whose work this is.
    cifra::telemetry::heap::bound();
    interrupt::listen()?;
    let peers = peers_folder(flags)?;
    // Not on the first thread, whose memory is of another kind: `serve` works on a pool of threads.
    let measured = std::thread::scope(|scope| {
        scope.spawn(|| thumbnails::measure(folder, &peers, &flags.dir, flags.rounds)).join()
    });
    let pictures = measured.map_err(|_| "it panicked")??;
    let report = thumbnails::markdown(&pictures, flags.rounds);
    if let Some(path) = &flags.out {
        fs::write(path, &report)?;
    }
    println!("{report}");
    Ok(())
}

fn compare_cache(flags: &Flags) -> Result<()> {
    interrupt::listen()?;
    let report = cache::measure(&places(flags)?, flags.rounds)?;
    if let Some(path) = &flags.out {
        fs::write(path, &report)?;
    }
    println!("{report}");
    Ok(())
}

fn places(flags: &Flags) -> Result<Places> {
    Ok(Places {
        cifra: flags.cifra.canonicalize()?,
        peers: peers_folder(flags)?.canonicalize()?,
        runs: flags.dir.canonicalize()?,
    })
}

/// All rounds of one scenario, the order of the servers rotated by one each round.
fn measure(
    scenario: Scenario,
    flags: &Flags,
    places: &Places,
    payload: &Payload,
    results: &mut Results,
) -> Result<()> {
    let mut servers: Vec<Kind> = scenario.servers().to_vec();
    servers.retain(|kind| flags.servers.is_empty() || flags.servers.contains(kind));
    for round in 0..scenario.rounds(flags.rounds) {
        process::settle();
        results.sha256_passes.push(scenario::sha256_pass(payload)?);
        for kind in &servers {
            // One that failed here would most likely fail again; its reason is kept once.
            if results.failures.iter().any(|(at, failed, _)| *at == scenario && failed == kind) {
                continue;
            }
            if interrupt::check().is_err() {
                return Ok(());
            }
            eprint!("{} round {}: {} ", scenario.name(), round + 1, kind.name());
            match scenario::run(scenario, *kind, places, payload) {
                Ok(sample) => {
                    eprintln!("{:.2?}", sample.elapsed);
                    results.samples.entry((scenario, *kind)).or_default().push(sample);
                }
                Err(error) => {
                    eprintln!("failed: {error}");
                    results.failures.push((scenario, *kind, error.to_string()));
                }
            }
        }
        if !servers.is_empty() {
            servers.rotate_left(1);
        }
    }
    Ok(())
}

fn chosen_scenarios(flags: &Flags) -> Vec<Scenario> {
    let mut scenarios = flags.scenarios.clone();
    if scenarios.is_empty() {
        scenarios = Scenario::value_variants().to_vec();
        scenarios.retain(|scenario| flags.full || *scenario != Scenario::Finalize10g);
    }
    scenarios
}

fn peers_folder(flags: &Flags) -> Result<PathBuf> {
    if let Some(folder) = &flags.peers {
        return Ok(folder.clone());
    }
    let home = std::env::home_dir().ok_or(io::Error::other("no home folder: name the peers with --peers"))?;
    Ok(home.join(".cache/cifra/peers"))
}
