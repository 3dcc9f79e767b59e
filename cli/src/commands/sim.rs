//! `chord sim`: the simulators, for anyone.

use serde::Serialize;

use crate::args::{Sim, SimWhat};
use crate::exit::Failure;
use crate::output::Output;

pub fn run(args: &Sim, out: Output) -> Result<(), Failure> {
    match &args.what {
        SimWhat::Placement(p) => {
            if p.nodes < u32::from(p.replication) {
                return Err(Failure::usage(format!(
                    "{} nodes cannot hold {} copies",
                    p.nodes, p.replication
                )));
            }
            let nodes = p.nodes as usize;
            figures(
                &chord_operator::tokens::simulate(nodes, p.tokens, p.replication, p.keys, p.seed),
                out,
            )
        }
        SimWhat::Ring(r) => {
            let figures_of_ring =
                chord_node::ring::sim::simulate(r.nodes as usize, r.lookups as usize, r.seed);
            figures(&figures_of_ring, out)
        }
    }
}

/// Figures, a line each.
fn figures<T: Serialize>(figures: &T, out: Output) -> Result<(), Failure> {
    let value = serde_json::to_value(figures).map_err(|e| Failure::failed(e.to_string()))?;
    out.show(&value, || {
        let rows = value.as_object().into_iter().flatten();
        rows.map(|(name, figure)| format!("{name:<24}  {figure}"))
            .collect()
    })
}
