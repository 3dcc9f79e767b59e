//! The experiments of `chord sim ring`: what is run, and how it is shown.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use chord_ring::sim::{self, ChurnFigures, Network, Tuning};

use super::figure::{Figure, json};
use super::plot::{Axis, Plot, Series};
use crate::args::sim::{self as args, Like, seeds};

/// Runs independent parts side by side, at most one a core; the answers are in
/// the order of the parts.
pub fn each<T: Sync, R: Send>(parts: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(parts.len()));
    std::thread::scope(|scope| {
        for _ in 0..cores.min(parts.len()) {
            scope.spawn(|| {
                while let Some(part) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    parts.get(at).map(|part| (at, part))
                } {
                    let answer = run(part.1);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((part.0, answer));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, answer)| answer).collect()
}

pub fn series(name: &str, points: impl IntoIterator<Item = (f64, f64)>, dashed: bool) -> Series {
    Series {
        name: name.to_string(),
        points: points.into_iter().collect(),
        dashed,
    }
}

fn mean(of: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in of {
        sum += value;
        count += 1.0;
    }
    if count > 0.0 { sum / count } else { 0.0 }
}

pub fn list<T: std::fmt::Display>(of: &[T]) -> String {
    let texts: Vec<String> = of.iter().map(|n| n.to_string()).collect();
    texts.join(",")
}

/// The rate of an event of which `seen` were counted among `of` lies, with 95 %
/// certainty, below what would show so many in as many more. Poisson's bound, which
/// is never below the binomial one.
pub fn at_most(seen: u64, of: u64) -> f64 {
    let count = seen as f64;
    // Of n!, or else it and the powers beside it leave the range of numbers early.
    let ln_factorial: f64 = (1..=seen).map(|n| (n as f64).ln()).sum();
    // To see so many or fewer, from the likeliest number down; they fall off fast, as
    // no rate is tried that is less than what was seen.
    let chance = |rate: f64| {
        let last = (count * rate.ln() - rate - ln_factorial).exp();
        let (mut part, mut sum, mut left) = (1.0, 1.0, count);
        while left > 0.0 && part > 1e-17 {
            part *= left / rate;
            sum += part;
            left -= 1.0;
        }
        last * sum
    };
    let (mut low, mut high) = (count, 10.0 + 3.0 * count);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if chance(middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    // Who has seen nothing at all knows of no bound but this.
    high.min(of.max(1) as f64)
}

pub fn paths(a: &args::Paths) -> Figure {
    let sizes: Vec<u32> = std::iter::successors(Some(8u32), |n| n.checked_mul(2))
        .take_while(|n| *n <= a.most)
        .collect();
    let runs = each(&sizes, |nodes| {
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
            series("mean", points(&|_, r| hops(r)), false),
            series("99th percentile", points(&|_, r| f64::from(p99(r))), false),
            series(
                "½ log₂ N, the paper's mean",
                points(&|n, _| half_log(n)),
                true,
            ),
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

pub fn crash(a: &args::Crash) -> Figure {
    let parts: Vec<(u32, u64)> = a
        .dead
        .iter()
        .flat_map(|dead| seeds(a.common.seed, a.runs).map(|seed| (*dead, seed)))
        .collect();
    let all = each(&parts, |(dead, seed)| {
        sim::simulate_repair(
            a.nodes as usize,
            a.successors as usize,
            f64::from(*dead) / 100.0,
            a.lookups as usize,
            *seed,
        )
    });
    let of: Vec<&[sim::RepairFigures]> = all.chunks(a.runs as usize).collect();
    // ToN 2003, table II: of 1000 nodes with lists of 20.
    let paper = |dead: u32| match dead {
        0 => ("3.84", "0.0"),
        10 => ("4.03", "0.60"),
        50 => ("5.09", "5.10"),
        _ => ("", ""),
    };
    let compare = a.nodes == 1000 && a.successors == 20;
    let failed = |of: &dyn Fn(&sim::RepairFigures) -> u64, runs: &[sim::RepairFigures]| {
        runs.iter().map(of).sum::<u64>().to_string()
    };
    let rows = a.dead.iter().zip(&of).map(|(dead, runs)| {
        let text =
            |y: &dyn Fn(&sim::RepairFigures) -> f64| format!("{:.2}", mean(runs.iter().map(y)));
        let slowest = runs.iter().map(|r| r.repaired_s).max().flatten();
        let all_repaired = runs.iter().all(|r| r.repaired_s.is_some());
        let mut row = vec![
            dead.to_string(),
            text(&|r| r.before.figures.hops_mean),
            text(&|r| r.before.timeouts_mean),
            failed(&|r| r.before.figures.failed, runs),
            slowest
                .filter(|_| all_repaired)
                .map_or("never".to_string(), |s| s.to_string()),
            text(&|r| r.after.figures.hops_mean),
            text(&|r| r.after.timeouts_mean),
            failed(&|r| r.after.figures.failed, runs),
            (u64::from(a.lookups) * runs.len() as u64).to_string(),
        ];
        if compare {
            row.extend([paper(*dead).0.to_string(), paper(*dead).1.to_string()]);
        }
        row
    });
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
    let points = |y: &dyn Fn(&sim::RepairFigures) -> f64| -> Vec<(f64, f64)> {
        let both = a.dead.iter().zip(&of);
        both.map(|(d, runs)| (f64::from(*d), mean(runs.iter().map(y))))
            .collect()
    };
    let plot = Plot {
        title: format!(
            "A share of {} nodes dies at once, r = {}",
            a.nodes, a.successors
        ),
        x: Axis::linear("percent dead"),
        y: Axis::linear("for each look-up"),
        series: vec![
            series(
                "hops, nobody has noticed yet",
                points(&|r| r.before.figures.hops_mean),
                false,
            ),
            series(
                "timeouts, nobody has noticed yet",
                points(&|r| r.before.timeouts_mean),
                false,
            ),
            series(
                "hops, lists repaired",
                points(&|r| r.after.figures.hops_mean),
                false,
            ),
        ],
    };
    Figure {
        name: if a.successors == 20 {
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
        rows: rows.collect(),
        plots: vec![plot],
        json: json(&parts.iter().zip(&all).collect::<Vec<_>>()),
    }
}

fn tuning(like: Like) -> Tuning {
    match like {
        Like::Paper => Tuning::paper(),
        Like::Node => Tuning::node(),
    }
}

pub fn churn_of(nodes: usize, rate: f64, lookups: usize, like: Like, seed: u64) -> sim::Churn {
    sim::Churn {
        nodes,
        rate,
        lookups,
        lookup_rate: 1.0,
        network: Network::wide(),
        tuning: tuning(like),
        measure: false,
        seed,
    }
}

pub fn churn(a: &args::Churn) -> Figure {
    let parts: Vec<(f64, u64)> = a
        .rates
        .iter()
        .flat_map(|rate| seeds(a.common.seed, a.runs).map(|seed| (*rate, seed)))
        .collect();
    let all = each(&parts, |(rate, seed)| {
        sim::churn(&churn_of(
            a.nodes as usize,
            *rate,
            a.lookups as usize,
            a.like,
            *seed,
        ))
    });
    let of: Vec<&[ChurnFigures]> = all.chunks(a.runs as usize).collect();
    let sum = |runs: &[ChurnFigures], y: &dyn Fn(&ChurnFigures) -> u64| -> u64 {
        runs.iter().map(y).sum()
    };
    let per_10k = |count: f64, runs: &[ChurnFigures]| {
        count * 10_000.0 / sum(runs, &|r| r.lookups).max(1) as f64
    };
    let rows = a.rates.iter().zip(&of).map(|(rate, runs)| {
        let text = |y: &dyn Fn(&ChurnFigures) -> f64| format!("{:.2}", mean(runs.iter().map(y)));
        let failed = sum(runs, &|r| r.failed);
        vec![
            rate.to_string(),
            text(&|r| r.hops_mean),
            text(&|r| r.timeouts_mean),
            format!("{:.0}", mean(runs.iter().map(|r| r.ms_mean))),
            sum(runs, &|r| r.lookups).to_string(),
            format!("{:.1}", per_10k(sum(runs, &|r| r.named_wrong) as f64, runs)),
            format!("{:.1}", per_10k(failed as f64, runs)),
            format!(
                "{:.1}",
                per_10k(at_most(failed, sum(runs, &|r| r.lookups)), runs)
            ),
            format!(
                "{}/{}",
                sum(runs, &|r| r.whole),
                sum(runs, &|r| r.looked_at)
            ),
        ]
    });
    let points = |y: &dyn Fn(&[ChurnFigures]) -> f64| -> Vec<(f64, f64)> {
        a.rates
            .iter()
            .zip(&of)
            .map(|(x, runs)| (*x, y(runs)))
            .collect()
    };
    let plot = Plot {
        title: format!("Wrong answers under churn, {} nodes", a.nodes),
        x: Axis::linear("joins a second, and as many crashes"),
        y: Axis::linear("of 10 000 look-ups"),
        series: vec![
            series(
                "the ring named a wrong successor",
                points(&|r| per_10k(sum(r, &|r| r.named_wrong) as f64, r)),
                false,
            ),
            series(
                "failed: a wrong one confirmed, or none",
                points(&|r| per_10k(sum(r, &|r| r.failed) as f64, r)),
                false,
            ),
            series(
                "the paper's failed, at both ends",
                [(0.05, 0.0), (0.4, 15.0)],
                true,
            ),
        ],
    };
    let like = match a.like {
        Like::Paper => "paper",
        Like::Node => "node",
    };
    Figure {
        name: match a.like {
            Like::Paper => "churn",
            Like::Node => "churn-node",
        },
        command: format!(
            "chord sim ring churn --nodes {} --rates {} --lookups {} --runs {} --like {like} --seed {}",
            a.nodes,
            list(&a.rates),
            a.lookups,
            a.runs,
            a.common.seed
        ),
        head: vec![
            "joins/s, crashes/s",
            "hops",
            "timeouts",
            "ms",
            "look-ups",
            "named wrong /10 000",
            "failed /10 000",
            "failed, at most (95 %)",
            "one ring",
        ],
        rows: rows.collect(),
        plots: vec![plot],
        json: json(&parts.iter().zip(&all).collect::<Vec<_>>()),
    }
}

pub fn join(a: &args::Join) -> Figure {
    let parts: Vec<(u32, bool)> = a
        .nodes
        .iter()
        .flat_map(|nodes| [true, false].map(|by_view| (*nodes, by_view)))
        .collect();
    let all = each(&parts, |(nodes, by_view)| {
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
            series(
                "successors right, by the view",
                points(0, &|f| f.ring_s),
                false,
            ),
            series("lists right, by the view", points(0, &|f| f.lists_s), false),
            series(
                "successors right, without a view",
                points(1, &|f| f.ring_s),
                false,
            ),
            series(
                "lists right, without a view",
                points(1, &|f| f.lists_s),
                false,
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn per_10k(seen: u64, of: u64) -> String {
        format!("{:.1}", at_most(seen, of) * 10_000.0 / of as f64)
    }

    #[test]
    fn few_failures_are_bounded_as_tables_of_poisson_have_it() {
        let bounds = [
            (0, "3.0"),
            (1, "4.7"),
            (2, "6.3"),
            (5, "10.5"),
            (10, "17.0"),
        ];
        for (seen, bound) in bounds {
            assert_eq!(per_10k(seen, 10_000), bound, "{seen} seen");
        }
        assert_eq!(per_10k(0, 2000), "15.0");
        assert_eq!(at_most(0, 0), 1.0, "nothing is known");
    }

    #[test]
    fn the_bound_is_never_below_what_was_seen_nor_above_all() {
        for of in [1, 2, 3, 50, 1000, 3000, 10_000, 1_000_000] {
            let mut before = 0.0;
            for part in 0..=20 {
                let seen = of * part / 20;
                let bound = at_most(seen, of);
                assert!(bound >= seen as f64, "{seen} of {of}: {bound}");
                assert!(bound <= of as f64, "{seen} of {of}: {bound}");
                assert!(bound >= before, "{seen} of {of}: {bound} after {before}");
                before = bound;
            }
        }
    }

    #[test]
    fn many_failures_are_bounded_as_closely_as_few() {
        // From so many on a normal distribution is near: 1.645 deviations.
        for seen in [746_u64, 1593, 100_000, 5_000_000] {
            let near = seen as f64 + 1.645 * (seen as f64).sqrt();
            let bound = at_most(seen, u64::MAX);
            assert!((bound - near).abs() < 3.0, "{seen}: {bound} and not {near}");
        }
    }
}
