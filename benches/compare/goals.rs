//! The goals that cifra set itself, each as a measured value against a limit of the same run.
//!
//! Pure: from `results` to rows for `report`. A goal whose servers were not all measured has no verdict.

use crate::results::{Figure, Results};
use crate::scenario::Scenario;
use crate::servers::Kind;

/// One goal and how it came out.
pub(crate) struct Goal {
    pub(crate) text: String,
    pub(crate) unit: &'static str,
    pub(crate) measured: Option<f64>,
    pub(crate) limit: Option<f64>,
    at_least: bool,
}

impl Goal {
    /// Whether it is met; `None` where something was not measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let (measured, limit) = (self.measured?, self.limit?);
        Some(if self.at_least { measured >= limit } else { measured <= limit })
    }

    /// The limit as words.
    pub(crate) fn bound(&self) -> &'static str {
        if self.at_least { "at least" } else { "at most" }
    }
}

/// All goals, in the order of the README.
pub(crate) fn all(results: &Results) -> Vec<Goal> {
    let mut goals = upload_goals(results);
    goals.extend(chunk_rate_goals(results));
    goals.extend(small_goals(results));
    goals.extend(memory_goals(results));
    goals.extend(download_goals(results));
    goals.extend(s3_goals(results));
    goals
}

fn upload_goals(results: &Results) -> Vec<Goal> {
    let best = |kind, figure| results.best(Scenario::Upload8m4, kind, figure);
    let cpu = |kind| best(kind, Figure::ServerCpu);
    let speed = |kind| best(kind, Figure::Throughput);
    let tus_cpu = both(cpu(Kind::TusNode), cpu(Kind::Rustus), f64::min);
    let tus_speed = both(speed(Kind::TusNode), speed(Kind::Rustus), f64::max);
    let with_hash = both(cpu(Kind::Nginx), results.sha256_pass(), |nginx, pass| nginx + 1.6 * pass);
    vec![
        at_most(
            "cifra-crc: CPU, 0.6 times the best tus peer's",
            "s/GiB",
            cpu(Kind::CifraCrc),
            scale(tus_cpu, 0.6),
        ),
        at_most(
            "cifra-crc: CPU, 1.25 times nginx's",
            "s/GiB",
            cpu(Kind::CifraCrc),
            scale(cpu(Kind::Nginx), 1.25),
        ),
        at_least(
            "cifra-crc: throughput, 0.85 times nginx's",
            "MiB/s",
            speed(Kind::CifraCrc),
            scale(speed(Kind::Nginx), 0.85),
        ),
        at_most("cifra-auto: CPU, nginx's + 1.6 SHA-256 passes", "s/GiB", cpu(Kind::CifraAuto), with_hash),
        at_least("cifra-auto: throughput, the best tus peer's", "MiB/s", speed(Kind::CifraAuto), tus_speed),
    ]
}

fn chunk_rate_goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for kind in [Kind::CifraCrc, Kind::CifraAuto] {
        for (scenario, connections, limit) in [
            (Scenario::Upload256k1, "1 connection", 2_000.0),
            (Scenario::Upload256k4, "4 connections", 4_000.0),
        ] {
            let text = format!("{}: chunks of 256 KiB, {connections}", kind.name());
            let rate = results.best(scenario, kind, Figure::RequestRate);
            goals.push(at_least(&text, "chunks/s", rate, Some(limit)));
        }
    }
    goals
}

fn small_goals(results: &Results) -> Vec<Goal> {
    let rate = |kind| results.best(Scenario::Small16, kind, Figure::RequestRate);
    let goal = |kind: Kind, factor: f64| {
        let text = format!("{}: files of 10 KiB in one request, {factor} times tus-node's", kind.name());
        at_least(&text, "files/s", rate(kind), scale(rate(Kind::TusNode), factor))
    };
    vec![goal(Kind::CifraCrc, 5.0), goal(Kind::CifraAuto, 5.0), goal(Kind::CifraDefault, 1.0)]
}

