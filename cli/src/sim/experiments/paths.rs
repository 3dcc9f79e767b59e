//! `chord sim ring paths`: path length against the number of nodes.

use chord_ring::sim;

use super::runs::{seeds, side_by_side};
use super::statistics::mean;
use crate::args::sim::PathsArgs;
use crate::sim::figure::{Figure, json};
use crate::sim::plot::{Axis, Plot, Series};

/// The figure of rings of growing size.
pub fn paths(a: &PathsArgs) -> Figure {
    let sizes: Vec<u32> = std::iter::successors(Some(8u32), |n| n.checked_mul(2))
        .take_while(|n| *n <= a.most)
        .collect();
    let runs = side_by_side(&sizes, |nodes| {
        let rings = if *nodes < 32_768 { a.rings } else { 1 };
        let run = |seed| sim::simulate(*nodes as usize, a.lookups as usize, seed);
        seeds(a.common.seed, rings).map(run).collect::<Vec<_>>()
    });
    let half_log = |nodes: u32| 0.5 * f64::from(nodes).log2();
    let hops = |runs: &[sim::RingFigures]| mean(runs.iter().map(|r| r.hops_mean));
    let p99 = |runs: &[sim::RingFigures]| runs.iter().map(|r| r.hops_p99).max().unwrap_or(0);
    let rows = sizes.iter().zip(&runs).map(|(nodes, runs)| {
        vec![
            nodes.to_string(),
            format!("{:.2}", hops(runs)),
            format!("{:.2}", half_log(*nodes)),
            p99(runs).to_string(),
            (u64::from(a.lookups) * runs.len() as u64).to_string(),
            runs.iter().map(|r| r.failed).sum::<u64>().to_string(),
        ]
    });
    let points = |y: &dyn Fn(u32, &[sim::RingFigures]) -> f64| -> Vec<(f64, f64)> {
        let both = sizes.iter().zip(&runs);
        both.map(|(n, r)| (f64::from(*n), y(*n, r))).collect()
    };
    let plot = Plot {
        title: "Path length".to_string(),
        x: Axis::log2("nodes"),
        y: Axis::linear("hops"),
        series: vec![
            Series::measured("mean", points(&|_, r| hops(r))),
            Series::measured("99th percentile", points(&|_, r| f64::from(p99(r)))),
            Series::compared("½ log₂ N, the paper's mean", points(&|n, _| half_log(n))),
        ],
    };
    Figure {
        name: "paths",
        command: format!(
            "chord sim ring paths --most {} --lookups {} --rings {} --seed {}",
            a.most, a.lookups, a.rings, a.common.seed
        ),
        head: vec![
            "nodes",
            "hops, mean",
            "½ log₂ N",
            "hops, p99",
            "look-ups",
            "failed",
        ],
        rows: rows.collect(),
        plots: vec![plot],
        json: json(&sizes.iter().zip(&runs).collect::<Vec<_>>()),
    }
}
