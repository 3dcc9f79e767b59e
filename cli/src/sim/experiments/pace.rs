//! `chord sim ring pace`: how fast the core and the simulator are on this machine.

use std::time::Instant;

use chord_ring::sim;
use serde_json::json;

use crate::args::sim::PaceArgs;
use crate::sim::figure::{Figure, list};
use crate::sim::memory::{memory, memory_each};

/// Rounds that the core is timed over.
const CORE_ROUNDS: u64 = 500_000;

/// The figure of the core alone and of whole rings.
pub fn pace(a: &PaceArgs) -> Figure {
    let start = Instant::now();
    let (steps, sent) = sim::core_steps(1000, CORE_ROUNDS);
    let core = steps as f64 / start.elapsed().as_secs_f64().max(1e-9);
    let mut rows = vec![vec![
        "core alone".to_string(),
        String::new(),
        steps.to_string(),
        format!("{core:.0}"),
        String::new(),
    ]];
    let mut json_rows = vec![json!({ "core_steps_per_s": core, "steps": steps, "sent": sent })];
    for nodes in &a.nodes {
        // In a process of their own the largest would be told apart better; they
        // come in order of size, and memory is given back.
        let before = memory();
        let start = Instant::now();
        let seconds = u64::from(a.seconds);
        let figures = sim::simulate_idle(*nodes as usize, 1, seconds, a.common.seed);
        let rate = figures.steps as f64 / start.elapsed().as_secs_f64().max(1e-9);
        let each = memory_each(before, *nodes);
        rows.push(vec![
            format!("{nodes} nodes"),
            (60 + a.seconds).to_string(),
            figures.steps.to_string(),
            format!("{rate:.0}"),
            each.map_or("unknown".to_string(), |b| {
                format!("{:.1}", b as f64 / 1024.0)
            }),
        ]);
        json_rows.push(json!({
            "nodes": nodes, "steps": figures.steps, "steps_per_s": rate, "bytes_per_node": each
        }));
    }
    Figure {
        name: "pace",
        command: format!(
            "chord sim ring pace --nodes {} --seconds {}",
            list(&a.nodes),
            a.seconds
        ),
        head: vec![
            "what",
            "virtual s",
            "steps",
            "steps/s",
            "KiB a node, at most",
        ],
        rows,
        plots: Vec::new(),
        json: json!(json_rows),
    }
}
