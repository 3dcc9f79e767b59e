//! `chord sim placement`: how even assigned tokens are, and how little a change
//! moves.

use std::collections::BTreeSet;

use chord_planner::tokens::{Load, PlacementFigures, Setting, loads, simulate};
use serde::Serialize;

use crate::args::sim::PlacementArgs;
use crate::failure::Failure;
use crate::output::Output;

/// Small clusters are the hard ones; their loads are always shown.
const SHOWN: [usize; 3] = [3, 4, 5];

/// What was found, as it is written.
#[derive(Serialize)]
struct PlacementReport {
    #[serde(flatten)]
    figures: PlacementFigures,
    loads: Vec<Load>,
}

/// Of all nodes together: what can be placed in the time that somebody waits.
const MOST_TOKENS: f64 = 4_000_000.0;

fn check(args: &PlacementArgs) -> Result<(), Failure> {
    if args.nodes < u32::from(args.replication) {
        return Err(Failure::usage(format!(
            "{} nodes cannot hold {} copies",
            args.nodes, args.replication
        )));
    }
    let weights: &[f64] = match &args.weights[..] {
        [] => &[1.0],
        some => some,
    };
    let all: f64 = weights.iter().cycle().take(args.nodes as usize).sum();
    let tokens = all * f64::from(args.tokens);
    if tokens > MOST_TOKENS {
        return Err(Failure::usage(format!(
            "{} nodes of --tokens {} by their --weights are {tokens:.0} tokens, and {MOST_TOKENS} can be placed: take fewer nodes or tokens, or smaller weights",
            args.nodes, args.tokens
        )));
    }
    Ok(())
}

pub fn run(args: &PlacementArgs, out: Output) -> Result<(), Failure> {
    check(args)?;
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
    let report = PlacementReport {
        figures: simulate(&setting, nodes, args.keys, args.seed),
        loads: sizes
            .map(|n| loads(&setting, n, args.keys, args.seed))
            .collect(),
    };
    out.show(&report, || lines(&report))
}

fn lines(report: &PlacementReport) -> Vec<String> {
    let f = &report.figures;
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
    for load in &report.loads {
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
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    #[command(no_binary_name = true)]
    struct Typed {
        #[command(flatten)]
        placement: PlacementArgs,
    }

    #[test]
    fn numbers_that_cannot_be_placed_are_refused_with_the_bounds() {
        let wrong = |words: &str| match Typed::try_parse_from(words.split_whitespace()) {
            Err(error) => Some(error.to_string()),
            Ok(typed) => check(&typed.placement).err().map(|e| e.to_string()),
        };
        for (words, said) in [
            ("--weights nan", "from 0.1 to 16"),
            ("--weights inf", "from 0.1 to 16"),
            ("--weights 1,-1", "from 0.1 to 16"),
            ("--weights -1", "from 0.1 to 16"),
            ("--nodes 0", "1..=1000"),
            ("--keys 0", "1..=1000000000"),
            ("--tokens 0", "1..=1024"),
            ("--replication 10", "1..=9"),
            ("--zones 101", "0..=100"),
            ("--nodes 2", "cannot hold 3 copies"),
            ("--nodes 1000 --tokens 1024 --weights 16", "16384000 tokens"),
        ] {
            let error = wrong(words).unwrap_or_else(|| panic!("{words} is taken"));
            assert!(error.contains(said), "{words}: {error}");
        }
        for words in [
            "--nodes 1000 --tokens 1024",
            "--nodes 3 --weights 1,1,1,16,16,16,16",
            "--nodes 1 --replication 1 --seed 18446744073709551615",
        ] {
            assert_eq!(wrong(words), None, "{words}");
        }
    }

    #[test]
    fn the_figures_keep_their_names_and_small_clusters_are_shown() {
        let setting = Setting::plain(16, 3);
        let report = PlacementReport {
            figures: simulate(&setting, 6, 2_000, 1),
            loads: vec![loads(&setting, 4, 2_000, 1)],
        };
        let json = serde_json::to_value(&report).unwrap();
        for name in [
            "fullest_over_mean",
            "moved_over_least_join",
            "moved_over_least_leave",
        ] {
            assert!(json[name].is_f64(), "{name}: {json}");
        }
        assert_eq!(json["loads"][0]["over_mean"].as_array().unwrap().len(), 4);
        let text = lines(&report);
        assert!(text.iter().any(|l| l.starts_with("    4  ")), "{text:?}");
    }
}
