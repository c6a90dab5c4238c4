//! The report: Markdown of the machine, the goals, a table for each scenario, and what failed.
//!
//! Pure text from `results` and `goals`, but for the versions of the programs, which it asks for. Called by `main`.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use clap::ValueEnum as _;

use crate::goals::{self, Goal};
use crate::results::{Figure, Results};
use crate::scenario::Scenario;
use crate::servers::{Kind, Places, nginx_program};

/// Heading and figure of each column; the figures are best and median, or one of them.
const COLUMNS: [(&str, Figure, Show); 7] = [
    ("CPU s/GiB", Figure::ServerCpu, Show::BestAndMedian),
    ("MiB/s", Figure::Throughput, Show::BestAndMedian),
    ("requests/s", Figure::RequestRate, Show::BestAndMedian),
    ("finalize ms", Figure::FinalizeMs, Show::BestAndMedian),
    ("peak MiB", Figure::PeakMemory, Show::Worst),
    ("idle MiB", Figure::IdleMemory, Show::Worst),
    ("client CPU s/GiB", Figure::ClientCpu, Show::Median),
];

#[derive(Clone, Copy)]
enum Show {
    BestAndMedian,
    Median,
    Worst,
}

/// The whole report.
pub(crate) fn markdown(results: &Results, places: &Places, rounds: usize) -> String {
    let mut text = String::from("# cifra and its peers, side by side\n\n");
    head(&mut text, places, rounds);
    goal_table(&mut text, &goals::all(results));
    let pass = number(results.sha256_pass());
    line(&mut text, &format!("One SHA-256 pass over 1 GiB in the same run: {pass} s of CPU."));
    for scenario in Scenario::value_variants() {
        scenario_table(&mut text, results, *scenario);
    }
    failures(&mut text, results);
    text
}

/// What it was measured on.
pub(crate) fn machine() -> String {
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info.lines().find(|line| line.starts_with("model name")).unwrap_or_default();
    let model = model.split_once(':').map_or("unknown CPU", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores of {model}, Linux {}", kernel.trim())
}

fn head(text: &mut String, places: &Places, rounds: usize) {
    line(text, &format!("{}; {rounds} rounds.", machine()));
    let versions = [
        first_line(Command::new(&places.cifra).arg("--version")),
        format!("@tus/server {}", tus_node_version(places)),
        first_line(Command::new(places.peers.join("rustus/bin/rustus")).arg("--version")),
        first_line(Command::new(nginx_program()).arg("-v")),
        format!("node {}", first_line(Command::new("node").arg("--version"))),
    ];
    line(text, &format!("Versions: {}.", versions.join("; ")));
    line(
        text,
        "Client and server share the cores; loopback, no TLS. The peers neither hash nor flush: `cifra-crc` and \
         `cifra-auto` run with `durability: none` to do no more than they; `cifra-default` flushes before a file \
         becomes visible. Best and median over the rounds; goals compare best with best.",
    );
}

/// Goals, measured values, limits and verdicts.
pub(crate) fn goal_table(text: &mut String, goals: &[Goal]) {
    text.push_str("## Goals\n\n| goal | measured | limit | |\n|---|---:|---:|---|\n");
    for goal in goals {
        let verdict = match goal.is_met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not measured",
        };
        let measured = number(goal.measured);
        let limit = number(goal.limit);
        let row =
            format!("| {} | {measured} {} | {} {limit} | {verdict} |", goal.text, goal.unit, goal.bound());
        text.push_str(&row);
        text.push('\n');
    }
    text.push('\n');
}

fn scenario_table(text: &mut String, results: &Results, scenario: Scenario) {
    let measured: Vec<Kind> = scenario
        .servers()
        .iter()
        .copied()
        .filter(|kind| results.samples.contains_key(&(scenario, *kind)))
        .collect();
    if measured.is_empty() {
        return;
    }
    line(text, &format!("## {}", scenario.title()));
    text.push_str("| server |");
    for (heading, _, show) in COLUMNS {
        let suffix = match show {
            Show::BestAndMedian => ", best (median)",
            Show::Median => ", median",
            Show::Worst => ", worst",
        };
        let _ = write!(text, " {heading}{suffix} |");
    }
    let _ = writeln!(text, "\n|---|{}", "---:|".repeat(COLUMNS.len()));
    for kind in measured {
        let _ = write!(text, "| {} |", kind.name());
        for (_, figure, show) in COLUMNS {
            let best = number(results.best(scenario, kind, figure));
            let median = number(results.median(scenario, kind, figure));
            let _ = match show {
                Show::BestAndMedian => write!(text, " {best} ({median}) |"),
                Show::Median => write!(text, " {median} |"),
                Show::Worst => write!(text, " {} |", number(results.worst(scenario, kind, figure))),
            };
        }
        text.push('\n');
    }
    text.push('\n');
}

fn failures(text: &mut String, results: &Results) {
    if results.failures.is_empty() {
        return;
    }
    text.push_str("## Failed runs\n\n");
    for (scenario, kind, reason) in &results.failures {
        let _ = writeln!(text, "- {} in {}: {reason}", kind.name(), scenario.name());
    }
}

/// Three digits that matter; a dash for zero and for nothing.
fn number(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value <= 0.0 => "–".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.2}"),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

fn line(text: &mut String, paragraph: &str) {
    text.push_str(paragraph);
    text.push_str("\n\n");
}

fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else { return format!("{} missing", command.get_program().display()) };
    // nginx tells its version on stderr.
    let told = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&told).lines().next().unwrap_or("version unknown").trim().to_owned()
}

fn tus_node_version(places: &Places) -> String {
    let package = places.peers.join("tus-node/node_modules/@tus/server/package.json");
    let package =
        fs::read(package).ok().and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    package.and_then(|package| package["version"].as_str().map(str::to_owned)).unwrap_or("missing".to_owned())
}
