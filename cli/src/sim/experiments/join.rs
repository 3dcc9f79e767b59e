//! `chord sim ring join`: how long it takes half a ring to join the other half.

use chord_ring::sim;

use super::runs::side_by_side;
use crate::args::sim::JoinArgs;
use crate::sim::figure::{Figure, json, list};
use crate::sim::plot::{Axis, Plot, Series};

/// The figure, with the view and without it.
pub fn join(a: &JoinArgs) -> Figure {
    let parts: Vec<(u32, bool)> = a
        .nodes
        .iter()
        .flat_map(|nodes| [true, false].map(|by_view| (*nodes, by_view)))
        .collect();
    let all = side_by_side(&parts, |(nodes, by_view)| {
        sim::simulate_join(*nodes as usize, *by_view, a.common.seed)
    });
    let text = |s: Option<f64>| s.map_or("never".to_string(), |s| format!("{s:.1}"));
    let rows = a.nodes.iter().zip(all.chunks(2)).map(|(nodes, of)| {
        let mut row = vec![nodes.to_string()];
        for one in of {
            row.extend([one.ring_s, one.lists_s, one.fingers_s].map(text));
        }
        row
    });
    let points = |at: usize, y: &dyn Fn(&sim::JoinFigures) -> Option<f64>| -> Vec<(f64, f64)> {
        let of = a.nodes.iter().zip(all.chunks(2));
        of.filter_map(|(n, of)| Some((f64::from(*n), y(of.get(at)?)?)))
            .collect()
    };
    let plot = Plot {
        title: "Half the nodes join at once".to_string(),
        x: Axis::log2("nodes, the new half included"),
        y: Axis::linear("virtual seconds"),
        series: vec![
            Series::measured("successors right, by the view", points(0, &|f| f.ring_s)),
            Series::measured("lists right, by the view", points(0, &|f| f.lists_s)),
            Series::measured("successors right, without a view", points(1, &|f| f.ring_s)),
            Series::measured("lists right, without a view", points(1, &|f| f.lists_s)),
        ],
    };
    Figure {
        name: "join",
        command: format!(
            "chord sim ring join --nodes {} --seed {}",
            list(&a.nodes),
            a.common.seed
        ),
        head: vec![
            "nodes",
            "view: successors, s",
            "lists, s",
            "fingers, s",
            "no view: successors, s",
            "lists, s",
            "fingers, s",
        ],
        rows: rows.collect(),
        plots: vec![plot],
        json: json(&parts.iter().zip(&all).collect::<Vec<_>>()),
    }
}
