//! More experiments of `chord sim ring`: upkeep, the view, faults, pace.

use std::time::Instant;

use chord_ring::sim::{self, Fault, Network, Tuning};
use serde_json::json as value;

use super::figure::{Figure, json};
use super::plot::{Axis, Plot};
use super::ring::{churn_of, each, list, series};
use crate::args::sim::{self as args, FAULTS_AT, Like};
use crate::failure::Failure;

pub fn upkeep(a: &args::Upkeep) -> Figure {
    let idle = each(&a.rings, |(nodes, tokens)| {
        sim::simulate_idle(
            *nodes as usize,
            *tokens as usize,
            u64::from(a.seconds),
            a.common.seed,
        )
    });
    let parts: Vec<(f64, Like)> = [Like::Node, Like::Paper]
        .into_iter()
        .flat_map(|like| a.churn.iter().map(move |rate| (*rate, like)))
        .collect();
    let busy = each(&parts, |(rate, like)| {
        let (nodes, seconds) = (a.churn_nodes as usize, a.churn_seconds as usize);
        sim::churn(&sim::Churn {
            measure: true,
            ..churn_of(nodes, *rate, seconds, *like, a.common.seed)
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
        let like = match like {
            Like::Node => "node",
            Like::Paper => "paper",
        };
        let what = [
            a.churn_nodes.to_string(),
            "1".to_string(),
            format!("{rate} joins/s, crashes/s"),
            like.to_string(),
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
        json: value!({ "idle": idle, "churn": busy, "empty_body": sim::empty_body() }),
    }
}

pub fn view(a: &args::View) -> Figure {
    let all = each(&a.nodes, |nodes| {
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

pub fn faults(a: &args::Faults) -> Result<Figure, Failure> {
    let share = |percent: u32| f64::from(percent) / 100.0;
    let ends = FAULTS_AT + u64::from(a.lasts);
    let calm = Network::wide();
    let rough = Network {
        loss: share(a.loss),
        doubled: share(a.doubled),
        late: share(a.late),
        ..calm.clone()
    };
    let mut script = vec![(FAULTS_AT, Fault::Network(rough))];
    let mut words = String::new();
    if let Some(percent) = a.partition {
        script.push((FAULTS_AT, Fault::Cut(share(percent))));
        words += &format!(" --partition {percent}");
    }
    if let Some((of, lost)) = a.racks {
        script.push((FAULTS_AT, Fault::Racks { of, lost }));
        words += &format!(" --racks {of}:{lost}");
    }
    if let Some(percent) = a.crash {
        script.push((FAULTS_AT, Fault::Crash(share(percent))));
        words += &format!(" --crash {percent}");
    }
    for (name, percent) in [("loss", a.loss), ("doubled", a.doubled), ("late", a.late)] {
        if percent > 0 {
            words += &format!(" --{name} {percent}");
        }
    }
    if a.by_view {
        words += " --by-view";
    }
    script.extend([
        (ends, Fault::Heal),
        (ends, Fault::Restart),
        (ends, Fault::Network(calm.clone())),
    ]);
    let mut figures = sim::storm(&sim::Storm {
        nodes: a.nodes as usize,
        network: calm,
        tuning: Tuning {
            tokens: a.tokens as usize,
            ..Tuning::node()
        },
        script,
        seconds: ends + u64::from(a.after),
        window_s: 10,
        lookups_per_s: u64::from(a.lookups),
        by_view: a.by_view,
        seed: a.common.seed,
    });
    if figures.windows.iter().any(|w| w.running == 0) {
        return Err(Failure::failed(format!(
            "every one of the {} nodes crashed, so that there was no ring to look at: take more nodes, a smaller share, or another --seed",
            a.nodes
        )));
    }
    for window in figures.windows.iter_mut().filter(|w| w.lookups == 0) {
        // The mean of nothing comes as -0.
        (window.hops_mean, window.timeouts_mean) = (0.0, 0.0);
    }
    let yes = |is: bool| if is { "yes" } else { "no" }.to_string();
    let rows = figures.windows.iter().map(|w| {
        // Nothing can be said of look-ups where there were none.
        let of = |text: String| if w.lookups > 0 { text } else { "-".to_string() };
        vec![
            w.until_s.to_string(),
            w.running.to_string(),
            w.lookups.to_string(),
            w.named_wrong.to_string(),
            w.failed.to_string(),
            of(format!("{:.2}", w.hops_mean)),
            of(format!("{:.2}", w.timeouts_mean)),
            of(w.ms_p99.to_string()),
            yes(w.whole),
            yes(w.right),
        ]
    });
    let points = |y: &dyn Fn(&sim::Window) -> u64| -> Vec<(f64, f64)> {
        let share = |w: &sim::Window| 100.0 * y(w) as f64 / w.lookups.max(1) as f64;
        figures
            .windows
            .iter()
            .map(|w| (w.until_s as f64, share(w)))
            .collect()
    };
    let plot = Plot {
        title: format!("Faults from {FAULTS_AT} s to {ends} s, {} nodes", a.nodes),
        x: Axis::linear("virtual seconds"),
        y: Axis::linear("percent of the look-ups begun"),
        series: vec![
            series(
                "the ring named a wrong successor",
                points(&|w| w.named_wrong),
                false,
            ),
            series("failed", points(&|w| w.failed), false),
        ],
    };
    let name = match (a.partition, a.racks) {
        (Some(_), _) => "partition",
        (None, Some(_)) => "racks",
        (None, None) => "faults",
    };
    Ok(Figure {
        name,
        command: format!(
            "chord sim ring faults --nodes {} --tokens {}{words} --lasts {} --after {} --seed {}",
            a.nodes, a.tokens, a.lasts, a.after, a.common.seed
        ),
        head: vec![
            "until s",
            "running",
            "look-ups",
            "named wrong",
            "failed",
            "hops",
            "timeouts",
            "p99 ms",
            "one ring",
            "all right",
        ],
        rows: rows.collect(),
        plots: vec![plot],
        json: json(&figures),
    })
}

/// Rounds that the core is timed over.
const CORE_ROUNDS: u64 = 500_000;

pub fn pace(a: &args::Pace) -> Figure {
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
    let mut json_rows = vec![value!({ "core_steps_per_s": core, "steps": steps, "sent": sent })];
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
        json_rows.push(value!({
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
        json: value!(json_rows),
    }
}

/// What this process holds now, and has held at most, in bytes; where the
/// system says so.
pub fn memory() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let of = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib * 1024)
    };
    Some((of("VmRSS:")?, of("VmHWM:")?))
}

/// The most that was needed since `before`, for each node.
pub fn memory_each(before: Option<(u64, u64)>, nodes: u32) -> Option<u64> {
    let (held, most_before) = before?;
    let (_, most) = memory()?;
    // A peak from earlier on says nothing about this.
    (most > most_before).then(|| most.saturating_sub(held) / u64::from(nodes.max(1)))
}
