//! What the runs measured, and what may be said about it: best and median.
//!
//! Pure; filled by `main`, read by `goals` and `report`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::scenario::Scenario;
use crate::servers::Kind;

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1024.0 * MIB;

/// One run.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    pub(crate) bytes: u64,
    /// Chunks or ranges.
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    pub(crate) finalize: Duration,
    pub(crate) server_cpu: Duration,
    pub(crate) client_cpu: Duration,
    /// Resident bytes after the start, before the first upload.
    pub(crate) idle_memory: u64,
    /// The most that was resident in this run.
    pub(crate) peak_memory: u64,
}

/// A figure taken from each sample, and whether less of it is better.
#[derive(Clone, Copy)]
pub(crate) enum Figure {
    /// Server CPU seconds for each GiB.
    ServerCpu,
    /// Client CPU seconds for each GiB.
    ClientCpu,
    /// MiB a second.
    Throughput,
    /// Chunks or ranges a second.
    RequestRate,
    /// Milliseconds from the answer to the last chunk to the answer to finalize.
    FinalizeMs,
    /// MiB.
    IdleMemory,
    /// MiB.
    PeakMemory,
}

impl Figure {
    fn of(self, sample: &Sample) -> f64 {
        let seconds = sample.elapsed.as_secs_f64();
        match self {
            Self::ServerCpu => sample.server_cpu.as_secs_f64() / (sample.bytes as f64 / GIB),
            Self::ClientCpu => sample.client_cpu.as_secs_f64() / (sample.bytes as f64 / GIB),
            Self::Throughput => sample.bytes as f64 / MIB / seconds,
            Self::RequestRate => sample.requests as f64 / seconds,
            Self::FinalizeMs => sample.finalize.as_secs_f64() * 1000.0,
            Self::IdleMemory => sample.idle_memory as f64 / MIB,
            Self::PeakMemory => sample.peak_memory as f64 / MIB,
        }
    }

    fn more_is_better(self) -> bool {
        matches!(self, Self::Throughput | Self::RequestRate)
    }
}

/// Everything measured so far.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) samples: BTreeMap<(Scenario, Kind), Vec<Sample>>,
    /// CPU time of one SHA-256 pass over 1 GiB, once a round.
    pub(crate) sha256_passes: Vec<Duration>,
    /// Runs that did not end well, each with its reason.
    pub(crate) failures: Vec<(Scenario, Kind, String)>,
}

impl Results {
    /// The best over the rounds: noise only ever adds to a cost and takes from a speed.
    pub(crate) fn best(&self, scenario: Scenario, kind: Kind, figure: Figure) -> Option<f64> {
        let sorted = self.sorted(scenario, kind, figure)?;
        if figure.more_is_better() { sorted.last().copied() } else { sorted.first().copied() }
    }

    /// The worst over the rounds, for figures that are a bound rather than a cost.
    pub(crate) fn worst(&self, scenario: Scenario, kind: Kind, figure: Figure) -> Option<f64> {
        let sorted = self.sorted(scenario, kind, figure)?;
        if figure.more_is_better() { sorted.first().copied() } else { sorted.last().copied() }
    }

    /// The middle one; of an even number the upper middle one.
    pub(crate) fn median(&self, scenario: Scenario, kind: Kind, figure: Figure) -> Option<f64> {
        let sorted = self.sorted(scenario, kind, figure)?;
        sorted.get(sorted.len() / 2).copied()
    }

    /// Seconds of CPU of the best SHA-256 pass over 1 GiB.
    pub(crate) fn sha256_pass(&self) -> Option<f64> {
        self.sha256_passes.iter().min().map(Duration::as_secs_f64)
    }

    fn sorted(&self, scenario: Scenario, kind: Kind, figure: Figure) -> Option<Vec<f64>> {
        let samples = self.samples.get(&(scenario, kind))?;
        let mut values: Vec<f64> = samples.iter().map(|sample| figure.of(sample)).collect();
        values.sort_unstable_by(f64::total_cmp);
        Some(values)
    }
}
