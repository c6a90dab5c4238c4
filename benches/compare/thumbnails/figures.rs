//! What the measured values say: ratios, goals, tables.
//!
//! A ratio is formed within a round, of two values measured right after each other, and the median of the rounds counts:
//! what else the machine does slows both down alike. Pure; called by the module above.

use std::fmt::Write as _;

use super::ways::Way;
use super::{Picture, SIDES};
use crate::goals::{self, Goal};
use crate::report;

/// Two encodings of the same pixels differ by about as much.
const LIKENESS_NOISE: f64 = 0.0005;

impl Picture {
    /// The median of the rounds, in milliseconds.
    fn milliseconds(&self, way: Way) -> f64 {
        1000.0 * median(self.cpu[way as usize].clone())
    }

    /// How much of the CPU time of `other` one takes.
    pub(super) fn ratio(&self, one: Way, other: Way) -> f64 {
        let pairs = self.cpu[one as usize].iter().zip(&self.cpu[other as usize]);
        median(pairs.map(|(one, other)| one / other).collect())
    }

    /// By how much ours is more like the picture than `other`, at the size where it is least so.
    fn lead(&self, other: Way) -> f64 {
        let pairs = self.likeness[Way::Cifra as usize].iter().zip(&self.likeness[other as usize]);
        pairs.map(|(ours, other)| ours - other).fold(f64::INFINITY, f64::min)
    }
}

/// The whole report.
pub(crate) fn markdown(pictures: &[Picture], rounds: usize) -> String {
    let mut text = format!("# Thumbnails: 800, 300 and 150 of {} pictures\n\n", pictures.len());
    let _ = writeln!(text, "{}; {rounds} rounds, one thread.\n", report::machine());
    report::goal_table(&mut text, &all_goals(pictures));
    cpu_table(&mut text, pictures);
    likeness_table(&mut text, pictures);
    text
}

fn all_goals(pictures: &[Picture]) -> Vec<Goal> {
    let ratios = |other| pictures.iter().map(move |picture| picture.ratio(Way::Cifra, other));
    let highest = ratios(Way::SharpCascade).fold(0.0, f64::max);
    let least = |other| pictures.iter().map(|picture| picture.lead(other)).fold(f64::INFINITY, f64::min);
    let mut all = vec![
        goals::at_most(
            "CPU, of sharp's three pipelines (mean)",
            "",
            Some(mean(ratios(Way::SharpThree))),
            Some(0.4),
        ),
        goals::at_most(
            "CPU, of sharp's cascade (mean)",
            "",
            Some(mean(ratios(Way::SharpCascade))),
            Some(0.8),
        ),
        goals::at_most("CPU, of sharp's cascade (highest)", "", Some(highest), Some(1.0)),
    ];
    for way in [Way::SharpThree, Way::SharpClones, Way::SharpCascade] {
        let text = format!("likeness, 1000 times what ours has more than {} (least)", way.name());
        all.push(goals::at_least(&text, "", Some(1000.0 * least(way)), Some(-1000.0 * LIKENESS_NOISE)));
    }
    all
}

fn cpu_table(text: &mut String, pictures: &[Picture]) {
    text.push_str("## CPU, milliseconds a picture (medians)\n\n| picture | megapixels |");
    for way in Way::ALL {
        let _ = write!(text, " {} |", way.name());
    }
    text.push_str(" ours of three | of clones | of cascade |\n|---|");
    let _ = writeln!(text, "{}", "---:|".repeat(Way::ALL.len() + 4));
    let others = [Way::SharpThree, Way::SharpClones, Way::SharpCascade];
    for picture in pictures {
        let _ = write!(text, "| {} | {:.1} |", picture.name, picture.megapixels);
        for way in Way::ALL {
            let _ = write!(text, " {:.1} |", picture.milliseconds(way));
        }
        for other in others {
            let _ = write!(text, " {:.2} |", picture.ratio(Way::Cifra, other));
        }
        text.push('\n');
    }
    text.push_str("| geometric mean | |");
    for way in Way::ALL {
        let _ = write!(text, " {:.1} |", mean(pictures.iter().map(|picture| picture.milliseconds(way))));
    }
    for other in others {
        let _ =
            write!(text, " {:.2} |", mean(pictures.iter().map(|picture| picture.ratio(Way::Cifra, other))));
    }
    text.push_str("\n\n");
}

fn likeness_table(text: &mut String, pictures: &[Picture]) {
    let _ = write!(text, "## Likeness (SSIM of luma) at {SIDES:?}, and KiB of all sizes\n\n| picture |");
    for way in Way::ALL {
        let _ = write!(text, " {} | KiB |", way.name());
    }
    let _ = writeln!(text, "\n|---|{}", "---|---:|".repeat(Way::ALL.len()));
    for picture in pictures {
        let _ = write!(text, "| {} |", picture.name);
        for way in Way::ALL {
            for value in picture.likeness[way as usize] {
                let _ = write!(text, " {value:.4}");
            }
            let _ = write!(text, " | {:.0} |", picture.bytes[way as usize] as f64 / 1024.0);
        }
        text.push('\n');
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The geometric one: it is the same whether ours is held against theirs or theirs against ours.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value.ln(), count + 1.0));
    (sum / count).exp()
}
