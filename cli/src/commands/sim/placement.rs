//! `chord sim placement`: how even assigned tokens are, and how little a change
//! moves.

use std::collections::BTreeSet;

use chord_operator::tokens::{Load, PlacementFigures, Setting, loads, simulate};
use serde::Serialize;

use crate::args::SimPlacement;
use crate::exit::Failure;
use crate::output::Output;

/// Small clusters are the hard ones; their loads are always shown.
const SHOWN: [usize; 3] = [3, 4, 5];

#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    figures: PlacementFigures,
    loads: Vec<Load>,
}

pub fn run(args: &SimPlacement, out: Output) -> Result<(), Failure> {
    if args.nodes < u32::from(args.replication) {
        return Err(Failure::usage(format!(
            "{} nodes cannot hold {} copies",
            args.nodes, args.replication
        )));
    }
    let nodes = args.nodes as usize;
    let setting = Setting {
        tokens_per_node: args.tokens,
        replication: args.replication,
        zones: args.zones,
        weights: args.weights.clone(),
    };
    let sizes: BTreeSet<usize> = SHOWN.into_iter().chain([nodes]).collect();
    let sizes = sizes
        .into_iter()
        .filter(|n| *n >= usize::from(args.replication));
    let told = Told {
        figures: simulate(&setting, nodes, args.keys, args.seed),
        loads: sizes
            .map(|n| loads(&setting, n, args.keys, args.seed))
            .collect(),
    };
    out.show(&told, || lines(&told))
}

fn lines(told: &Told) -> Vec<String> {
    let f = &told.figures;
    let mut lines: Vec<String> = [
        ("fullest_over_mean", f.fullest_over_mean),
        ("fullest_over_fair", f.fullest_over_fair),
        ("moved_over_least_join", f.moved_over_least_join),
        ("moved_over_least_leave", f.moved_over_least_leave),
    ]
    .map(|(name, figure)| format!("{name:<24}  {figure:.4}"))
    .to_vec();
    lines.push(String::new());
    lines.push("nodes  fullest  copies kept for its weight by each node, over the mean".into());
    for load in &told.loads {
        let fullest = load.over_mean.iter().copied().fold(0.0, f64::max);
        let each: Vec<String> = load.over_mean.iter().map(|l| format!("{l:.3}")).collect();
        for (n, few) in each.chunks(10).enumerate() {
            let head = match n {
                0 => format!("{:>5}  {fullest:>7.3}", load.nodes),
                _ => " ".repeat(14),
            };
            lines.push(format!("{head}  {}", few.join(" ")));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_keep_their_names_and_small_clusters_are_shown() {
        let setting = Setting::plain(16, 3);
        let told = Told {
            figures: simulate(&setting, 6, 2_000, 1),
            loads: vec![loads(&setting, 4, 2_000, 1)],
        };
        let json = serde_json::to_value(&told).unwrap();
        for name in [
            "fullest_over_mean",
            "moved_over_least_join",
            "moved_over_least_leave",
        ] {
            assert!(json[name].is_f64(), "{name}: {json}");
        }
        assert_eq!(json["loads"][0]["over_mean"].as_array().unwrap().len(), 4);
        let text = lines(&told);
        assert!(text.iter().any(|l| l.starts_with("    4  ")), "{text:?}");
    }
}
