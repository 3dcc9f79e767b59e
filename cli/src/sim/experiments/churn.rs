//! `chord sim ring churn`: look-ups while nodes join and leave all the time.

use chord_ring::sim::{self, ChurnFigures, Network, Tuning};

use super::runs::{seeds, side_by_side};
use super::statistics::{at_most, mean};
use crate::args::sim::{ChurnArgs, Timing};
use crate::sim::figure::{Figure, json, list};
use crate::sim::plot::{Axis, Plot, Series};

/// The figure, a row for each rate.
pub fn churn(a: &ChurnArgs) -> Figure {
    let parts: Vec<(f64, u64)> = a
        .rates
        .iter()
        .flat_map(|rate| seeds(a.common.seed, a.runs).map(|seed| (*rate, seed)))
        .collect();
    let all = side_by_side(&parts, |(rate, seed)| {
        sim::churn(&settings(
            a.nodes as usize,
            *rate,
            a.lookups as usize,
            a.like,
            *seed,
        ))
    });
    let by_rate: Vec<&[ChurnFigures]> = all.chunks(a.runs as usize).collect();
    let rows = a.rates.iter().zip(&by_rate);
    Figure {
        name: match a.like {
            Timing::Paper => "churn",
            Timing::Node => "churn-node",
        },
        command: format!(
            "chord sim ring churn --nodes {} --rates {} --lookups {} --runs {} --like {} --seed {}",
            a.nodes,
            list(&a.rates),
            a.lookups,
            a.runs,
            timing_name(a.like),
            a.common.seed
        ),
        head: vec![
            "joins/s, crashes/s",
            "hops",
            "timeouts",
            "ms",
            "look-ups",
            "named wrong /10 000",
            "failed /10 000",
            "failed, at most (95 %)",
            "one ring",
        ],
        rows: rows.map(|(rate, runs)| row(*rate, runs)).collect(),
        plots: vec![plot(a, &by_rate)],
        json: json(&parts.iter().zip(&all).collect::<Vec<_>>()),
    }
}

/// How a timing is called on the command line.
pub fn timing_name(timing: Timing) -> &'static str {
    match timing {
        Timing::Paper => "paper",
        Timing::Node => "node",
    }
}

/// What the simulator runs.
pub fn settings(nodes: usize, rate: f64, lookups: usize, timing: Timing, seed: u64) -> sim::Churn {
    sim::Churn {
        nodes,
        rate,
        lookups,
        lookup_rate: 1.0,
        network: Network::wide(),
        tuning: match timing {
            Timing::Paper => Tuning::paper(),
            Timing::Node => Tuning::node(),
        },
        measure: false,
        seed,
    }
}

fn sum(runs: &[ChurnFigures], y: fn(&ChurnFigures) -> u64) -> u64 {
    runs.iter().map(y).sum()
}

/// A count for each 10 000 look-ups of these runs.
fn per_10k(count: f64, runs: &[ChurnFigures]) -> f64 {
    count * 10_000.0 / sum(runs, |r| r.lookups).max(1) as f64
}

fn row(rate: f64, runs: &[ChurnFigures]) -> Vec<String> {
    let average = |y: fn(&ChurnFigures) -> f64| format!("{:.2}", mean(runs.iter().map(y)));
    let (failed, lookups) = (sum(runs, |r| r.failed), sum(runs, |r| r.lookups));
    let share = |count: f64| format!("{:.1}", per_10k(count, runs));
    vec![
        rate.to_string(),
        average(|r| r.hops_mean),
        average(|r| r.timeouts_mean),
        format!("{:.0}", mean(runs.iter().map(|r| r.ms_mean))),
        lookups.to_string(),
        share(sum(runs, |r| r.named_wrong) as f64),
        share(failed as f64),
        share(at_most(failed, lookups)),
        format!("{}/{}", sum(runs, |r| r.whole), sum(runs, |r| r.looked_at)),
    ]
}

fn plot(a: &ChurnArgs, by_rate: &[&[ChurnFigures]]) -> Plot {
    let points = |y: fn(&ChurnFigures) -> u64| -> Vec<(f64, f64)> {
        let both = a.rates.iter().zip(by_rate);
        both.map(|(rate, runs)| (*rate, per_10k(sum(runs, y) as f64, runs)))
            .collect()
    };
    Plot {
        title: format!("Wrong answers under churn, {} nodes", a.nodes),
        x: Axis::linear("joins a second, and as many crashes"),
        y: Axis::linear("of 10 000 look-ups"),
        series: vec![
            Series::measured(
                "the ring named a wrong successor",
                points(|r| r.named_wrong),
            ),
            Series::measured(
                "failed: a wrong one confirmed, or none",
                points(|r| r.failed),
            ),
            Series::compared(
                "the paper's failed, at both ends",
                [(0.05, 0.0), (0.4, 15.0)],
            ),
        ],
    }
}
