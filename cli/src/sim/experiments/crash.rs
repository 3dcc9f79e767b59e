//! `chord sim ring crash`: look-ups after a share of the nodes died at once, before and
//! after the repair.

use chord_ring::sim::{self, RepairFigures};

use super::runs::{seeds, side_by_side};
use super::statistics::mean;
use crate::args::sim::CrashArgs;
use crate::sim::figure::{Figure, json, list};
use crate::sim::plot::{Axis, Plot, Series};

/// The setting of the paper's table: nodes, and the length of successor lists.
const PAPER: (u32, u32) = (1000, 20);

/// The figure, a row for each share.
pub fn crash(a: &CrashArgs) -> Figure {
    let parts: Vec<(u32, u64)> = a
        .dead
        .iter()
        .flat_map(|dead| seeds(a.common.seed, a.runs).map(|seed| (*dead, seed)))
        .collect();
    let all = side_by_side(&parts, |(dead, seed)| {
        sim::simulate_repair(
            a.nodes as usize,
            a.successors as usize,
            f64::from(*dead) / 100.0,
            a.lookups as usize,
            *seed,
        )
    });
    let by_share: Vec<&[RepairFigures]> = all.chunks(a.runs as usize).collect();
    let compare = (a.nodes, a.successors) == PAPER;
    let mut head = vec![
        "% dead",
        "hops",
        "timeouts",
        "failed",
        "repaired in s",
        "hops after",
        "timeouts after",
        "failed after",
        "look-ups",
    ];
    if compare {
        head.extend(["paper: hops", "paper: timeouts"]);
    }
    let rows = a.dead.iter().zip(&by_share);
    Figure {
        name: if a.successors == PAPER.1 {
            "crash"
        } else {
            "crash-node"
        },
        command: format!(
            "chord sim ring crash --nodes {} --successors {} --dead {} --lookups {} --runs {} --seed {}",
            a.nodes,
            a.successors,
            list(&a.dead),
            a.lookups,
            a.runs,
            a.common.seed
        ),
        head,
        rows: rows
            .map(|(dead, runs)| row(a, *dead, runs, compare))
            .collect(),
        plots: vec![plot(a, &by_share)],
        json: json(&parts.iter().zip(&all).collect::<Vec<_>>()),
    }
}

/// ToN 2003, table II: hops and timeouts of 1000 nodes with lists of 20.
fn paper(dead: u32) -> [String; 2] {
    match dead {
        0 => ["3.84", "0.0"],
        10 => ["4.03", "0.60"],
        50 => ["5.09", "5.10"],
        _ => ["", ""],
    }
    .map(String::from)
}

fn row(a: &CrashArgs, dead: u32, runs: &[RepairFigures], compare: bool) -> Vec<String> {
    let average = |y: fn(&RepairFigures) -> f64| format!("{:.2}", mean(runs.iter().map(y)));
    let failed = |of: fn(&RepairFigures) -> u64| runs.iter().map(of).sum::<u64>().to_string();
    let slowest = runs.iter().map(|r| r.repaired_s).max().flatten();
    let all_repaired = runs.iter().all(|r| r.repaired_s.is_some());
    let mut row = vec![
        dead.to_string(),
        average(|r| r.before.figures.hops_mean),
        average(|r| r.before.timeouts_mean),
        failed(|r| r.before.figures.failed),
        slowest
            .filter(|_| all_repaired)
            .map_or("never".to_string(), |s| s.to_string()),
        average(|r| r.after.figures.hops_mean),
        average(|r| r.after.timeouts_mean),
        failed(|r| r.after.figures.failed),
        (u64::from(a.lookups) * runs.len() as u64).to_string(),
    ];
    if compare {
        row.extend(paper(dead));
    }
    row
}

fn plot(a: &CrashArgs, by_share: &[&[RepairFigures]]) -> Plot {
    let points = |y: fn(&RepairFigures) -> f64| -> Vec<(f64, f64)> {
        let both = a.dead.iter().zip(by_share);
        both.map(|(d, runs)| (f64::from(*d), mean(runs.iter().map(y))))
            .collect()
    };
    Plot {
        title: format!(
            "A share of {} nodes dies at once, r = {}",
            a.nodes, a.successors
        ),
        x: Axis::linear("percent dead"),
        y: Axis::linear("for each look-up"),
        series: vec![
            Series::measured(
                "hops, nobody has noticed yet",
                points(|r| r.before.figures.hops_mean),
            ),
            Series::measured(
                "timeouts, nobody has noticed yet",
                points(|r| r.before.timeouts_mean),
            ),
            Series::measured(
                "hops, lists repaired",
                points(|r| r.after.figures.hops_mean),
            ),
        ],
    }
}