fn memory_goals(results: &Results) -> Vec<Goal> {
    let worst = |scenario, figure| results.worst(scenario, Kind::CifraDefault, figure);
    let peak = worst(Scenario::Memory, Figure::PeakMemory);
    let idle = worst(Scenario::Memory, Figure::IdleMemory);
    let finalize = worst(Scenario::Finalize10g, Figure::FinalizeMs);
    vec![
        at_most("cifra-default: peak memory of four 1 GiB uploads (worst run)", "MiB", peak, Some(96.0)),
        at_most("cifra-default: idle memory (worst run)", "MiB", idle, Some(40.0)),
        at_most(
            "cifra-default: finalize of 10 GiB after the last chunk (worst run)",
            "ms",
            finalize,
            Some(250.0),
        ),
    ]
}

fn download_goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (scenario, factor) in [
        (Scenario::Download1, 0.7),
        (Scenario::Download4, 0.7),
        (Scenario::Ranges1, 0.5),
        (Scenario::Ranges4, 0.5),
    ] {
        let text = format!("cifra-crc: {}, {factor} times nginx's", lower_first(scenario.title()));
        let speed = |kind| results.best(scenario, kind, Figure::Throughput);
        goals.push(at_least(&text, "MiB/s", speed(Kind::CifraCrc), scale(speed(Kind::Nginx), factor)));
    }
    goals
}

fn s3_goals(results: &Results) -> Vec<Goal> {
    let best = |scenario, kind, figure| results.best(scenario, kind, figure);
    let cpu = |kind| best(Scenario::S3Upload8m4, kind, Figure::ServerCpu);
    let speed = |kind| best(Scenario::S3Upload8m4, kind, Figure::Throughput);
    let slow = |kind| best(Scenario::S3Slow8m4, kind, Figure::Throughput);
    let peak = results.worst(Scenario::S3Upload8m4, Kind::CifraS3, Figure::PeakMemory);
    vec![
        at_most("cifra-s3: CPU", "s/GiB", cpu(Kind::CifraS3), Some(0.9)),
        at_most(
            "cifra-s3: CPU, 0.5 times tus-node-s3's",
            "s/GiB",
            cpu(Kind::CifraS3),
            scale(cpu(Kind::TusNodeS3), 0.5),
        ),
        at_least(
            "cifra-s3: throughput, 1.5 times tus-node-s3's",
            "MiB/s",
            speed(Kind::CifraS3),
            scale(speed(Kind::TusNodeS3), 1.5),
        ),
        at_least(
            "cifra-s3: throughput, 0.7 times that of parts sent straight to the store",
            "MiB/s",
            speed(Kind::CifraS3),
            scale(speed(Kind::S3Direct), 0.7),
        ),
        at_least(
            "cifra-s3: throughput into a store of 100 MiB/s, 0.95 times that of parts sent straight to it",
            "MiB/s",
            slow(Kind::CifraS3),
            scale(slow(Kind::S3Direct), 0.95),
        ),
        at_most("cifra-s3: peak memory, parts_in_flight + 64 MiB (worst run)", "MiB", peak, Some(320.0)),
    ]
}

/// A goal that is met up to `limit`.
pub(crate) fn at_most(text: &str, unit: &'static str, measured: Option<f64>, limit: Option<f64>) -> Goal {
    Goal { text: text.to_owned(), unit, measured, limit, at_least: false }
}

/// A goal that is met from `limit` on.
pub(crate) fn at_least(text: &str, unit: &'static str, measured: Option<f64>, limit: Option<f64>) -> Goal {
    Goal { text: text.to_owned(), unit, measured, limit, at_least: true }
}

fn both(one: Option<f64>, other: Option<f64>, combine: impl Fn(f64, f64) -> f64) -> Option<f64> {
    Some(combine(one?, other?))
}

fn scale(value: Option<f64>, factor: f64) -> Option<f64> {
    value.map(|value| value * factor)
}

fn lower_first(title: &str) -> String {
    let mut characters = title.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
