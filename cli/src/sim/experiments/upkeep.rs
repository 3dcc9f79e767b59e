//! `chord sim ring upkeep`: what the ring's upkeep sends, when nothing happens and when
//! much does.

use chord_ring::sim;
use serde_json::json;

use super::churn::{settings, timing_name};
use super::runs::side_by_side;
use crate::args::sim::{Timing, UpkeepArgs};
use crate::sim::figure::{Figure, list};

/// The figure of idle rings and of rings under churn.
pub fn upkeep(a: &UpkeepArgs) -> Figure {
    let idle = side_by_side(&a.rings, |(nodes, tokens)| {
        sim::simulate_idle(
            *nodes as usize,
            *tokens as usize,
            u64::from(a.seconds),
            a.common.seed,
        )
    });
    let parts: Vec<(f64, Timing)> = [Timing::Node, Timing::Paper]
        .into_iter()
        .flat_map(|like| a.churn.iter().map(move |rate| (*rate, like)))
        .collect();
    let busy = side_by_side(&parts, |(rate, like)| {
        let (nodes, seconds) = (a.churn_nodes as usize, a.churn_seconds as usize);
        sim::churn(&sim::Churn {
            measure: true,
            ..settings(nodes, *rate, seconds, *like, a.common.seed)
        })
    });
    let row = |what: [String; 4], bytes: f64, bodies: f64, messages: f64| {
        let mut row = what.to_vec();
        row.extend([
            format!("{bytes:.0}"),
            format!("{bodies:.2}"),
            format!("{messages:.2}"),
        ]);
        row
    };
    let mut rows: Vec<Vec<String>> = idle
        .iter()
        .map(|f| {
            let what = [
                f.nodes.to_string(),
                f.tokens.to_string(),
                "idle".to_string(),
                "node".to_string(),
            ];
            row(what, f.bytes_per_s, f.bodies_per_s, f.messages_per_s)
        })
        .collect();
    rows.extend(busy.iter().zip(&parts).map(|(f, (rate, like))| {
        let what = [
            a.churn_nodes.to_string(),
            "1".to_string(),
            format!("{rate} joins/s, crashes/s"),
            timing_name(*like).to_string(),
        ];
        row(what, f.bytes_per_s, f.bodies_per_s, f.messages_per_s)
    }));
    let rings: Vec<String> = a.rings.iter().map(|(n, t)| format!("{n}x{t}")).collect();
    Figure {
        name: "upkeep",
        command: format!(
            "chord sim ring upkeep --rings {} --seconds {} --churn {} --churn-nodes {} --churn-seconds {} --seed {}",
            list(&rings),
            a.seconds,
            list(&a.churn),
            a.churn_nodes,
            a.churn_seconds,
            a.common.seed
        ),
        head: vec![
            "nodes",
            "tokens",
            "what happens",
            "timing",
            "bytes/s",
            "bodies/s",
            "messages/s",
        ],
        rows,
        plots: Vec::new(),
        json: json!({ "idle": idle, "churn": busy, "empty_body": sim::empty_body() }),
    }
}
