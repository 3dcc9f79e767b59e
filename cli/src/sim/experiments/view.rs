//! `chord sim ring view`: hops of a node that has the view, beside those by the ring
//! alone.

use chord_ring::sim;

use super::runs::side_by_side;
use crate::args::sim::ViewArgs;
use crate::sim::figure::{Figure, json, list};

/// The figure of rings of growing size.
pub fn view(a: &ViewArgs) -> Figure {
    let all = side_by_side(&a.nodes, |nodes| {
        let (nodes, lookups) = (*nodes as usize, a.lookups as usize);
        (
            sim::simulate(nodes, lookups, a.common.seed),
            sim::simulate_by_view(nodes, 1, lookups, a.common.seed),
        )
    });
    let rows = a.nodes.iter().zip(&all).map(|(nodes, (ring, view))| {
        vec![
            nodes.to_string(),
            format!("{:.2}", ring.hops_mean),
            ring.hops_p99.to_string(),
            format!("{:.2}", view.hops_mean),
            view.hops_p99.to_string(),
            (ring.failed + view.failed).to_string(),
        ]
    });
    Figure {
        name: "view",
        command: format!(
            "chord sim ring view --nodes {} --lookups {} --seed {}",
            list(&a.nodes),
            a.lookups,
            a.common.seed
        ),
        head: vec![
            "nodes",
            "ring alone: hops",
            "p99",
            "by the view: hops",
            "p99",
            "failed",
        ],
        rows: rows.collect(),
        plots: Vec::new(),
        json: json(&a.nodes.iter().zip(&all).collect::<Vec<_>>()),
    }
}
