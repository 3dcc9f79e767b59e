//! `chord sim`: the simulators, for anyone.
//!
//! - [`placement`]: how even assigned tokens are.
//! - [`experiments`]: what is run on simulated rings.
//! - [`figure`], [`plot`]: the tables and plots that come of it.
//! - [`report`]: all of them, into docs/ring.md.

mod experiments;
mod figure;
mod memory;
mod placement;
mod plot;
mod report;

use serde::Serialize;
use serde_json::json;

use crate::args::sim::{Experiment, SimArgs, SimRingArgs, Simulator};
use crate::failure::Failure;
use crate::output::Output;

/// Runs a simulator.
pub fn run(args: &SimArgs, out: Output) -> Result<(), Failure> {
    match &args.simulator {
        Simulator::Placement(args) => placement::run(args, out),
        Simulator::Ring(args) => ring(args, out),
    }
}

fn ring(args: &SimRingArgs, out: Output) -> Result<(), Failure> {
    let svg = match &args.what {
        None => return hops(args, out),
        Some(Experiment::Report(a)) => return report::report(a),
        Some(Experiment::Paths(a)) => &a.common.svg,
        Some(Experiment::Crash(a)) => &a.common.svg,
        Some(Experiment::Churn(a)) => &a.common.svg,
        Some(Experiment::Join(a)) => &a.common.svg,
        Some(Experiment::Upkeep(a)) => &a.common.svg,
        Some(Experiment::View(a)) => &a.common.svg,
        Some(Experiment::Faults(a)) => &a.common.svg,
        Some(Experiment::Pace(a)) => &a.common.svg,
    };
    let figure = args.what.as_ref().map(experiments::run).transpose()?;
    match figure.flatten() {
        Some(figure) if svg.is_some() && figure.plots.is_empty() => Err(Failure::usage(
            "there is nothing to draw here: leave --svg out",
        )),
        Some(figure) => figure.show(out, svg.as_deref()),
        None => Ok(()),
    }
}

/// Without an experiment: the hops of one ring.
fn hops(args: &SimRingArgs, out: Output) -> Result<(), Failure> {
    let before = memory::memory();
    let found = chord_ring::sim::simulate(args.nodes as usize, args.lookups as usize, args.seed);
    let each = memory::memory_each(before, args.nodes);
    figures(
        &json!({
            "hops_mean": found.hops_mean,
            "hops_p99": found.hops_p99,
            "failed": found.failed,
            "bytes_per_node": each,
        }),
        out,
    )
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
